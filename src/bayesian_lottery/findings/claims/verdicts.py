"""From one number a seed to a verdict: intervals, the regions that claims name, what follows."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTED = VERDICTS = (
    "supported",
    "contradicted",
    "undecided",
    "not tested",
)

FEW = 2  # seeds from which a verdict comes with a note
_EQUAL = 1e-9  # numbers that differ by less are the same up to rounding


class NotTested(Exception):
    """The tables cannot feed a claim; the message says what is missing."""


@dataclass(frozen=True)
class Region:
    """Where the statistic lies if the claim holds: above one bound, below another, or both."""

    above: float = -math.inf
    below: float = math.inf

    def __str__(self) -> str:
        bounds = {"above": self.above, "below": self.below}
        return " and ".join(
            f"{side} {bound:g}" for side, bound in bounds.items() if math.isfinite(bound)
        )


def beats(margin: float) -> Region:
    """The difference is positive, and more than the margin."""
    return Region(above=margin)


def falls_behind(margin: float) -> Region:
    """The difference is negative, and more than the margin."""
    return Region(below=-margin)


def matches(margin: float) -> Region:
    """Not inferior: better, equal, or worse by less than the margin."""
    return Region(above=-margin)


def equals(margin: float) -> Region:
    """Equivalent: neither better nor worse by the margin."""
    return Region(-margin, margin)


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval; NaN bounds are not known.

    Attributes:
        caveat: why the interval can carry no verdict; empty if it can.
    """

    estimate: float
    low: float
    high: float
    seeds: int
    caveat: str = ""


@dataclass(frozen=True)
class Evidence:
    """What a claim's function finds: the statistic in words, its interval, where it should lie."""

    statistic: str
    interval: Interval
    region: Region


def interval(values: ArrayLike, confidence: float, passes_variance: float = math.nan) -> Interval:
    """The t-interval of the mean of `values`, one independent value a seed.

    Two cases have no t-interval, and get a caveat:

    - One seed. The interval is that of the repeated stochastic passes, normal with
      `passes_variance`, and not known where there are none.
    - Seeds that agree exactly (accuracies are counts of images), where a t-interval is a point,
      however few the seeds. Under the sign test, n values on one side of the median have
      probability 2^(1-n): with enough seeds for `confidence`, the point stands.
    """
    means = np.asarray(values, dtype=float)
    seeds, estimate = len(means), float(np.mean(means))
    caveat = ""
    if seeds == 1:
        # A deterministic network's passes agree exactly; they know no error.
        known = passes_variance > 0
        error = math.sqrt(passes_variance) if known else math.nan
        reach = stats.norm.ppf((1 + confidence) / 2) * error
        caveat = "one seed; " + (
            "the interval is of its repeated passes, which say nothing of other seeds"
            if known
            else "it gives no interval"
        )
    elif np.ptp(means) < _EQUAL:
        reach = 0.0
        if 2.0 ** (1 - seeds) > 1 - confidence:
            caveat = f"all {seeds} seeds gave the same value, which is too few to know its spread"
    else:
        error = float(np.std(means, ddof=1)) / math.sqrt(seeds)
        reach = stats.t.ppf((1 + confidence) / 2, seeds - 1) * error
    return Interval(estimate, float(estimate - reach), float(estimate + reach), seeds, caveat)


def judge(found: Interval, region: Region) -> tuple[str, str]:
    """The verdict, and the reason where it is undecided or rests on few seeds.

    Supported if the whole interval lies in the region, contradicted if the whole lies outside.
    """
    if found.caveat:
        return UNDECIDED, found.caveat
    note = "" if found.seeds > FEW else f"{found.seeds} seeds; rests on their being normal"
    if region.above < found.low and found.high < region.below:
        return SUPPORTED, note
    if found.high <= region.above or found.low >= region.below:
        return CONTRADICTED, note
    crossed = [b for b in (region.above, region.below) if found.low <= b <= found.high]
    return UNDECIDED, f"the interval holds {' and '.join(f'{b:g}' for b in crossed)}"
