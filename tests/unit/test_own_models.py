"""Models of a user's own: what they become, against torch's layers and one sample at a time."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import bayesian, networks, packs
from bayesian_lottery.models import Definition, adapting
from bayesian_lottery.models.carrying import plain_name
from bayesian_lottery.models.layers import Conv2d, Linear, SelfAttention
from bayesian_lottery.models.one_by_one import samples_apart
from bayesian_lottery.randomness import generator
from bayesian_lottery.training.engine import Engine, Plan

HOME = str(Path(__file__).with_name("home_made.py"))
GREY, COLOUR, CLASSES = (1, 8, 8), (3, 8, 8), 5
OPTIONS = {"initial_std": 0.3, "prior_std": 0.7}
SHAPE_ARGUMENTS = {"classes": "$classes", "shape": "$image_shape"}
SMALL = {
    "net": (Definition(f"{HOME}:Net"), GREY),
    "colour": (Definition(f"{HOME}:Net", {"channels": "$channels", "width": 4}), COLOUR),
    "depthwise": (Definition(f"{HOME}:Depthwise", {"channels": "$channels"}), COLOUR),
    "attending": (Definition(f"{HOME}:Attending", SHAPE_ARGUMENTS), GREY),
    "sequence_first": (
        Definition(f"{HOME}:Attending", {**SHAPE_ARGUMENTS, "batch_first": False}), GREY,
    ),
    "positions": (Definition(f"{HOME}:Positions"), GREY),
    "mixing": (Definition(f"{HOME}:Mixing"), GREY),
}  # fmt: skip
APART = {"positions", "mixing"}
TORCHVISION = {
    "resnet18": Definition("torchvision.models:resnet18"),
    "mobilenet": Definition("torchvision.models:mobilenet_v3_small", {"dropout": 0}),
    "vgg11": Definition("torchvision.models:vgg11_bn", {"dropout": 0}),
}
TIMM = {
    "timm_mobilenet": Definition("timm:create_model", {"model_name": "mobilenetv3_small_050"}),
    "timm_vit": Definition(
        "timm:create_model",
        {"model_name": "vit_tiny_patch16_224", "img_size": 32, "patch_size": 8, "depth": 2,
         "in_chans": "$channels"},
    ),
}  # fmt: skip
small = pytest.mark.parametrize("name", SMALL)
inferences = pytest.mark.parametrize("inference", ["deterministic", "bayesian"])


def network_of(definition, shape, inference, member=0, dtype=torch.float64):
    template = models.build(definition, shape, CLASSES, seed=member).to(dtype)
    network = networks.build(inference, template, OPTIONS)
    stream = generator("mask", member)
    mask = {
        name: torch.rand(size, generator=stream) < 0.6
        for name, size in models.prunable(template).items()
    }
    network.load(network.state(), mask)
    return network


def batch_of(shape, count=6, member=0, dtype=torch.float64):
    stream = generator("images", member)
    images = torch.randn(count, *shape, dtype=dtype, generator=stream)
    return images, torch.randint(CLASSES, (count,), generator=stream)


def trained(network, shape, images, labels, noise, per_pass):
    """Two steps of so many samples a pass; the state after them, and the last logits."""
    engine = Engine(network, shape, Plan(samples_per_pass=per_pass))
    optimizer = torch.optim.SGD(network.parameter_groups(1e-3), lr=1e-2)
    for rows in noise:
        logits, _, _ = engine.gradients(images, labels, rows, "categorical", 1e-3)
        optimizer.step()
        optimizer.zero_grad()
    return network.state(), logits


def agrees(definition, shape, inference, dtype=torch.float64, **tolerance):
    """All samples at once give what passes of one sample give."""
    network = network_of(definition, shape, inference, dtype=dtype)
    other = network_of(definition, shape, inference, dtype=dtype)
    samples = 3 if inference == "bayesian" else 1
    noise = [network.noise(samples, generator("noise", step)) for step in range(2)]
    images, labels = batch_of(shape, dtype=dtype)
    expected, logits = trained(network, shape, images, labels, noise, 1)
    found, also = trained(other, shape, images, labels, noise, samples)
    torch.testing.assert_close(also, logits, **tolerance)
    torch.testing.assert_close(found, expected, **tolerance)


@small
def test_the_model_is_the_users_own_with_other_layers(name):
    definition, shape = SMALL[name]
    model = models.build(definition, shape, CLASSES, seed=3)
    state = torch.get_rng_state()
    torch.manual_seed(3)
    plain = adapting.plain(definition, shape, CLASSES)
    torch.set_rng_state(state)
    assert samples_apart(model) == (name in APART) == bool(model.notes)
    renamed = {plain_name(model, key): value for key, value in model.state_dict().items()}
    torch.testing.assert_close(renamed, dict(plain.state_dict()), rtol=0, atol=0)
    images, _ = batch_of(shape, dtype=torch.float32)
    for training in (True, False):
        ours, theirs = (module.train(training)(images) for module in (model, plain))
        torch.testing.assert_close(ours, theirs)
    ours = {plain_name(model, key): value for key, value in model.named_buffers()}
    torch.testing.assert_close(ours, dict(plain.named_buffers()))


@small
def test_all_weights_of_layers_but_the_classifiers_are_prunable(name):
    definition, shape = SMALL[name]
    model = models.build(definition, shape, CLASSES)
    matrices = {
        f"{path}.weight"
        for path, layer in model.named_modules()
        if isinstance(layer, (Conv2d, Linear)) and path != "head"
    }
    assert set(models.prunable(model)) == matrices and model.classifier_name == "head"
    if name == "positions":
        assert isinstance(model.block.self_attn, SelfAttention)
        assert {"block.self_attn.in_proj.weight", "block.linear1.weight"} <= matrices


@inferences
@small
def test_samples_together_train_as_one_after_the_other(name, inference):
    agrees(*SMALL[name], inference, rtol=1e-9, atol=1e-10)


@inferences
@small
def test_networks_side_by_side_train_as_alone(name, inference):
    definition, shape = SMALL[name]
    samples = 3 if inference == "bayesian" else 1
    together = [network_of(definition, shape, inference, member) for member in range(2)]
    alone = [network_of(definition, shape, inference, member) for member in range(2)]
    pack = packs.pack(together)
    batches = [batch_of(shape, member=member) for member in range(2)]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    streams = [generator("noise", member) for member in range(2)]
    noise = [pack.noise(samples, *streams) for _ in range(2)]
    trained(pack, shape, images, labels, noise, 2)
    for member, network in enumerate(alone):
        one, stream = packs.pack([network]), generator("noise", member)
        own = [one.noise(samples, stream) for _ in range(2)]
        trained(one, shape, *batches[member], own, 2)
        expected, found = network.state(), together[member].state()
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
@inferences
@pytest.mark.parametrize("name", ["resnet18", "mobilenet"])
def test_torchvisions_models_carry_samples(name, inference):
    definition = TORCHVISION[name]
    assert not models.build(definition, (3, 32, 32), CLASSES).notes
    agrees(definition, (3, 32, 32), inference, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
def test_torchvisions_vgg_carries_samples():
    # Of 129 million weights: in float32, without an optimiser's step.
    network = network_of(TORCHVISION["vgg11"], (3, 32, 32), "bayesian", dtype=torch.float32)
    network.template.eval()
    assert not samples_apart(network.template)
    assert models.prunable(network.template).keys() >= {"features.0.weight", "classifier.3.weight"}
    images, _ = batch_of((3, 32, 32), 2, dtype=torch.float32)
    noise, weights = network.noise(2, generator("noise")), network.weights()
    with torch.no_grad():
        both = network.logits(images, weights, noise)
        first = network.logits(images, weights, noise[:1])
    torch.testing.assert_close(both[:1], first, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@inferences
@pytest.mark.parametrize("name", TIMM)
def test_timms_models(name, inference):
    pytest.importorskip("timm")
    definition = TIMM[name]
    model = models.build(definition, (3, 32, 32), CLASSES)
    assert samples_apart(model) == (name == "timm_vit")
    agrees(definition, (3, 32, 32), inference, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("estimator", ["local_reparameterisation", "flipout"])
def test_estimators_take_layers_that_carry_samples(estimator):
    definition, shape = SMALL["colour"]
    template = models.build(definition, shape, CLASSES, seed=0)
    network = networks.build("bayesian", template, {**OPTIONS, "estimator": estimator})
    images, labels = batch_of(shape, dtype=torch.float32)
    engine = Engine(network, shape, Plan())
    noise = network.noise(3, generator("noise"))
    logits, _, _ = engine.gradients(images, labels, noise, "categorical", 1e-3)
    assert logits.shape == (3, 6, CLASSES) and logits.isfinite().all()
    alone = models.build(*SMALL["positions"], CLASSES)
    with pytest.raises(InputError, match=r"bayesian\.estimator: .* takes them one at a time"):
        networks.build("bayesian", alone, {**OPTIONS, "estimator": estimator})


def test_sparse_layers_need_no_biases():
    definition = Definition(f"{HOME}:Wide")
    model = models.build(definition, GREY, CLASSES, seed=0)
    (weight,) = models.prunable(model)
    mask = {weight: torch.rand(400, 64, generator=generator("mask")) < 0.05}
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = networks.build("deterministic", model)
    network.load(state, mask)
    assert network.survivors.patterns
    plain = adapting.plain(definition, GREY, CLASSES)
    plain.load_state_dict(network.state())
    images, _ = batch_of(GREY, dtype=torch.float32)
    found = network.logits(images, network.weights(), network.noise(1))
    torch.testing.assert_close(found[0], plain(images))


def test_torch_blue_takes_no_class_for_another_of_its_name():
    images = torch.zeros(2, 3, 32, 32)
    for model in (TORCHVISION["resnet18"], "resnet8_slim"):  # both are of a class ResNet
        module = bayesian.convert(models.build(model, (3, 32, 32), CLASSES)).eval()
        assert module(images, samples=2).shape == (2, 2, CLASSES)


def test_self_attention_is_torchs():
    stream = generator("attention")
    for batch_first in (True, False):
        plain = nn.MultiheadAttention(12, 3, batch_first=batch_first).double()
        tokens = torch.randn(4, 5, 12, dtype=torch.float64, generator=stream)
        expected = plain(tokens, tokens, tokens, need_weights=False)[0]
        ours = SelfAttention(plain)
        torch.testing.assert_close(ours(tokens, tokens, tokens)[0], expected)
        with pytest.raises(ValueError, match="own input only"):
            ours(tokens, tokens.clone(), tokens)
        with pytest.raises(ValueError, match="without a mask"):
            ours(tokens, tokens, tokens, attn_mask=torch.zeros(5, 5))


def test_the_documents_example_is_a_model(tmp_path):
    text = (Path(__file__).parents[2] / "docs/models.md").read_text()
    code, entry = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1]
                   for kind in ("python", "yaml"))  # fmt: skip
    (tmp_path / "my_models.py").write_text(code)
    mine = yaml.safe_load(entry)["models"]["mine"]
    definition = Definition(**{**mine, "code": f"{tmp_path}/{mine['code']}"})
    model = models.build(definition, GREY, CLASSES)
    assert not model.notes and model(torch.zeros(2, *GREY)).shape == (2, CLASSES)
