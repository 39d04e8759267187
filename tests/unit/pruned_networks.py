"""Pruned networks, of which compact and exported ones are made, and folders of such nodes."""

import copy

import pytest
import synthetic
import torch
from families import FAMILIES, WIDE

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.files import write_tensors
from bayesian_lottery.inference import networks
from bayesian_lottery.randomness import generator
from bayesian_lottery.study import Node
from bayesian_lottery.tickets import masks

SHAPES = FAMILIES | WIDE | {"vgg5_slim": (2, 8, 8), "resnet14_slim": (1, 8, 8)}
OPTIONS = {"initial_std": 0.3, "prior_std": 0.7}  # a large sigma, so that noise matters
SAMPLES = 3
family = pytest.mark.parametrize("model", SHAPES)
either = pytest.mark.parametrize("inference", ["deterministic", "bayesian"])


def template_of(model):
    """A model in float64 whose norms and running statistics are not their defaults."""
    template = models.build(model, SHAPES[model], 10, seed=1).double()
    for name, tensor in template.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.3, 2, generator=generator(name))
        elif tensor.is_floating_point() and tensor.dim() == 1:
            tensor += 0.3 * torch.randn(tensor.shape, generator=generator(name))
    return template


def network_of(model, inference, mask, template=None):
    template = copy.deepcopy(template) if template else template_of(model)
    network = networks.build(inference, template, OPTIONS)
    network.load(network.state(), mask)
    network.template.eval()
    return network


def dense(model):
    return masks.ones(models.prunable(template_of(model)))


def channels(model):
    """Half of the weights, without a third of each layer's rows and a third of its columns."""
    stream = generator("channels")
    mask = dense(model)
    for layer in mask.values():
        layer &= torch.rand(layer.shape, generator=stream) < 0.5
        layer[torch.rand(layer.shape[0], generator=stream) < 0.3] = False
        layer[:, torch.rand(layer.shape[1], generator=stream) < 0.3] = False
    return mask


def sparse(model, fraction=0.98):
    weights = template_of(model).state_dict()
    mask = dense(model)
    return masks.prune(mask, {name: weights[name].abs() for name in mask}, fraction)


def none(model):
    return {name: torch.zeros_like(layer) for name, layer in dense(model).items()}


def images_for(model):
    stream = generator("images")
    return torch.randn(6, *SHAPES[model], dtype=torch.float64, generator=stream)


def node_of(model, inference):
    """The coordinates of a node at level 3."""
    scorer = {"deterministic": "magnitude", "bayesian": "snr"}[inference]
    return Node("made_up", model, inference, "short", 0, scorer, "imp", 3)


def note(tmp_path, node, **changes):
    """Write a node's metrics; its folder."""
    settings = {**node.coordinates(), "curriculum": {"epochs": 2, "batch_size": 4}, **changes}
    settings["evaluation"] = {"every": 1, "passes": 1, "samples": 1}
    return synthetic.write(tmp_path, [synthetic.of(node, settings)])[0].parent


def folder_of(tmp_path, model, inference, mask):
    """A node's folder beside its data set, as a training job leaves them, and the network in
    float32."""
    stream = generator("data")
    pixels = torch.randint(256, (20, *SHAPES[model]), dtype=torch.uint8, generator=stream)
    split = decoded.Split(pixels, torch.arange(20) % 10)
    statistics = decoded.channel_statistics(pixels)
    images = decoded.Images("made_up", tuple("abcdefghij"), split, split, *statistics)
    decoded.save(tmp_path / "data", images, "random")
    network = network_of(model, inference, mask, template_of(model).float())
    options = {"bayesian": {**OPTIONS, "samples": 1}} if inference == "bayesian" else {}
    folder = note(tmp_path, node_of(model, inference), **options)
    write_tensors(folder / "weights.safetensors", network.state())
    return folder, network
