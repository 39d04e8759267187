"""Branches: what each changes, and what it must not."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import bayesian, networks
from bayesian_lottery.inference.networks import check_shapes
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.branches import BRANCHES, Branch, Ticket

SHUFFLES = ["shuffle_global", "shuffle_even", "shuffle_layerwise"]
shapes = st.lists(
    st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple), min_size=1, max_size=5
)


def random_ticket(shapes, density, seed):
    stream = generator("ticket", seed)
    mask = {
        f"layer{i}.weight": torch.rand(shape, generator=stream) < density
        for i, shape in enumerate(shapes)
    }
    weights = {name: torch.randn(layer.shape, generator=stream) for name, layer in mask.items()}
    weights["classifier.weight"] = torch.randn(10, 3, generator=stream)
    weights["norm.bias"] = torch.randn(3, generator=stream)
    return Ticket(mask, weights)


def branch(name, ticket, seed=0):
    return BRANCHES[name].ticket(ticket, generator("branch", name, seed))


@given(shapes, st.floats(0, 1), st.integers(0, 100))
def test_shuffles_keep_exact_counts_and_the_weights(shapes, density, seed):
    ticket = random_ticket(shapes, density, seed)
    before = copy.deepcopy(ticket)
    kept, total = masks.survivors(ticket.mask), masks.size(ticket.mask)
    for name in SHUFFLES:
        shuffled = branch(name, ticket, seed)
        assert masks.survivors(shuffled.mask) == kept
        assert shuffled.weights is ticket.weights  # unmasked initial values under any mask
        masks.check(shuffled.mask, {n: layer.shape for n, layer in ticket.mask.items()})
        for layer, old in zip(shuffled.mask.values(), ticket.mask.values(), strict=True):
            if name == "shuffle_layerwise":
                assert layer.sum() == old.sum()
            if name == "shuffle_even":  # the global density, to the integer
                assert abs(int(layer.sum()) * total - layer.numel() * kept) < total
    assert all(torch.equal(ticket.mask[n], before.mask[n]) for n in ticket.mask)
    assert all(torch.equal(ticket.weights[n], before.weights[n]) for n in ticket.weights)


@pytest.mark.parametrize("name", SHUFFLES)
def test_shuffles_move_the_mask_differently_by_stream(name):
    ticket = random_ticket([(20, 20), (30, 10)], 0.3, 0)
    one, two = branch(name, ticket, 1), branch(name, ticket, 2)
    again = branch(name, ticket, 1)
    for layer, old in ticket.mask.items():
        overlap = (one.mask[layer] & old).sum() / old.sum()
        assert overlap < 0.6  # chance gives about 0.3
        assert not torch.equal(one.mask[layer], two.mask[layer])
        assert torch.equal(one.mask[layer], again.mask[layer])


@given(shapes, st.floats(0, 1), st.integers(0, 100))
def test_a_random_mask_keeps_the_count_alone(shapes, density, seed):
    ticket = random_ticket(shapes, density, seed)
    found = Branch(mask="random").ticket(ticket, generator("branch", seed))
    assert masks.survivors(found.mask) == masks.survivors(ticket.mask)
    masks.check(found.mask, {n: layer.shape for n, layer in ticket.mask.items()})
    assert found.weights is ticket.weights


def test_a_random_masks_layers_have_the_densities_of_erdos_and_renyi():
    ticket = random_ticket([(300, 784), (100, 300)], 0.01, 0)
    drawn = [Branch(mask="random").ticket(ticket, generator("branch", i)).mask for i in (0, 1)]
    first, second = (layer.float().mean().item() for layer in drawn[0].values())
    ratio = (1084 / (300 * 784)) / (400 / (100 * 300))  # each (inputs + outputs) / weights
    assert abs(first / second / ratio - 1) < 0.01
    name = "layer0.weight"
    assert (drawn[0][name] & drawn[1][name]).sum() < 0.05 * drawn[0][name].sum()


def test_a_global_shuffle_is_uniform_over_layers():
    mask = {"a.weight": torch.ones(100, 10, dtype=bool), "b.weight": torch.zeros(100, 30).bool()}
    counts = [
        int(branch("shuffle_global", Ticket(mask, {}), seed).mask["a.weight"].sum())
        for seed in range(50)
    ]
    assert abs(sum(counts) / 50 - 250) < 10  # hypergeometric, standard error 1.7
    assert len(set(counts)) > 10


@given(shapes, st.floats(0.1, 1), st.integers(0, 100))
def test_reinitialisation_changes_prunable_weights_only(shapes, density, seed):
    ticket = random_ticket(shapes, density, seed)
    drawn = branch("reinit", ticket, seed)
    assert drawn.mask is ticket.mask
    for name, weight in ticket.weights.items():
        if name in ticket.mask:
            assert not torch.equal(drawn.weights[name], weight)
            assert drawn.weights[name].abs().max() <= weight[0].numel() ** -0.5
        else:
            assert torch.equal(drawn.weights[name], weight)


@pytest.mark.parametrize("model", ["resnet8_slim", "vit_nano", "lenet_300_100"])
def test_reinitialised_weights_have_the_models_own_distribution(model):
    template = models.build(model, (1, 8, 8), 10, seed=3)
    weights = template.state_dict()
    ticket = Ticket(masks.ones(models.prunable(template)), weights)
    drawn = branch("reinit", ticket).weights
    for name in ticket.mask:
        if weights[name].numel() >= 1000:
            old, new = (values[name].flatten().sort().values for values in (weights, drawn))
            bound = weights[name][0].numel() ** -0.5
            # Kolmogorov-Smirnov by quantiles: both are the same uniform distribution
            assert ((old - new).abs().max() / (2 * bound)) < 2.2 / old.numel() ** 0.5


def test_a_transplant_takes_means_mask_and_norms_and_starts_sigma_anew():
    template = models.build("resnet8_slim", (1, 8, 8), 10, seed=1)
    stream = generator("trained")
    trained = {
        name: value + torch.rand(value.shape, generator=stream) if value.is_floating_point() else 7
        for name, value in template.state_dict().items()
    }
    trained = {n: torch.as_tensor(v) for n, v in trained.items()}
    mask = {
        name: torch.rand(shape, generator=stream) < 0.5
        for name, shape in models.prunable(template).items()
    }
    ticket = branch("transplant_trained", Ticket(mask, trained))
    template.load_state_dict(ticket.weights)
    network = networks.build("bayesian", template, {"initial_std": 0.01, "prior_std": 1.0})
    network.load(network.state(), ticket.mask)
    state = network.state()
    for name, value in trained.items():
        mean, log_std = bayesian.parameter_names(name)
        if mean in state:
            kept = mask.get(name, torch.ones_like(value, dtype=torch.bool))
            assert torch.equal(state[mean], value * kept)
            fan_in = trained[name.replace("bias", "weight")][0].numel()
            sigma = state[log_std].exp()
            torch.testing.assert_close(
                sigma, torch.where(kept, 0.01 / fan_in**0.5, 0.0), rtol=1e-3, atol=0
            )
        else:
            assert torch.equal(state[name], value), name


def test_a_transplant_into_another_architecture_is_refused_with_both_shapes(tmp_path):
    small = models.build("lenet_100_50", (1, 8, 8), 10).state_dict()
    large = models.build("lenet_300_100", (1, 8, 8), 10).state_dict()
    with pytest.raises(InputError, match=r"\(100, 64\).*\(300, 64\)"):
        check_shapes(tmp_path, small, large)
