"""One transition of each exact sampler, by blackjax's kernels.

All of them move a position (n,) of free coordinates under a step size and a diagonal inverse mass
matrix, which warm-up adapts alike (see `warmup`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from blackjax.mcmc import adjusted_mclmc, hmc, nuts
from blackjax.mcmc.adjusted_mclmc_dynamic import make_random_trajectory_length_fn

from bayesian_lottery.inference.monte_carlo import Hmc, Mclmc, Nuts

LogDensity = Callable[[jax.Array], jax.Array]
_random_length = make_random_trajectory_length_fn(random_trajectory_length=True)


class Told(NamedTuple):
    """What a transition tells, each a number.

    acceptance: the probability of its proposals, on average.
    energy: of the Hamiltonian it started on; NaN where there is none.
    steps: of its trajectory.
    gradients: that it took.
    diverging: whether the energy ran away.
    capped: whether it would have gone on.
    """

    acceptance: jax.Array
    energy: jax.Array
    steps: jax.Array
    gradients: jax.Array
    diverging: jax.Array
    capped: jax.Array


class Step(Protocol):
    """A transition, from a state to the next and what it tells."""

    def __call__(
        self,
        key: jax.Array,
        state: hmc.HMCState,
        density: LogDensity,
        step_size: jax.Array,
        inverse_mass: jax.Array,
    ) -> tuple[hmc.HMCState, Told]: ...


class Kernel(NamedTuple):
    """A sampler. `first_step(n)` is the step size that warm-up begins with."""

    step: Step
    first_step: Callable[[int], float]


def of_nuts(options: Nuts) -> Kernel:
    """The no-U-turn sampler (Hoffman & Gelman 2014), multinomial (Betancourt 2017)."""
    kernel = nuts.build_kernel()

    def step(key, state, density, step_size, inverse_mass):
        new, info = kernel(key, state, density, step_size, inverse_mass, options.depth)
        ended = info.is_turning | info.is_divergent
        capped = (info.num_trajectory_expansions >= options.depth) & ~ended
        return new, _told(state, info, inverse_mass, 1, capped)

    return Kernel(step, lambda n: 0.1)


def of_hmc(options: Hmc) -> Kernel:
    """Hamiltonian Monte Carlo (Neal 2011) by trajectories of random length."""
    kernel = hmc.build_kernel()

    def step(key, state, density, step_size, inverse_mass):
        length_key, key = jax.random.split(key)
        wanted = _random_length(length_key, jnp.maximum(1.0, options.length / step_size))
        steps = jnp.minimum(wanted, options.steps)
        new, info = kernel(key, state, density, step_size, inverse_mass, steps)
        return new, _told(state, info, inverse_mass, 1, wanted > options.steps)

    return Kernel(step, lambda n: 0.1)


def of_mclmc(options: Mclmc) -> Kernel:
    """Adjusted microcanonical Langevin Monte Carlo (Robnik et al. 2025), arXiv 2503.01707."""
    kernel = adjusted_mclmc.build_kernel()

    def step(key, state, density, step_size, inverse_mass):
        length_key, key = jax.random.split(key)
        steps = _random_length(length_key, options.steps)
        new, info = kernel(key, state, density, step_size, (steps,), inverse_mass, jnp.inf)
        # The integrator of McLachlan (1995) takes two gradients a step.
        return new, _told(state, info, None, 2, jnp.zeros((), bool))

    return Kernel(step, lambda n: 0.1 * n**0.5)


def _told(state: hmc.HMCState, info: Any, inverse_mass, gradients: int, capped) -> Told:
    energy = jnp.full((), jnp.nan)
    if inverse_mass is not None:
        energy = 0.5 * (info.momentum**2 * inverse_mass).sum() - state.logdensity
    steps = info.num_integration_steps
    accepted = info.acceptance_rate
    return Told(accepted, energy, steps, gradients * steps, info.is_divergent, capped)
