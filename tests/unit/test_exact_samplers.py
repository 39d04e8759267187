"""Exact samplers recover known posteriors, whatever the kernel, warm-up included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesian_lottery.imports import named
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.inference.monte_carlo import Hmc, Mclmc, Nuts
from bayesian_lottery.sampling.warmup import SAMPLING, Sampler, schedule

OPTIONS = {"nuts": Nuts(depth=6), "hmc": Hmc(steps=50), "mclmc": Mclmc(acceptance=0.9)}
DRAWS = {"nuts": 1500, "hmc": 3000, "mclmc": 6000}


def sample(name: str, density, start, data=None, warmup: int = 400) -> np.ndarray:
    """Draws (D, n) after warm-up, as `sampler.train` makes them, in one scan."""
    options = OPTIONS[name]
    assert isinstance(options, KINDS[name].options)
    kernel = named(options.kernel)(options)
    sampler = Sampler(kernel, density, options.acceptance, jax.random.PRNGKey(0))
    count = warmup + DRAWS[name]
    stages = np.array([*schedule(warmup), *[SAMPLING] * DRAWS[name]])

    def step(chain, each):
        chain, told = sampler.next(chain, *each, data)
        return chain, (chain.point.position, told)

    given = np.arange(count), stages, np.arange(count) == warmup - 1
    _, (positions, told) = jax.jit(lambda chain: jax.lax.scan(step, chain, given))(
        sampler.start(start, data)
    )
    assert told.acceptance[warmup:].mean() > 0.6
    assert not told.diverging[warmup:].any()
    return np.asarray(positions[warmup:])


def agrees(draws: np.ndarray, right: np.ndarray) -> None:
    """Each column's mean lies within four standard errors, by its effective sample size."""
    from arviz_stats.base import array_stats

    for column, mean in zip(draws.T, right, strict=True):
        size = array_stats.ess(column[None], chain_axis=0, draw_axis=1, method="mean")
        assert size > 100
        assert abs(column.mean() - mean) < 4 * column.std() / size**0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_correlated_gaussian_in_its_moments(name):
    mean = jnp.array([1.0, -2.0, 0.5])
    covariance = np.array([[4.0, 1.8, 0.0], [1.8, 1.0, 0.02], [0.0, 0.02, 0.01]])
    precision = jnp.asarray(np.linalg.inv(covariance))

    def density(x, data):
        return -0.5 * (x - mean) @ precision @ (x - mean)

    draws = sample(name, density, jnp.zeros(3))
    agrees(draws, np.asarray(mean))
    centred = draws - np.asarray(mean)
    products = (centred[:, :, None] * centred[:, None, :]).reshape(len(draws), -1)
    agrees(products[:, [0, 1, 4, 8]], covariance.ravel()[[0, 1, 4, 8]])


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_bayesian_logistic_regression_in_its_moments(name):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 2)) * [1.0, 2.0] + [0.0, 0.5]
    y = (rng.random(60) < 1 / (1 + np.exp(-(x @ [1.0, -0.7])))).astype(float)

    def density(w, data):
        x, y = data
        logits = x @ w
        return (y * logits - jax.nn.softplus(logits)).sum() - 0.5 * (w @ w)

    data = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    draws = sample(name, density, jnp.zeros(2), data)
    # The reference: the posterior on a grid.
    axis = np.linspace(-4, 4, 401)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    logits = grid @ x.T
    log = (y * logits - np.logaddexp(0, logits)).sum(1) - 0.5 * (grid**2).sum(1)
    share = np.exp(log - log.max())
    share /= share.sum()
    agrees(draws, share @ grid)
    agrees(draws**2, share @ grid**2)
