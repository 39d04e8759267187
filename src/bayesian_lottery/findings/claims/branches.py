"""Claims on branches: ablated and transplanted tickets, and what a transplantation costs."""

import math
from collections.abc import Callable

import pandas as pd

from bayesian_lottery.findings import results
from bayesian_lottery.findings.claims import subjects
from bayesian_lottery.findings.claims.subjects import Subject
from bayesian_lottery.findings.claims.verdicts import (
    Evidence,
    NotTested,
    Region,
    falls_behind,
    matches,
)
from bayesian_lottery.findings.savings import NotMeasured, savings

TRANSPLANT = "transplant_initial"
TICKET = "ticket"  # the trunk's own level, beside the names of its branches
REACHED = 0.5  # "up to half"


def compare(
    subject: Subject, first: str, second: str, region: Callable[[float], Region]
) -> Evidence:
    """Two ways to start from the same levels of the Bayesian trunk, at about 10 % and sparser."""
    options = subject.options
    levels = tickets(subjects.minus(_of(subject, first), _of(subject, second)), subject)
    statistic = f"{options.statistic} accuracy, Bayesian {options.scorer}, {first} minus {second}"
    return subject.average(levels, statistic, region(options.margin))


def _of(subject: Subject, name: str) -> pd.DataFrame:
    trunk = subject.trunk("bayesian")
    return subject.measured(trunk if name == TICKET else subject.branch(name, "bayesian"))


def tickets(levels: pd.DataFrame, subject: Subject) -> pd.DataFrame:
    """The levels at about 10 % density and sparser."""
    return subjects.below(subjects.pruned(levels), results.ABOUT * subject.options.density)


def transplant_matches(subject: Subject) -> Evidence:
    """A transplanted ticket is no worse than the Bayesian ticket of the same density."""
    return _transplant(subject, matches(subject.options.margin))


def transplant_fails(subject: Subject) -> Evidence:
    """A transplanted ticket is worse than the Bayesian ticket of the same density."""
    return _transplant(subject, falls_behind(subject.options.margin))


def _transplant(subject: Subject, region: Region) -> Evidence:
    options = subject.options
    transplanted = subject.measured(subject.branch(TRANSPLANT, "deterministic"))
    own = subject.measured(subject.trunk("bayesian"))
    levels = tickets(subjects.minus(transplanted, own), subject)
    statistic = (
        f"{options.statistic} accuracy of the transplanted deterministic ticket minus that of the "
        f"Bayesian {options.scorer} ticket"
    )
    return subject.average(levels, statistic, region)


def transplant_saves(subject: Subject) -> Evidence:
    """A transplantation costs less than a Bayesian search."""
    return _saving(subject, Region(above=0))


def transplant_saves_half(subject: Subject) -> Evidence:
    """The saving reaches half."""
    return _saving(subject, Region(above=REACHED))


def _saving(subject: Subject, region: Region) -> Evidence:
    """The share of seconds saved, at the sparsest transplanted level, where it is largest."""
    transplants = subject.branch(TRANSPLANT, "deterministic")
    source, target = (subject.trunk(name) for name in ("deterministic", "bayesian"))
    try:
        found = savings(transplants, source, target)
    except NotMeasured as reason:
        raise NotTested(str(reason)) from None
    values = pd.DataFrame({"value": found["share"], "variance": math.nan, "converged": True})
    if found.empty:
        return subject.evidence(values, "", region)
    last = found["level"].iloc[0]
    statistic = (
        f"share of seconds saved: 1 - (deterministic levels 0 to {last - 1} + one Bayesian "
        f"training) / (Bayesian {subject.options.scorer} levels 0 to {last}), at "
        f"{100 * found['density'].mean():.3g} % density"
    )
    return subject.evidence(values, statistic, region)
