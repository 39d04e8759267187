"""Claims on ways to a ticket: searches and rewinds against the papers' own, at equal density."""

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd

from bayesian_lottery.findings.claims import subjects
from bayesian_lottery.findings.claims.branches import tickets
from bayesian_lottery.findings.claims.claim import Claim, each_inference
from bayesian_lottery.findings.claims.subjects import INFERENCES, Subject
from bayesian_lottery.findings.claims.verdicts import (
    Evidence,
    NotTested,
    Region,
    beats,
    falls_behind,
    least_in_favour,
    matches,
)
from bayesian_lottery.study.nodes import LATER


def against_iterative(
    subject: Subject,
    inference: str,
    kind: str,
    region: Callable[[float], Region],
    scorer: str | None = None,
) -> Evidence:
    """Searches of a kind against the iterative one, at about 10 % density and sparser.

    Of several of the kind, reported is the comparison least in favour of the claim, which holds if
    all do.
    """
    usual = subject.way(inference, LATER["search"])

    def compared(name: str) -> Evidence:
        way = subject.way(inference, name, scorer)
        words = f"search {name}{f' with scorer {scorer}' if scorer else ''} minus {LATER['search']}"
        return _compared(subject, inference, way, usual, words, region)

    return _worst(compared, subject.named("search", kind))


def late_beats_resetting(subject: Subject, inference: str) -> Evidence:
    """Late rewinding against resetting to the initial weights, at about 10 % and sparser."""
    usual = subject.way(inference, LATER["search"])

    def compared(name: str) -> Evidence:
        way = subject.way(inference, LATER["search"], rewind=name)
        return _compared(subject, inference, way, usual, f"rewind {name} minus imp", beats)

    return _worst(compared, subject.named("rewind", "late"))


def _compared(
    subject: Subject,
    inference: str,
    way: pd.DataFrame,
    usual: pd.DataFrame,
    words: str,
    region: Callable[[float], Region],
) -> Evidence:
    levels = subjects.minus(subject.measured(way), subject.measured(usual))
    statistic = f"{subject.options.statistic} accuracy, {INFERENCES[inference]}, {words}"
    return subject.average(tickets(levels, subject), statistic, region(subject.options.margin))


def _worst(compared: Callable[[str], Evidence], names: list[str]) -> Evidence:
    found, missing = [], None
    for name in names:
        try:
            found.append(compared(name))
        except NotTested as reason:
            missing = missing or reason
    if not found and missing:
        raise missing
    return least_in_favour(found)


def _way(region: Callable[[float], Region], kind: str, scorer: str | None = None) -> Callable:
    return partial(against_iterative, kind=kind, region=region, scorer=scorer)


_MARK = "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?"

CLAIMS: Mapping[str, Claim] = {
    **each_inference(
        "one_shot_falls_behind", 13,
        "One-shot tickets fall behind iterative ones of equal density, in {} networks.",
        "The Lottery Ticket Hypothesis, figure 4", _way(falls_behind, "one_shot"),
    ),
    **{
        name: claim
        for scorer, words in {"snip": "SNIP", "grasp": "GraSP", "synflow": "SynFlow"}.items()
        for name, claim in each_inference(
            f"{scorer}_falls_behind", 14,
            f"Tickets of {words} fall behind iterative ones of equal density, in {{}} networks.",
            _MARK, _way(falls_behind, "at_init", scorer),
        ).items()
    },
    **each_inference(
        "late_beats_resetting", 15,
        "Late rewinding beats resetting to the initial weights, in {} networks.",
        "Linear Mode Connectivity and the Lottery Ticket Hypothesis", late_beats_resetting,
    ),
    **each_inference(
        "dynamic_matches", 16,
        "Dynamic sparse training matches iterative tickets of equal density, in {} networks.",
        "Rigging the Lottery: Making All Tickets Winners", _way(matches, "dynamic"),
    ),
}  # fmt: skip
