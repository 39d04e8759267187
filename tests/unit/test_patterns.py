"""Patterns: what goes together, and how close to the count it comes."""

import itertools

import pytest
import torch
from families import FAMILIES
from torch.ao.pruning import WeightNormSparsifier
from torch.nn.utils import prune as torch_prune

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import compact
from bayesian_lottery.inference import networks
from bayesian_lottery.models.mlp import MLP
from bayesian_lottery.models.units import groups_of
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks, patterns, rankings
from bayesian_lottery.training import pruning

MODELS = [*FAMILIES, "resnet14_slim"]
SHAPES = {**FAMILIES, "resnet14_slim": (1, 8, 8)}
OPTIONS = {"initial_std": 0.3, "prior_std": 0.7}
SCORER = {"deterministic": "magnitude", "bayesian": "snr"}
either = pytest.mark.parametrize("inference", SCORER)
family = pytest.mark.parametrize("model", MODELS)


def network_of(model, inference, settings):
    """A network with random norms, under the dense mask of a ranking and a pattern."""
    template = models.build(model, SHAPES[model], 10, seed=1).double()
    for name, tensor in template.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1:
            tensor += 0.3 * torch.rand(tensor.shape, generator=generator(name))
    mask = masks.ones(models.prunable(template, pruning.covers_classifier(settings, template)))
    network = networks.build(inference, template, OPTIONS)
    network.load(network.state(), mask)
    template.eval()
    return network


def pruned(network, inference, level, mask=None, **settings):
    scorer, mask = SCORER[inference], network.mask if mask is None else mask
    settings = {"prune_fraction": 0.2, **settings}
    return pruning.prune(network, mask, scorer, None, settings, [], level)


# Units


def sets_of_weights(model, template):
    """The weights of every unit as bool tensors, written down again from `models.units`."""
    ones = masks.ones(models.prunable(template, classifier=True))
    for group in groups_of(template):
        count = template.get_submodule(group.steps[0][0][0]).weight.shape[0] // group.size
        for unit in range(count):
            own = {name: torch.zeros_like(layer) for name, layer in ones.items()}
            for layer in group.writers:
                if f"{layer}.weight" in own:
                    own[f"{layer}.weight"][unit * group.size : (unit + 1) * group.size] = True
            for layer in group.readers:
                width = ones[f"{layer}.weight"].shape[1] // count
                own[f"{layer}.weight"][:, unit * width : (unit + 1) * width] = True
            yield group, own


@pytest.mark.parametrize("ranking", ["global", "layerwise"])
@family
def test_units_go_whole_and_come_within_one_of_the_count(model, ranking):
    settings = {"pattern": "units", "ranking": ranking}
    network = network_of(model, "deterministic", settings)
    units = list(sets_of_weights(model, network.template))
    mask, size = network.mask, masks.size(network.mask)
    for level in range(1, 4):
        mask = pruned(network, "deterministic", level, mask, **settings)
        count, kept = rankings.left(size, 0.2, level), masks.survivors(mask)
        if ranking == "layerwise":  # each layer has its floor, whose sum is the count
            count = sum(rankings.left(layer.numel(), 0.2, level) for layer in mask.values())
        gone = {name: torch.zeros_like(layer) for name, layer in mask.items()}
        left, largest = {}, 0
        for group, own in units:
            if any((mask[name] & own[name]).any() for name in mask):
                largest = max(largest, masks.survivors(own))
                rows = [f"{name}.weight" for name in group.writers if f"{name}.weight" in mask]
                assert any((mask[name] & own[name]).any() for name in rows)
                left[group.readers] = left.get(group.readers, 0) + 1
            else:
                gone = {name: gone[name] | own[name] for name in gone}
        assert all(torch.equal(~mask[name], gone[name]) for name in mask), "part of a unit went"
        assert len(left) == len(groups_of(network.template)), "a group without units"
        assert kept <= count or all(number == 1 for number in left.values())
        assert kept > count - largest


