"""From one number a seed to a verdict: intervals, the regions that claims name, what follows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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

    def distance(self, value: float) -> float:
        """How far a value is from the nearest bound, on either side of it."""
        return min(abs(value - self.above), abs(value - self.below))

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
        error: the standard error of a mean over seeds; 0 if they agree, NaN if it is no such mean.
        caveat: why the interval can carry no verdict; empty if it can.
    """

    estimate: float
    low: float
    high: float
    seeds: int
    error: float = math.nan
    caveat: str = ""


@dataclass(frozen=True)
class Evidence:
    """What a claim's function finds.

    Attributes:
        statistic: in words.
        region: where it should lie.
        p: of its verdict; see `p_value`.
    """

    statistic: str
    interval: Interval
    region: Region
    p: float


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
    error, caveat = math.nan, ""
    if seeds == 1:
        # A deterministic network's passes agree exactly; they know no error.
        known = passes_variance > 0
        passes = math.sqrt(passes_variance) if known else math.nan
        reach = stats.norm.ppf((1 + confidence) / 2) * passes
        caveat = "one seed; " + (
            "the interval is of its repeated passes, which say nothing of other seeds"
            if known
            else "it gives no interval"
        )
    elif np.ptp(means) < _EQUAL:
        reach = error = 0.0
        if 2.0 ** (1 - seeds) > 1 - confidence:
            caveat = f"all {seeds} seeds gave the same value, which is too few to know its spread"
    else:
        error = float(np.std(means, ddof=1)) / math.sqrt(seeds)
        reach = stats.t.ppf((1 + confidence) / 2, seeds - 1) * error
    low, high = float(estimate - reach), float(estimate + reach)
    return Interval(estimate, low, high, seeds, error, caveat)


def unconverged(found: Interval) -> Interval:
    """An interval that carries no verdict, since the chains of draws that it rests on disagree."""
    reason = "chains of draws have not converged to one distribution (columns rhat and ess)"
    return replace(found, error=math.nan, caveat=reason)


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


def least_in_favour(found: Sequence[Evidence]) -> Evidence:
    """The evidence by whose verdict a claim falls first: of equals, that farthest out."""

    def key(evidence: Evidence) -> tuple:
        interval, region = evidence.interval, evidence.region
        verdict, _ = judge(interval, region)
        beyond = max(region.above - interval.low, interval.high - region.below)
        return (SUPPORTED, UNDECIDED, CONTRADICTED).index(verdict), beyond

    return max(found, key=key)


def p_value(found: Interval, region: Region) -> float:
    """The least alpha at which an interval of confidence 1 - alpha decides, one way or the other.

    With n seeds, the estimate at a distance of the nearest bound of the region, and its standard
    error, that is 2 P(T > distance / error), T of Student's distribution with n - 1 degrees of
    freedom: two-sided, for either verdict may come out. For seeds that agree exactly it is the sign
    test's 2^(1-n). NaN where there is no error over seeds, as for one seed.
    """
    if math.isnan(found.error):
        return math.nan
    if found.error == 0:
        return 2.0 ** (1 - found.seeds)
    distance = region.distance(found.estimate)
    return float(2 * stats.t.sf(distance / found.error, found.seeds - 1))


def more_seeds(found: Interval, region: Region, confidence: float) -> int | None:
    """How many seeds, besides those there are, would decide the claim if it stays as it is.

    With the estimate at a distance of the nearest bound and the standard deviation s of the seeds
    there are, N seeds decide if the interval's half width is less: t(N - 1) s / sqrt(N) < distance.
    It is the least such N, less the seeds that there are. For seeds that agree exactly it is as
    many as the sign test takes. None where no spread is known, or the estimate is on a bound.
    """
    distance = region.distance(found.estimate)
    if math.isnan(found.error) or distance < _EQUAL:
        return None
    if found.error == 0:
        return max(0, math.ceil(1 - math.log2(1 - confidence)) - found.seeds)
    ratio = found.error * math.sqrt(found.seeds) / distance
    tail = (1 + confidence) / 2
    seeds = max(found.seeds + 1, math.ceil((stats.norm.ppf(tail) * ratio) ** 2))  # t is wider
    while seeds <= (stats.t.ppf(tail, seeds - 1) * ratio) ** 2:
        seeds += 1
    return seeds - found.seeds


def correct(verdicts: Sequence[str], p_values: ArrayLike, rate: float) -> tuple[list, np.ndarray]:
    """Verdicts corrected for their number, and the q-values that say so.

    By Benjamini & Hochberg (1995, Journal of the Royal Statistical Society B 57): the q-values are
    the p-values adjusted, and a verdict whose q is above `rate` becomes undecided. Of the verdicts
    that remain, a share of at most `rate` is expected to be wrong. A NaN, which belongs to a claim
    that was not put to the test, counts for nothing.
    """
    p = np.asarray(p_values, dtype=float)
    q = np.full_like(p, math.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(np.minimum(p[tested], 1), method="bh")
    decided = (SUPPORTED, CONTRADICTED)
    corrected = [
        UNDECIDED if verdict in decided and not value <= rate else verdict
        for verdict, value in zip(verdicts, q, strict=True)
    ]
    return corrected, q
