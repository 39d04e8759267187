"""Priors over survivors against torch's distributions and hand-counted fans."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, TransformedDistribution, Uniform
from torch.distributions.transforms import AffineTransform, SigmoidTransform

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.priors import EDGE, PRIORS, PriorOptions, draw, fans, prior_of
from bayesian_lottery.inference.survivors import Survivors
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets.branches import Branch, Ticket


def survivors(density: float = 0.3) -> Survivors:
    template = models.build("lenet5", (1, 28, 28), 10, seed=0).double()
    stream, mine = generator("priors"), Survivors(template)
    shapes = models.prunable(template)
    mine.keep(
        {name: torch.rand(shape, generator=stream) < density for name, shape in shapes.items()}
    )
    return mine


def test_fans_are_those_of_the_dense_layer_or_of_units_that_are_left():
    assert fans(torch.ones(6, 4, 5, 5, dtype=torch.bool)) == (100, 150)  # as torch counts them
    kept = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    assert fans(kept) == (1.5, 1.5)  # three weights, two outputs and two inputs that have any
    assert fans(torch.zeros(3, 3, dtype=torch.bool)) == (0, 0)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("dense", [True, False])
def test_densities_draws_and_free_coordinates_are_those_of_torch(name, dense):
    mine = survivors()
    prior = prior_of(PriorOptions(name, 2.0, "dense" if dense else "surviving"), mine)
    first = mine.mask["conv1.weight"]
    into, outof = (25, 150) if dense else fans(first)
    glorot = {"glorot_normal": 2, "glorot_uniform": 6}
    scale = 2.0 * (math.sqrt(glorot[name] / (into + outof)) if name in glorot else 1)
    torch.testing.assert_close(prior.scale[:5], torch.full((5,), scale, dtype=torch.float64))

    normal = not prior.family.bounded
    known = Normal(0.0, prior.scale) if normal else Uniform(-prior.scale, prior.scale)
    row = prior.draw(generator("row"))
    assert 0.97 < row.std() / known.stddev.square().mean().sqrt() < 1.03
    torch.testing.assert_close(prior.log_density(row, torch), known.log_prob(row).sum())
    values = Normal(0.0, 1.0)
    if not normal:
        two_sided = [SigmoidTransform().inv, AffineTransform(0.0, 1.0)]
        values = TransformedDistribution(Uniform(0.0, 1.0, validate_args=False), two_sided)
    free = torch.linspace(-8, 8, 33, dtype=torch.float64, requires_grad=True)
    energy = prior.family.energy(free, torch)
    expected = -values.log_prob(free)
    torch.testing.assert_close(energy - energy[0], expected - expected[0], check_dtype=False)
    back, clipped = prior.free(prior.weights(torch.ones_like(row), torch), torch)
    assert clipped == 0
    torch.testing.assert_close(back, torch.ones_like(row))
    np.testing.assert_allclose(prior.family.energy(free.detach().numpy(), np), energy.detach())


def test_a_start_outside_of_a_bounded_support_is_clipped_and_counted():
    mine = survivors()
    prior = prior_of(PriorOptions("uniform"), mine)
    row = torch.zeros(len(mine), dtype=torch.float64)
    row[:3] = torch.tensor([1.5, -1.0, 0.5])
    assert prior.log_density(row, torch) == -math.inf
    free, clipped = prior.free(row, torch)
    assert clipped == 2
    torch.testing.assert_close(
        prior.weights(free, torch)[:3], torch.tensor([EDGE, -EDGE, 0.5], dtype=torch.float64)
    )


@pytest.mark.parametrize(
    "options",
    [PriorOptions(prior="cauchy"), PriorOptions(fans="all"), PriorOptions(prior_width=0.0)],
)
def test_unknown_priors_and_those_without_width_are_refused(options):
    with pytest.raises(InputError, match=r"(prior|fans|prior_width): .*(choose from|above 0)"):
        prior_of(options, survivors())


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({}, 1),  # an ordinary training, which has no prior of its own
        ({"prior_std": 0.3, "heat": 1.0}, 0.3),
        ({"prior": "normal", "prior_width": 2.0, "fans": "dense", "draws": 5}, 2),
        ({"prior": "glorot_normal", "prior_width": 1.0, "fans": "dense"}, (2 / 400) ** 0.5),
        ({"prior": "glorot_normal", "prior_width": 1.0, "fans": "surviving"}, (2 / 40) ** 0.5),
    ],
)
def test_weights_of_the_piece_prior_are_of_the_prior_of_the_inference(options, scale):
    """100 -> 300 units with a tenth of the weights, and a norm, which has no prior."""
    places = torch.arange(300)[:, None] + torch.arange(100)  # a tenth of each row and column
    mask = {"a.weight": places % 10 == 0}
    weights = {"a.weight": torch.zeros(300, 100), "a.bias": torch.zeros(300)}
    weights |= {"norm.weight": torch.ones(300), "norm.bias": torch.zeros(300)}
    drawn = draw(Ticket(mask, weights), options, generator("drawn"))
    assert drawn.keys() == {"a.weight", "a.bias"}
    assert abs(drawn["a.weight"].std() / scale - 1) < 0.03
    assert abs(drawn["a.bias"].std() / scale - 1) < 0.15
    found = Branch(weights="prior").ticket(Ticket(mask, weights), generator("drawn"), options)
    assert found.mask is mask and torch.equal(found.weights["a.weight"], drawn["a.weight"])
    assert found.weights["norm.weight"] is weights["norm.weight"]