@either
@family
def test_units_that_went_can_be_cut_out(model, inference):
    """Compact networks have the units of the mask, and predict as the whole one, in all samples."""
    network = network_of(model, inference, {"pattern": "units"})
    mask = pruned(network, inference, 3, pattern="units")
    network.load(network.state(), mask)
    template, state = network.template, network.state()
    expected = []
    for group in groups_of(template):
        columns = mask[f"{group.readers[0]}.weight"]
        count = len(mask[f"{group.steps[0][0][0]}.weight"]) // group.size
        expected.append(
            int(columns.unflatten(1, (count, -1)).transpose(0, 1).flatten(1).any(1).sum())
        )
    smaller, kept = compact.cut(template, state)
    assert [len(units) for units in kept] == expected
    assert sum(expected) < compact.units_in(template)

    plain = models.build(model, SHAPES[model], 10).double()
    compact.narrow(plain, compact.widths_of(plain, smaller))
    small = compact.network_of("state", plain, smaller, inference, OPTIONS)
    images = torch.randn(4, *SHAPES[model], dtype=torch.float64, generator=generator("images"))
    noise = network.noise(2, generator("noise"))
    found = small.logits(images, small.weights(), compact.noise_for(network, kept, noise))
    logits = network.logits(images, network.weights(), noise)
    torch.testing.assert_close(found, logits, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("level", [1, 4])
def test_units_of_one_layer_are_those_of_pytorch(level):
    template = MLP((1, 8, 8), 10, (30,))
    mask = masks.ones(models.prunable(template, classifier=True))
    scores = {name: dict(template.named_parameters())[name].abs() for name in mask}
    sizes = {name: layer.numel() for name, layer in mask.items()}
    contests = rankings.contests("global", {}, sizes, 0.2, level)
    mask = patterns.prune("units", mask, scores, contests, template)
    gone = int((~mask["hidden.0.weight"]).all(1).sum())
    # Each has 64 weights to it and 10 from it.
    assert gone == -(-(30 * 74 - rankings.left(30 * 74, 0.2, level)) // 74)
    torch_prune.ln_structured(template.hidden[0], "weight", amount=gone, n=1, dim=0)
    assert torch.equal(mask["hidden.0.weight"], template.hidden[0].weight_mask.bool())
    assert torch.equal(mask["classifier.weight"], mask["hidden.0.weight"][:, 0].expand(10, 30))


def test_layers_lose_units_evenly_and_those_of_share_0_none():
    settings = {"pattern": "units", "ranking": "layerwise"}
    network = network_of("vgg5_slim", "deterministic", settings)
    mask = pruned(network, "deterministic", 3, **settings)
    shares = [layer.flatten(1).any(1).double().mean() for layer in mask.values()][:-1]
    assert max(shares) - min(shares) < 0.15 and max(shares) < 0.9
    first = next(iter(mask)).removesuffix(".weight")
    settings["ranking_options"] = {"kind": "layerwise", "shares": {first: 0}}
    mask = pruned(network, "deterministic", 3, **settings)
    assert mask[f"{first}.weight"].all()


def test_a_model_that_says_nothing_of_its_units_is_refused():
    class Other(torch.nn.Module):
        pass

    mask = {"a.weight": torch.ones(4, 4, dtype=torch.bool)}
    contests = rankings.contests("global", {}, {"a.weight": 16}, 0.2, 1)
    with pytest.raises(InputError, match=r"Other has no entry in units\.STRUCTURES"):
        patterns.prune("units", mask, {"a.weight": torch.rand(4, 4)}, contests, Other())


@pytest.mark.parametrize("model", models.MODELS)
def test_all_models_of_the_package_have_units(model):
    with torch.device("meta"):
        assert groups_of(models.build(model, (3, 32, 32), 10))


# N of M


@family
def test_2of4_keeps_the_best_two_of_every_four_inputs(model):
    network = network_of(model, "deterministic", {"pattern": "2of4"})
    mask = pruned(network, "deterministic", 1, pattern="2of4")
    weights, exact = network.moments()["weight"], 0
    for name, layer in mask.items():
        if layer.shape[1] % 4:
            assert layer.all(), name
            continue
        exact += 1
        for place in itertools.product(*map(range, layer.shape[2:])):
            kept = layer[(slice(None), slice(None), *place)].reshape(-1, 4)
            value = weights[name][(slice(None), slice(None), *place)].reshape(-1, 4).abs()
            assert (kept.sum(1) == 2).all()
            assert torch.equal(
                kept.nonzero()[:, 1].view(-1, 2), value.topk(2).indices.sort().values
            )
    assert exact


def test_2of4_is_that_of_pytorchs_sparsifier():
    model = models.build("lenet_100_50", (1, 8, 8), 10, seed=2)
    sparsifier = WeightNormSparsifier(1.0, (1, 4), zeros_per_block=2)
    sparsifier.prepare(model, [{"tensor_fqn": "hidden.0.weight"}])
    sparsifier.step()
    weight = model.hidden[0].parametrizations.weight.original
    scores, mask = {"w": weight.abs()}, {"w": torch.ones(weight.shape, dtype=torch.bool)}
    found = patterns.n_of_m(2, 4)(
        mask, scores, rankings.contests("global", {}, {"w": 6400}, 0.2, 1), model
    )
    assert torch.equal(found["w"], model.hidden[0].parametrizations.weight[0].mask.bool())


def test_n_of_m_keeps_to_what_was_pruned_and_to_shares():
    n_of_m = patterns.n_of_m(1, 4)
    mask = {"a.weight": torch.tensor([[True, False, True, True]]), "b.weight": torch.ones(1, 4) > 0}
    scores = {"a.weight": torch.tensor([[1.0, 9.0, 1.0, 0.5]]), "b.weight": torch.rand(1, 4)}
    contests = rankings.contests("global", {"b": 0}, {"a.weight": 4, "b.weight": 4}, 0.2, 1)
    found = n_of_m(mask, scores, contests, torch.nn.Module())
    assert found["a.weight"].tolist() == [[False, False, True, False]]  # of equals the first goes
    assert found["b.weight"].all()


# All of them


@pytest.mark.parametrize("pattern", patterns.PATTERNS)
def test_no_pattern_revives_a_weight_or_takes_nan(pattern):
    network = network_of("lenet_100_50", "deterministic", {"pattern": pattern})
    first = pruned(network, "deterministic", 1, pattern=pattern)
    second = pruned(network, "deterministic", 2, first, pattern=pattern)
    assert all((second[name] <= first[name]).all() for name in first)
    assert masks.survivors(first) < masks.size(first)
    scores = {name: torch.full(layer.shape, torch.nan) for name, layer in first.items()}
    with pytest.raises(InputError, match="NaN"):
        patterns.prune(pattern, first, scores, [], network.template)
