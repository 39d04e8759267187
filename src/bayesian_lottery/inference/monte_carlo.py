"""Options of the kinds of inference that keep draws of the weights of one training.

This module loads no torch, so that the workflow can read the names quickly.
"""

from dataclasses import dataclass

from bayesian_lottery.inference.priors import PriorOptions
from bayesian_lottery.options import option

MANY = 100_000  # draws, whose memory no machine has


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


@dataclass(frozen=True)
class Sghmc(Sgld):
    """The options of stochastic-gradient Hamiltonian Monte Carlo (Chen et al. 2014)."""

    friction: float = option(
        0.1,
        "The share of the momentum that is lost at each step; 1 is Langevin dynamics.",
        exclusiveMinimum=0,
        maximum=1,
    )
