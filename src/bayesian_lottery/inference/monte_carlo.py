"""Options of the kinds of inference that keep draws of the weights of one network.

This module loads no torch, so that the workflow can read the names quickly.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.priors import PriorOptions
from bayesian_lottery.inference.schedules import Drawing, Schedule, check_points
from bayesian_lottery.options import option

MANY = 100_000  # draws, whose memory no machine has


@dataclass(frozen=True)
class Swag(Drawing):
    """The options of SWAG (Maddox et al. 2019)."""

    share: float = option(
        0.25,
        "The last share of training, whose iterates are taken.",
        exclusiveMinimum=0,
        maximum=1,
    )
    learning_rate: float | None = option(
        None,
        "The learning rate in that share; without it the curriculum's goes on.",
        exclusiveMinimum=0,
        maximum=1_000_000,
    )
    iterates: int = option(
        100,
        "How many iterates are taken, evenly spaced; of a shorter share all.",
        minimum=2,
        maximum=MANY,
        because="one has no spread",
    )
    rank: int = option(
        0,
        "How many of the last iterates make the covariance's low-rank part; 0 is a diagonal one.",
        minimum=0,
        maximum=1000,
        because="so many are kept in memory",
    )
    draws: int = option(
        30, "Draws that predict.", minimum=1, maximum=MANY, because="all are kept in memory"
    )

    def first(self, steps: int) -> int:
        """After how many of so many steps of training iterates are taken."""
        return int((1 - self.share) * steps)

    def check(self, key: str, steps: int) -> None:
        check_points(f"{key}.share", self.share, steps, steps - self.first(steps))


@dataclass(frozen=True)
class Sgld(PriorOptions, Drawing):
    """The options of stochastic-gradient Langevin dynamics (Welling & Teh 2011)."""

    temperature: float = option(
        1.0,
        "Temperature of the posterior; below 1 it is colder than Bayes'.",
        exclusiveMinimum=0,
        maximum=1000,
        because="at 0 it is an optimiser, and no sampler",
    )
    burn_in: float = option(
        0.5,
        "The share of training, or of each cycle, before draws are taken.",
        minimum=0,
        exclusiveMaximum=1,
    )
    cycles: int = option(
        0,
        "Cycles of the step size (Zhang et al. 2020); 0 is the curriculum's step size.",
        minimum=0,
        maximum=10_000,
        because="each has steps of its own",
    )
    keep: int = option(
        50,
        "Draws that are kept and predict, evenly spaced.",
        minimum=2,
        maximum=MANY,
        because="one has no spread",
    )

    def schedule(self, steps: int) -> Schedule:
        """Which of so many steps of training draw."""
        return Schedule(steps, self.burn_in, self.cycles)

    def check(self, key: str, steps: int) -> None:
        if self.cycles > steps > 0:
            raise InputError(
                f"{key}.cycles: {self.cycles} is more than the {steps} steps of training."
            )
        check_points(f"{key}.burn_in", self.burn_in, steps, self.schedule(steps).drawing)


@dataclass(frozen=True)
class Sghmc(Sgld):
    """The options of stochastic-gradient Hamiltonian Monte Carlo (Chen et al. 2014)."""

    friction: float = option(
        0.1,
        "The share of the momentum that is lost at each step; 1 is Langevin dynamics.",
        exclusiveMinimum=0,
        maximum=1,
    )


@dataclass(frozen=True)
class Exact(PriorOptions, ABC):
    """The options of exact samplers, whose heirs name their transition by `kernel`."""

    kernel: ClassVar[str]

    warmup: int = option(
        200,
        "Draws that adapt step size and mass matrix, and are not kept.",
        minimum=1,
        maximum=10_000_000,
        because="the step size comes of them",
    )
    draws: int = option(
        1400,
        "Draws after warm-up.",
        minimum=2,
        maximum=10_000_000,
        because="one has no spread",
    )
    keep: int = option(
        200,
        "Draws that are kept and predict, evenly spaced; mean and deviation are of all.",
        minimum=2,
        maximum=MANY,
        because="all are kept in memory",
    )
    start: str = option(
        "weights",
        "Where a chain starts; at the network's weights, or at a draw from the prior.",
        enum=["weights", "prior"],
    )
    images: int = option(
        0,
        "How many training images the likelihood is of, the same for every chain; 0 is all.",
        minimum=0,
        maximum=1_000_000_000,
        because="no data set has more",
    )
    temperature: float = option(
        1.0,
        "Temperature of the posterior; below 1 it is colder than Bayes'.",
        exclusiveMinimum=0,
        maximum=1000,
        because="at 0 it is an optimiser, and no sampler",
    )
    acceptance: float = option(
        0.8,
        "The acceptance that warm-up adapts the step size to.",
        minimum=0.1,
        maximum=0.99,
        because="beyond, steps become too long or too short to be adapted",
    )

    @property
    @abstractmethod
    def longest(self) -> int:
        """The gradients that a draw takes at most."""

    def check(self, key: str, epochs: int) -> None:
        """Raise an `InputError` if so many epochs are more than there are draws to divide by them.

        Args:
            key: of the options.
        """
        total = self.warmup + self.draws
        if epochs > total:
            raise InputError(
                f"{key}.draws: {epochs} epochs are more rows of history than the {total} draws, "
                "warm-up included."
            )

    @property
    def gradients(self) -> int:
        """Those that the chain takes at most."""
        return (self.warmup + self.draws) * self.longest


@dataclass(frozen=True)
class Nuts(Exact):
    """The options of the no-U-turn sampler."""

    kernel: ClassVar[str] = "bayesian_lottery.sampling.kernels:of_nuts"

    depth: int = option(
        10,
        "Doublings of a trajectory at most; a draw takes up to 2^depth - 1 gradients.",
        minimum=1,
        maximum=15,
        because="each doubles the time of a draw",
    )

    @property
    def longest(self) -> int:
        return 2**self.depth - 1


@dataclass(frozen=True)
class Hmc(Exact):
    """The options of Hamiltonian Monte Carlo."""

    kernel: ClassVar[str] = "bayesian_lottery.sampling.kernels:of_hmc"

    length: float = option(
        1.5708,
        "Mean length of trajectories, in posterior standard deviations; each is uniform from 0 to "
        "twice as long.",
        exclusiveMinimum=0,
        maximum=1000,
        because="longer ones turn back",
    )
    steps: int = option(
        1000,
        "Steps of a trajectory at most, a gradient each.",
        minimum=1,
        maximum=100_000,
        because="each takes a gradient",
    )

    @property
    def longest(self) -> int:
        return self.steps


@dataclass(frozen=True)
class Mclmc(Exact):
    """The options of adjusted microcanonical Langevin Monte Carlo."""

    kernel: ClassVar[str] = "bayesian_lottery.sampling.kernels:of_mclmc"

    steps: float = option(
        4.0,
        "Mean steps of a trajectory, two gradients each; each number is uniform from 1.",
        minimum=1.2,
        maximum=10_000,
        because="one step is a random walk",
    )

    @property
    def longest(self) -> int:
        return 2 * math.ceil(2 * self.steps)  # its number of steps is at most twice the mean
