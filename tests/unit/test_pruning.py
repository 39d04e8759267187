"""What scorers are given of a trained network."""

import pytest
import torch
import torch.nn.functional as F
from families import FAMILIES

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.inference import networks
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.scores import SCORERS, Scorer
from bayesian_lottery.training import pruning

SETTINGS = {"validation": 0.2, "curriculum": {"batch_size": 16}, "compute": {},
            "prune_fraction": 0.5}  # fmt: skip
OPTIONS = {"samples": 3, "likelihood": "elbo", "initial_std": 1e-12, "prior_std": 1.0}
STREAM = ["any"]
TRAINED = ("lenet_100_50", "deterministic")


def images_of(model: str) -> decoded.Images:
    """Random images and labels, twelve a class."""
    stream = generator("images")
    pixels = torch.randint(256, (120, *FAMILIES[model]), generator=stream, dtype=torch.uint8)
    split = decoded.Split(pixels, torch.arange(10).repeat(12))
    mean, std = decoded.channel_statistics(pixels)
    return decoded.Images("made up", tuple("0123456789"), split, split, mean, std)


def network_of(model: str, inference: str) -> networks.Network:
    template = models.build(model, FAMILIES[model], 10, seed=1)
    return networks.build(inference, template, OPTIONS)


def gradients_by_hand(model: str, images: decoded.Images, changed=None) -> dict[str, torch.Tensor]:
    """Of the mean cross-entropy of the batch that `pruning.gradients` takes, by plain PyTorch.

    `changed` are weights other than the initial ones.
    """
    training, _ = decoded.hold_out(images.train, 0.2, generator("hold_out", images.name))
    order = torch.randperm(len(training), generator=generator(*STREAM, "scoring", "batch"))[:16]
    plain = models.build(model, FAMILIES[model], 10, seed=1).eval()
    plain.load_state_dict({**plain.state_dict(), **(changed or {})})
    inputs = decoded.normalise(training.images[order], images.mean, images.std)
    F.cross_entropy(plain(inputs), training.labels[order]).backward()
    return {name: parameter.grad for name, parameter in plain.named_parameters()}


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
@pytest.mark.parametrize("model", FAMILIES)
def test_the_gradient_is_that_of_a_batch_and_nothing_moves(model, inference):
    """A posterior as narrow as a point has the gradient of a point."""
    images, network = images_of(model), network_of(model, inference)
    before = network.state()
    gradients = pruning.gradients(network, images, SETTINGS, STREAM)
    expected = gradients_by_hand(model, images)
    assert gradients.keys() == network.mask.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)
    for name, value in network.state().items():
        assert torch.equal(value, before[name]), name
    again = pruning.gradients(network, images, SETTINGS, STREAM)
    for name, gradient in again.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fraction", [0.2, 0.35])
def test_pruned_at_once_a_level_keeps_as_many_as_pruned_level_by_level(fraction):
    """The counts are those of networks whose weights move in between; the masks are nested."""
    settings, network = {**SETTINGS, "prune_fraction": fraction}, network_of(*TRAINED)
    dense = {name: layer.cpu() for name, layer in network.mask.items()}
    step = above = dense
    for level in range(1, 12):
        moved = {name: torch.rand(layer.shape) for name, layer in dense.items()}
        step = masks.prune(step, moved, fraction)
        found = pruning.prune(network, dense, "magnitude", None, settings, STREAM, level)
        assert masks.survivors(found) == masks.survivors(step) < masks.survivors(above)
        assert all((found[name] <= above[name]).all() for name in found)
        # Counted and cut at once: the largest weights of all.
        weights = network.moments()["weight"]
        kept = torch.cat([weights[name][found[name]].abs() for name in found])
        cut = torch.cat([weights[name][~found[name]].abs() for name in found])
        assert kept.min() >= cut.max()
        above = found


def test_a_scorer_gets_what_it_needs_in_its_order(monkeypatch):
    given = []

    def score(gradient, weight):
        given.append((gradient, weight))
        return (gradient * weight).abs()

    monkeypatch.setitem(SCORERS, "saliency", Scorer(("gradient", "weight"), score, "|g w|"))
    images, network = images_of("lenet_100_50"), network_of("lenet_100_50", "deterministic")
    mask = pruning.prune(network, network.mask, "saliency", images, SETTINGS, STREAM, 1)
    expected = gradients_by_hand("lenet_100_50", images)
    for (gradient, weight), name in zip(given, mask, strict=True):
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)
        assert torch.equal(weight, network.state()[name])
    total = sum(layer.numel() for layer in mask.values())
    assert sum(int(layer.sum()) for layer in mask.values()) == total - total // 2
