"""A chain's state and its next draw: one compiled function, warm-up included.

Warm-up is Stan's, from blackjax's parts: the step size by dual averaging towards an acceptance, and
a diagonal mass matrix from windows of growing length. What it knows is part of the state, so that a
chain goes on from any draw as if it had never stopped.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.adaptation.mass_matrix import MassMatrixAdaptationState, mass_matrix_adaptation
from blackjax.adaptation.step_size import DualAveragingAdaptationState, dual_averaging_adaptation
from blackjax.adaptation.window_adaptation import build_schedule
from blackjax.mcmc import hmc

from bayesian_lottery.sampling.kernels import Kernel, Told

# What a draw is of warm-up: nothing any more, its step size's, its mass matrix's too, and the last
# of a window of these.
SAMPLING, FAST, SLOW, WINDOW_END = range(4)


class Chain(NamedTuple):
    """The state of a chain; its next draw depends on it, on the draw's number and on the key."""

    point: hmc.HMCState
    dual: DualAveragingAdaptationState
    mass: MassMatrixAdaptationState
    step_size: jax.Array
    inverse_mass: jax.Array


def schedule(warmup: int) -> list[int]:
    """What each draw of warm-up adapts."""
    parts = build_schedule(warmup) if warmup else []
    return [WINDOW_END if last else SLOW if slow else FAST for slow, last in parts]


class Sampler:
    """A sampler of a density.

    Args:
        kernel: its transition.
        density: from a position (n,) and whatever is passed on as `data` to a log density.
        target: the acceptance that warm-up aims at.
        key: of all its random numbers.
    """

    def __init__(
        self,
        kernel: Kernel,
        density: Callable[[jax.Array, Any], jax.Array],
        target: float,
        key: jax.Array,
    ):
        self.kernel, self.density, self.key = kernel, density, key
        self.dual = dual_averaging_adaptation(target)
        self.mass = mass_matrix_adaptation(is_diagonal_matrix=True)
        self.next = jax.jit(self._next)

    def start(self, position: jax.Array, data: Any) -> Chain:
        """The state at a position, before warm-up."""
        point = jax.jit(lambda x, data: hmc.init(x, lambda x: self.density(x, data)))
        size = jnp.asarray(self.kernel.first_step(len(position)), position.dtype)
        mass = self.mass[0](len(position), None)
        dual = self.dual[0](size)
        chain = Chain(point(position, data), dual, mass, size, mass.inverse_mass_matrix)
        # Of one type from the first draw on, so that it compiles once.
        shapes = jax.eval_shape(self._next, chain, 0, FAST, False, data)[0]
        return jax.tree.map(lambda x, like: jnp.asarray(x, like.dtype), chain, shapes)

    def _next(self, chain: Chain, number, stage, last, data: Any) -> tuple[Chain, Told]:
        """The draw of a number, from 0, and what it tells; `last`: of warm-up."""
        point, told = self.kernel.step(
            jax.random.fold_in(self.key, number),
            chain.point,
            lambda position: self.density(position, data),
            chain.step_size,
            chain.inverse_mass,
        )
        adapted = jax.lax.switch(
            stage,
            (
                lambda chain: chain,
                lambda chain: self._fast(chain, told),
                lambda chain: self._slow(self._fast(chain, told), point),
                lambda chain: self._end(self._slow(self._fast(chain, told), point)),
            ),
            chain._replace(point=point),
        )
        settled = adapted._replace(step_size=self.dual[2](adapted.dual))
        chosen = jax.tree.map(lambda one, other: jnp.where(last, one, other), settled, adapted)
        return chosen, told

    def _fast(self, chain: Chain, told: Told) -> Chain:
        dual = self.dual[1](chain.dual, told.acceptance)
        return chain._replace(dual=dual, step_size=jnp.exp(dual.log_step_size))

    def _slow(self, chain: Chain, point: hmc.HMCState) -> Chain:
        return chain._replace(mass=self.mass[1](chain.mass, point.position))

    def _end(self, chain: Chain) -> Chain:
        mass = self.mass[2](chain.mass)
        dual = self.dual[0](self.dual[2](chain.dual))
        size = jnp.exp(dual.log_step_size)
        return Chain(chain.point, dual, mass, size, mass.inverse_mass_matrix)
