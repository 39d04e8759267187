"""Claims on exported networks: whether what is small is also fast, and how small it is."""

from collections.abc import Mapping

import pandas as pd

from bayesian_lottery.findings import results
from bayesian_lottery.findings.claims import subjects
from bayesian_lottery.findings.claims.claim import Claim, each_inference
from bayesian_lottery.findings.claims.options import POINT
from bayesian_lottery.findings.claims.subjects import INFERENCES, Subject
from bayesian_lottery.findings.claims.verdicts import Evidence, NotTested, Region
from bayesian_lottery.study.formats import FORMATS, MEAN, SAMPLES
from bayesian_lottery.study.nodes import LATER
from bayesian_lottery.tickets.patterns import PATTERNS

SPARSE, SMALL = 0.05, 0.1  # the densities that the claims speak of
FASTER, MILLISECONDS, SMALLER = 5.0, 10.0, 40.0
SINGLE = 1  # images of a prediction


def faster(subject: Subject, inference: str) -> Evidence:
    """How many times as fast as dense a network near 5 % density predicts.

    Of each seed it is the most that any format gains, at any batch size, among those that take no
    products with pruned weights: what others gain, they gain for dense networks, too.
    """
    rows, words = _near(_exports(subject, inference, SAMPLES), SPARSE)
    rows = rows[rows["format"].isin([name for name, each in FORMATS.items() if each.skips])]
    return _evidence(
        subject, rows, "times_as_fast", "max", Region(above=FASTER),
        f"times as fast as dense, {INFERENCES[inference]}, best format and batch, {words}",
    )  # fmt: skip


def in_time(subject: Subject, inference: str) -> Evidence:
    """The milliseconds of a prediction for one image near 5 % density, of the fastest format."""
    rows, words = _near(_exports(subject, inference, SAMPLES), SPARSE)
    rows = rows[rows["batch"] == SINGLE].assign(milliseconds=1000 * rows["seconds"])
    return _evidence(
        subject, rows, "milliseconds", "min", Region(below=MILLISECONDS),
        f"milliseconds of one image, {INFERENCES[inference]}, best format, {words}",
    )  # fmt: skip


def smaller(subject: Subject, inference: str) -> Evidence:
    """How many times smaller than dense a network near 10 % density is, in its smallest format."""
    rows, words = _near(_exports(subject, inference, MEAN), SMALL)
    return _evidence(
        subject, rows, "times_smaller", "max", Region(above=SMALLER),
        f"times smaller than dense, {INFERENCES[inference]}, indices counted, best format, {words}",
    )  # fmt: skip


def structured_faster(subject: Subject, inference: str) -> Evidence:
    """How many times as fast as dense a structured ticket near 10 % density is.

    Of each seed it is the best format at the batch size at which that gains least, among formats
    that take no products with pruned weights.
    """
    units = [name for name, pattern in PATTERNS.items() if pattern.units]
    rows, words = _near(_exports(subject, inference, SAMPLES, units), SMALL)
    rows = rows[rows["format"].isin([name for name, each in FORMATS.items() if each.skips])]
    named = ["seed", "level", "format", "density"]
    least = rows.groupby(named, as_index=False).agg({"times_as_fast": "min"})
    return _evidence(
        subject, least, "times_as_fast", "max", Region(above=1.0),
        f"times as fast as dense at every batch, {INFERENCES[inference]}, whole units pruned, "
        f"best format, {words}",
    )  # fmt: skip


def _exports(
    subject: Subject, inference: str, predicts: str, patterns: list[str] | None = None
) -> pd.DataFrame:
    """The exports of the main trunk of an inference, or of its twins of other patterns.

    Raises:
        NotTested: there are none.
    """
    rows = subject.exports
    wanted = {
        "inference": inference,
        "scorer": subject.scorer(inference),
        "rewind": "imp",
        "curriculum": subject.curriculum,
        **LATER,
        **subject.options.tickets,
    }
    own = wanted.pop("pattern")
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    rows = rows[rows["pattern"].isin(patterns or [own]) & rows["refused"].isna()]
    rows = rows[rows["predicts"].isna() if inference == POINT else rows["predicts"] == predicts]
    if rows.empty:
        words = f" of pattern {' or '.join(patterns)}" if patterns else ""
        raise NotTested(f"no {INFERENCES[inference]} ticket{words} is exported")
    return rows


def _near(rows: pd.DataFrame, density: float) -> tuple[pd.DataFrame, str]:
    """The rows of the level whose density is nearest, and the words for it."""
    level = results.nearest(rows.groupby("level")["density"].mean(), density)
    if level is None:
        raise NotTested(f"no level of about {100 * density:g} % density is exported")
    rows = rows[rows["level"] == level]
    return rows, f"at {100 * rows['density'].mean():.3g} % density"


def _evidence(
    subject: Subject, rows: pd.DataFrame, value: str, best: str, region: Region, statistic: str
) -> Evidence:
    """The evidence of each seed's best value."""
    if rows.empty:
        raise NotTested("no export has a format or a batch size that the claim speaks of")
    chosen = rows.groupby(["seed", "level"], as_index=False).agg({value: best, "density": "first"})
    return subject.evidence(subjects.per_seed(subjects.series(chosen, value)), statistic, region)


_LECTURE = "a lecture on lottery tickets"

CLAIMS: Mapping[str, Claim] = {
    **each_inference(
        "sparse_is_faster", 36,
        "Without 95 % of its weights a network predicts 5 to 10 times as fast, for {} networks.",
        _LECTURE, faster,
    ),
    **each_inference(
        "prediction_in_10_ms", 37,
        "A prediction of a network without 95 % of its weights takes less than 10 ms, for {} "
        "networks.", _LECTURE, in_time,
    ),
    **each_inference(
        "forty_times_smaller", 38,
        "At 90 % sparsity and int8 a network is 40 times smaller, for {} networks.", _LECTURE,
        smaller,
    ),
    **each_inference(
        "structured_faster", 39,
        "Tickets of whole units are faster in fact, for {} networks.", _LECTURE, structured_faster,
    ),
}  # fmt: skip
