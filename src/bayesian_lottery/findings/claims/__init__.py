"""The paper's claims, each with its evidence and a verdict.

A claim is a function from a `Subject` (one model on one data set) to its `Evidence`, and one entry
in the `CLAIMS` of `papers`, `ways`, `montecarlo` or `exports`. docs/claims.md says what is tested
and how.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import exported
from bayesian_lottery.findings.claims import exports as claims_on_exports
from bayesian_lottery.findings.claims import montecarlo, papers, ways
from bayesian_lottery.findings.claims.claim import Claim
from bayesian_lottery.findings.claims.gathering import subjects
from bayesian_lottery.findings.claims.options import Options
from bayesian_lottery.findings.claims.subjects import Subject
from bayesian_lottery.findings.claims.verdicts import (
    NOT_TESTED,
    UNDECIDED,
    Evidence,
    NotTested,
    correct,
    judge,
    more_seeds,
)

__all__ = ["CLAIMS", "COLUMNS", "Claim", "read", "table"]

_DIGITS = 6  # of the numbers in the table

COLUMNS = {
    "number": "Int64",
    "claim": "string",
    "text": "string",
    "paper": "string",
    "dataset": "string",
    "model": "string",
    "family": "string",
    "curriculum": "string",
    "statistic": "string",
    "estimate": "float64",
    "low": "float64",
    "high": "float64",
    "confidence": "float64",
    "holds_above": "float64",
    "holds_below": "float64",
    "seeds": "Int64",
    "p": "float64",
    "q": "float64",
    "verdict": "string",
    "verdict_corrected": "string",
    "more_seeds": "Int64",
    "more_hours": "float64",
    "reason": "string",
}


CLAIMS: Mapping[str, Claim] = {
    **papers.CLAIMS,
    **ways.CLAIMS,
    **montecarlo.CLAIMS,
    **claims_on_exports.CLAIMS,
}


def table(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    options: Mapping | None = None,
    exports: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """A row for each claim and each model that it speaks of, in the order of `CLAIMS`.

    A family of models that a claim names and the study lacks has one row, `not tested`.

    Args:
        runs: the table of runs (see `results`).
        layers: the table of layers.
        options: the section `claims` of the configuration.
        exports: the table of exported networks (see `findings.exported`), if there is one.

    Raises:
        InputError: an option is not known, or out of range.
    """
    settings = Options.of(options or {})
    found = subjects(runs, layers, settings, exported.empty() if exports is None else exports)
    rows = [
        {"claim": name, "number": claim.number, "text": claim.text, "paper": claim.paper, **row}
        for name, claim in CLAIMS.items()
        for row in _rows(claim, found)
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    corrected, q = correct(frame["verdict"].tolist(), frame["p"], 1 - settings.confidence)
    frame = frame.assign(verdict_corrected=corrected, q=q).astype(COLUMNS)
    return frame.assign(**{name: [_digits(v) for v in frame[name]] for name in ("p", "q")})


def read(path: str | Path) -> pd.DataFrame:
    """Read a table of claims, which is CSV; an `InputError` names a file that is none."""
    try:
        frame = pd.read_csv(path, dtype=COLUMNS)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a readable table of claims ({reason}).") from None
    for name in COLUMNS:
        if name not in frame:
            raise InputError(f"{path}: no table of claims; it has no column {name}.")
    return frame


def _rows(claim: Claim, found: list[Subject]) -> Iterator[dict]:
    for subject in found:
        if claim.is_about(subject.family):
            yield _row(claim, subject)
    for family in claim.families:
        if family not in {subject.family for subject in found}:
            reason = "no model of this family in the study"
            yield {"family": family, "verdict": NOT_TESTED, "reason": reason}


def _row(claim: Claim, subject: Subject) -> dict:
    names = {name: getattr(subject, name) for name in ("dataset", "model", "family", "curriculum")}
    try:
        evidence = claim.find(subject)
    except NotTested as missing:
        return {**names, "verdict": NOT_TESTED, "reason": str(missing)}
    verdict, reason = judge(evidence.interval, evidence.region)
    found, region = evidence.interval, evidence.region
    bounds = {"holds_above": region.above, "holds_below": region.below}
    return {
        **names,
        "statistic": evidence.statistic,
        # Adding 0 makes 0 of -0, which is what rounding leaves of differences like -1e-17.
        **{
            name: round(getattr(found, name), _DIGITS) + 0.0 for name in ("estimate", "low", "high")
        },
        "confidence": subject.options.confidence,
        **{name: bound for name, bound in bounds.items() if math.isfinite(bound)},
        "seeds": found.seeds,
        "p": evidence.p,
        "verdict": verdict,
        **(_more(subject, evidence) if verdict == UNDECIDED else {}),
        "reason": reason,
    }


def _more(subject: Subject, evidence: Evidence) -> dict:
    """How many more seeds would decide, and the hours that they take."""
    seeds = more_seeds(evidence.interval, evidence.region, subject.options.confidence)
    if seeds is None:
        return {}
    return {"more_seeds": seeds, "more_hours": _digits(seeds * subject.seed_hours)}


def _digits(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")
