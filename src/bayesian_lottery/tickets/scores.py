"""Scorers: what a weight is worth. The lowest scores are pruned first.

A scorer is a function of what an inference offers of a weight, and one entry in `SCORERS`. This
module loads no torch, so that the workflow can read the names quickly.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

GRADIENT = "gradient"  # what every kind offers: of the data term, by the weight or its mean

_SALIENCY = "bayesian_lottery.training.saliency"


@dataclass(frozen=True)
class Scorer:
    """A scorer, for every kind of inference that offers what it needs.

    Attributes:
        needs: of each weight: "weight", "mean" or "std", as `Kind.offers` has them, or
            "gradient" (see `pruning.gradients`).
        score: takes these tensors of one layer, in this order, all of the weight's shape, and
            returns the scores in that shape.
        description: a few words.
        code: in place of `score`, "module:object", called with the network, the images, the node's
            settings and what names random streams; gives the scores of all prunable weights, by
            name (see `training.saliency`).
        rounds: in how many rounds its source scores and prunes initial weights.
        inverted: whether the highest scores are pruned first, which a score should not survive.
    """

    needs: tuple[str, ...]
    score: Callable | None
    description: str
    code: str = ""
    rounds: int = 1
    inverted: bool = False

    def fits(self, offers: Iterable[str]) -> bool:
        """Whether networks of a kind that `offers` these tensors can be scored."""
        return set(self.needs) <= {*offers, GRADIENT}


SCORERS: dict[str, Scorer] = {
    "magnitude": Scorer(("weight",), lambda w: w.abs(), "|w|"),
    # A weight of sigma 0 has never moved, for no image has told of it: nothing of it is signal.
    "snr": Scorer(
        ("mean", "std"),
        lambda mu, sigma: (mu.abs() / sigma).nan_to_num(nan=0.0, posinf=0.0),
        "signal to noise, |mu| / sigma",
    ),
    "square": Scorer(
        ("mean", "std"),
        lambda mu, sigma: (mu.square() + sigma.square()).sqrt(),
        "root mean square of the weight, sqrt(mu^2 + sigma^2)",
    ),
    "mu": Scorer(("mean",), lambda mu: mu.abs(), "|mu|"),
    # Of initial weights first of all; of draws of the weights, where a posterior is over them.
    "random": Scorer((), None, "drawn at random", f"{_SALIENCY}:drawn"),
    "snip": Scorer((), None, "|w g|, g the loss's gradient", f"{_SALIENCY}:snip"),
    "grasp": Scorer((), None, "w H g, H the loss's Hessian", f"{_SALIENCY}:grasp"),
    "synflow": Scorer((), None, "flow through |w| of ones", f"{_SALIENCY}:synflow", rounds=100),
}


# Frankle et al. 2021, Pruning Neural Networks at Initialization: Why Are We Missing the Mark?,
# section 5: pruning by inverted scores shows whether they find what matters.
SCORERS |= {
    f"inverted_{name}": replace(
        SCORERS[name], description=f"{SCORERS[name].description}, inverted", inverted=True
    )
    for name in ("snip", "grasp", "synflow")
}


def scorers_for(offers: Iterable[str]) -> list[str]:
    """The names of all scorers for a kind that `offers` these, in the order of the registry."""
    return [name for name, scorer in SCORERS.items() if scorer.fits(offers)]
