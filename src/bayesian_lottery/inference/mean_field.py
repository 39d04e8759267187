"""The options of mean-field variational inference, and of what tunes it.

This module loads no torch, so that the workflow can read them quickly.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bayesian_lottery.options import option


@dataclass(frozen=True)
class Posterior:
    """What mean-field variational inference is told, whatever its factors on the KL."""

    samples: int = option(
        10,
        "Weight samples a training step.",
        minimum=1,
        maximum=10_000,
        because="a step takes so many times as long",
    )
    initial_std: float = option(
        0.01,
        "Initial standard deviation, in units of the Kaiming scale 1/sqrt(fan_in).",
        minimum=1e-12,
        maximum=1_000_000,
        because="its square must fit float32",
    )
    prior_std: float = option(
        1.0,
        "Standard deviation of the prior, whose mean is 0.",
        minimum=1e-12,
        maximum=1_000_000,
        because="its square must fit float32",
    )
    antithetic: bool = option(
        False, "Draw weight samples in pairs of opposite noise; fewer draws, same mean."
    )
    likelihood: str = option(
        "categorical",
        "Logarithm of the samples' mean probability, or mean of their logarithms.",
        enum=["categorical", "elbo"],
    )


_HEAT: dict[str, Any] = {"minimum": 0, "maximum": 1_000_000, "because": "training is in float32"}
_FACTOR = {**_HEAT, "minimum": 1e-12}


@dataclass(frozen=True)
class Variational(Posterior):
    """The options of mean-field variational inference: the configuration's `bayesian` section."""

    heat: float = option(0.1, "Factor on the Kullback-Leibler term.", **_HEAT)
    heats: Mapping[str, float] | None = option(
        None,
        "Layers with a factor of their own on their Kullback-Leibler term, by name.",
        additionalProperties={
            "description": "The layer's factor, in place of heat.",
            "type": "number",
            **_HEAT,
        },
    )
    estimator: str = option(
        "weights",
        "What training draws; weights, or perturbations of each image apart.",
        enum=["weights", "local_reparameterisation", "flipout"],
    )


@dataclass(frozen=True)
class Tuned(Posterior):
    """The options of variational inference that is tuned by population-based training.

    Jaderberg et al. 2017, section 4.1.1: the worst copy the best, then each hyperparameter is
    drawn anew or changed by a fifth. Every layer has a factor of its own on its KL.
    """

    members: int = option(
        8,
        "Networks of the population; the node is the best of them.",
        minimum=2,
        maximum=1000,
        because="each takes as long as a network of its own",
    )
    ready: int = option(1, "Epochs from one selection to the next.", minimum=1)
    truncation: float = option(
        0.2,
        "Share of the members that copy one of as many best ones, at least one.",
        minimum=0,
        maximum=0.5,
    )
    resample: float = option(
        0.25,
        "Probability that a copy draws a hyperparameter anew, and changes it by a fifth else.",
        minimum=0,
        maximum=1,
    )
    lowest_heat: float = option(
        1e-3, "Where the log-uniform range of the factors on the KL begins.", **_FACTOR
    )
    highest_heat: float = option(1.0, "Where the range ends; at least lowest_heat.", **_FACTOR)
    rates: float = option(
        1.0,
        "Learning rates are the curriculum's times a factor from 1/rates to rates; 1 is not tuned.",
        minimum=1,
        maximum=1000,
    )
    stds: float = option(
        1.0,
        "Initial deviations are initial_std times a factor from 1/stds to stds; 1 is not tuned.",
        minimum=1,
        maximum=1000,
    )
    side_by_side: int | None = option(
        None, "Members that train side by side; unless said all on a GPU, one on a CPU.", minimum=1
    )
