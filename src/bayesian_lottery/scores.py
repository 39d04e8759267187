"""Scorers: what a weight is worth. The lowest scores are pruned first.

A scorer is a function of the weights' parameters and one line in `SCORERS`. This module imports
nothing, so that the workflow can read the names without loading torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Scorer:
    """A scorer for one kind of inference.

    `score` takes the tensors of one layer, (w) for a deterministic network and (mu, sigma) for a
    Bayesian one, all of the weight's shape, and returns the scores in that shape.
    """

    inference: str
    score: Callable
    description: str


SCORERS: Mapping[str, Scorer] = {
    "magnitude": Scorer("deterministic", lambda w: w.abs(), "|w|"),
    "snr": Scorer("bayesian", lambda mu, sigma: mu.abs() / sigma, "signal to noise, |mu| / sigma"),
    "square": Scorer(
        "bayesian",
        lambda mu, sigma: (mu.square() + sigma.square()).sqrt(),
        "root mean square of the weight, sqrt(mu^2 + sigma^2)",
    ),
    "mu": Scorer("bayesian", lambda mu, sigma: mu.abs(), "|mu|"),
}


def scorers_for(inference: str) -> list[str]:
    """The names of all scorers for `inference`, in the order of the registry."""
    return [name for name, scorer in SCORERS.items() if scorer.inference == inference]
