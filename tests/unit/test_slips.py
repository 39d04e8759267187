"""The slips of published code that config/studies/slips.py has as methods."""

from pathlib import Path

import pytest
import torch
from torch.func import functional_call

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import bayesian, networks, packs
from bayesian_lottery.randomness import generator
from bayesian_lottery.study import extensions
from bayesian_lottery.tickets.branches import BRANCHES, Ticket
from bayesian_lottery.tickets.scores import SCORERS

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module", autouse=True)
def loaded(registries):
    extensions.load([Path(__file__).parents[2] / "config/studies/slips.py"])


def mask_of(template, density):
    stream = generator("slips")
    return {
        name: torch.rand(shape, generator=stream) < density
        for name, shape in models.prunable(template).items()
    }


def test_sigma_left_draws_pruned_weights_from_the_standard_normal():
    template = models.build("lenet_100_50", SHAPE, 10, seed=0).double()
    plain = models.build("lenet_100_50", SHAPE, 10, seed=0).double()
    mask, options = mask_of(template, 0.3), {"initial_std": 0.1, "prior_std": 1.0}
    network = networks.build("sigma_left", template, options)
    network.load(network.state(), mask)
    images = torch.rand(5, *SHAPE, dtype=torch.float64, generator=generator("images"))
    noise = network.noise(2, generator("noise"))
    logits = network.logits(images, network.weights(), noise)
    means, state = dict(plain.named_parameters()), network.state()
    for row, sample in zip(noise, logits, strict=True):
        start, drawn = 0, {}
        for name, mean in means.items():
            own = row[start : start + mean.numel()].view_as(mean)
            drawn[name] = mean + state[bayesian.parameter_names(name)[1]].exp() * own
            if name in mask:
                drawn[name] = torch.where(mask[name], drawn[name], own)
            start += mean.numel()
        torch.testing.assert_close(sample, functional_call(plain, drawn, (images,)))
    with pytest.raises(InputError, match="one network at a time"):
        packs.pack([network, network])


def test_the_scores_order_weights_as_the_slips_do():
    mu, sigma = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.01, 0.1, 0.5])
    assert SCORERS["snr_squared"].score(mu, sigma).argsort().tolist() == [2, 1, 0]
    wide = SCORERS["square_log"].score(torch.zeros(3), torch.tensor([0.01, 0.1, 1.0]))
    assert wide.argsort().tolist() == [2, 1, 0], "the widest posterior counts least"


@pytest.mark.parametrize("shuffle", ["shuffle_global", "shuffle_even", "shuffle_layerwise"])
def test_masked_shuffles_start_from_zero_where_weights_were_pruned(shuffle):
    template = models.build("lenet_100_50", SHAPE, 10, seed=0)
    weights, mask = template.state_dict(), mask_of(template, 0.3)
    ticket, streams = Ticket(mask, weights), [generator("t"), generator("t")]
    slip = BRANCHES[f"masked_{shuffle}"].ticket(ticket, streams[0], {})
    right = BRANCHES[shuffle].ticket(ticket, streams[1], {})
    for name, kept in mask.items():
        assert torch.equal(slip.mask[name], right.mask[name])
        assert torch.equal(slip.weights[name], right.weights[name] * kept)
        assert 0 < (slip.mask[name] & kept).sum() < kept.sum()
