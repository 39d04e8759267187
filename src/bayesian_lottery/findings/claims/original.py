"""Claims of the original experiment (Frankle and Carbin 2019, section 2), on deterministic tickets.

As there, networks are compared at the iteration of early stopping, that of the lowest loss on
held-out images, which tests by step tell (`evaluation.every_steps`).
"""

from bayesian_lottery.findings.claims.options import POINT
from bayesian_lottery.findings.claims.subjects import (
    Subject,
    at,
    dense,
    minus,
    series,
    shared_levels,
)
from bayesian_lottery.findings.claims.trunks import nearest
from bayesian_lottery.findings.claims.verdicts import Evidence, Region

BEST, SMALL = 0.135, 0.211  # the densities that the paper speaks of


def beats_dense(subject: Subject) -> Evidence:
    """The ticket near 13.5 % density against the dense network, in accuracy."""
    levels = shared_levels(series(subject.trunk(POINT), "early_stopping_accuracy"))
    ticket = at(levels, nearest(levels, BEST))
    statistic = (
        f"accuracy at early stopping of the ticket at {100 * ticket['density'].mean():.3g} % "
        "density minus that of the dense network"
    )
    return subject.evidence(minus(ticket, dense(levels)), statistic, Region(0))


def learns_faster(subject: Subject) -> Evidence:
    """The ticket near 21 % density reaches early stopping in fewer steps than the dense network."""
    levels = shared_levels(series(subject.trunk(POINT), "early_stopping_step"))
    ticket, whole = at(levels, nearest(levels, SMALL)).align(dense(levels), join="inner")
    change = ticket.assign(value=ticket["value"] / whole["value"] - 1)
    statistic = (
        f"change of the step of early stopping, ticket at {100 * ticket['density'].mean():.3g} % "
        "density against the dense network"
    )
    return subject.evidence(change, statistic, Region(below=0))


def beats_reinitialised(subject: Subject) -> Evidence:
    """The ticket near 21 % density against the same mask with weights drawn anew, in accuracy."""
    column = "early_stopping_accuracy"
    drawn = series(subject.branch("reinit", POINT), column)
    difference = minus(series(subject.trunk(POINT), column), drawn)
    level = nearest(shared_levels(difference), SMALL)
    values = at(difference, level)
    statistic = (
        f"accuracy at early stopping at {100 * values['density'].mean():.3g} % density, ticket "
        "minus reinitialised"
    )
    return subject.evidence(values, statistic, Region(0))
