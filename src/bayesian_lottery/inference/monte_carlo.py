"""Options of the kinds of inference that keep draws of the weights of one network.

This module loads no torch, so that the workflow can read the names quickly.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.priors import PriorOptions
from bayesian_lottery.options import option

MANY = 100_000  # draws, whose memory no machine has


@dataclass(frozen=True)
class Schedule:
    """Which of a training's steps draw, and how large they are; steps count from 1.

    steps: of the whole training.
    burn_in: the share of training, or of each cycle, before draws.
    cycles: of the step size; 0 is none.
    """

    steps: int
    burn_in: float
    cycles: int

    @property
    def length(self) -> int:
        """Steps of a cycle; the last one may have fewer."""
        return math.ceil(self.steps / self.cycles) if self.cycles else self.steps

    @property
    def first(self) -> int:
        """Steps of a cycle before draws."""
        return int(self.burn_in * self.length)

    @property
    def drawing(self) -> int:
        """How many steps draw."""
        whole, last = divmod(self.steps, max(self.length, 1))
        return whole * (self.length - self.first) + max(last - self.first, 0)

    def index(self, step: int) -> int | None:
        """Which of the steps that draw it is, from 1; None if it does not."""
        whole, within = divmod(step - 1, self.length)
        drawn = within + 1 - self.first
        return whole * (self.length - self.first) + drawn if drawn > 0 else None

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by (Zhang et al. 2020, equation 1)."""
        if not self.cycles:
            return 1.0
        return (math.cos(math.pi * ((step - 1) % self.length) / self.length) + 1) / 2

    def explores(self, step: int) -> bool:
        """Whether the step is one without noise, as before the draws of a cycle (section 3)."""
        return self.cycles > 0 and self.index(step) is None


@dataclass(frozen=True)
class Swag:
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

    def check(self, steps: int) -> None:
        """Raise an `InputError`, of an option, unless so many steps leave two iterates."""
        _check_points("share", self.share, steps, steps - self.first(steps))


@dataclass(frozen=True)
class Sgld(PriorOptions):
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

    def check(self, steps: int) -> None:
        """Raise an `InputError`, of an option, unless two of so many steps draw."""
        if self.cycles > steps:
            raise InputError(f"cycles: {self.cycles} is more than the {steps} steps of training.")
        _check_points("burn_in", self.burn_in, steps, self.schedule(steps).drawing)


@dataclass(frozen=True)
class Sghmc(Sgld):
    """The options of stochastic-gradient Hamiltonian Monte Carlo (Chen et al. 2014)."""

    friction: float = option(
        0.1,
        "The share of the momentum that is lost at each step; 1 is Langevin dynamics.",
        exclusiveMinimum=0,
        maximum=1,
    )


def _check_points(option: str, value: float, steps: int, points: int) -> None:
    if points < 2:
        raise InputError(
            f"{option}: {value:g} leaves {points} of {steps} steps of training to draw from; two "
            "at least are needed."
        )


def check_steps(key: str, options: Swag | Sgld, steps: int) -> None:
    """Raise an `InputError` unless so many steps of training, if any, leave enough to draw from.

    Args:
        key: of the options.
    """
    try:
        if steps:
            options.check(steps)
    except InputError as error:  # begins with the option's name
        raise InputError(f"{key}.{error}") from None


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
