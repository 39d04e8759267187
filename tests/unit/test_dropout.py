"""Monte Carlo dropout: what is dropped, and that none dropped is the plain network."""

import pytest
import torch

from bayesian_lottery import models
from bayesian_lottery.inference import dropout, networks, packs
from bayesian_lottery.randomness import generator
from bayesian_lottery.training.engine import Engine, Plan

MODELS = {"lenet_100_50": (1, 8, 8), "resnet8_slim": (1, 8, 8), "vit_nano": (1, 8, 8)}


def network_of(model, rate, kind="dropout", seed=1):
    template = models.build(model, MODELS[model], 10, seed=seed).double()
    stream = generator("mask", model)
    sizes = models.prunable(template).items()
    mask = {name: torch.rand(shape, generator=stream) < 0.5 for name, shape in sizes}
    network = networks.build(kind, template, {"rate": rate, "samples": 1})
    network.load(network.state(), mask)
    return network


def batch(model, count=6):
    stream = generator("images")
    images = torch.randn(count, *MODELS[model], dtype=torch.float64, generator=stream)
    return images, torch.randint(10, (count,), generator=stream)


@pytest.mark.parametrize("model", MODELS)
def test_at_rate_0_it_is_the_plain_network_exactly(model):
    images, labels = batch(model)
    results = []
    for kind in ("dropout", "deterministic"):
        network = network_of(model, 0.0, kind)
        noise = network.noise(1, generator("noise"))
        engine = Engine(network, MODELS[model], Plan())
        logits, *_ = engine.gradients(images, labels, noise, "elbo", 0.0)
        results.append((logits, network.weight.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("model", MODELS)
def test_a_draw_is_a_network_that_lacks_whole_units(model):
    """Against the plain model with the units' weights zeroed by hand."""
    network = network_of(model, 0.4)
    network.template.eval()
    images, _ = batch(model)
    stream = generator("noise")
    noise = network.noise(200, stream)
    first, *others = network.survivors.shapes
    for row in noise[:2]:
        plain = models.build(model, MODELS[model], 10).double().eval()
        plain.load_state_dict(
            {**network.state(), **network.survivors.named(network.weight.detach() * row)}
        )
        with torch.no_grad():
            ours = network.logits(images, network.weights(), row[None])[0]
            torch.testing.assert_close(ours, plain(images))
        dense = network.survivors.named(row, fill=torch.nan)
        for name in others:
            if name.endswith("weight"):
                by_unit = dense[name].transpose(0, 1).flatten(1)
                assert all(len(unit[~unit.isnan()].unique()) <= 1 for unit in by_unit)
    assert (network.survivors.named(noise[0], fill=1.0)[first] == 1).all(), "pixels stay"
    kept = (noise > 0).double().mean(0)
    biases = network.survivors.named(kept)
    assert all((biases[n] == 1).all() for n in network.survivors.shapes if n.endswith("bias"))
    own = kept[kept < 1]
    assert abs(own.mean() - 0.6) < 0.03 and noise.max().item() == pytest.approx(1 / 0.6)
    drawn = network.draw(stream)
    assert all((drawn[name][~layer] == 0).all() for name, layer in network.mask.items())


def test_grouped_convolutions_drop_channels_of_their_own_group():
    template = torch.nn.Module()
    template.first = models.layers.Conv2d(3, 4, 1)
    template.grouped = models.layers.Conv2d(4, 6, 1, groups=2)
    shapes = {
        "first.weight": torch.Size([4, 3, 1, 1]),
        "grouped.weight": template.grouped.weight.shape,
    }
    found = dropout.units(template, shapes)["grouped.weight"][..., 0, 0]
    assert found.tolist() == [[1, 2]] * 3 + [[3, 4]] * 3


def test_side_by_side_each_drops_what_it_would_alone():
    images, _ = batch("lenet_100_50")
    each = [network_of("lenet_100_50", 0.3, seed=seed) for seed in (1, 2)]
    alone = [network.noise(2, generator("noise", i)) for i, network in enumerate(each)]
    pack = packs.pack(each)
    noise = pack.noise(2, *(generator("noise", i) for i in range(2)))
    assert torch.equal(noise, torch.cat(alone, 1))
    logits = pack.logits(torch.cat([images, images]), pack.weights(), noise)
    for network, own, part in zip(each, alone, logits.chunk(2, 1), strict=True):
        torch.testing.assert_close(part, network.logits(images, network.weights(), own))
