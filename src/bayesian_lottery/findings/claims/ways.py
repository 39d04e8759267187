"""Claims on ways to a ticket: searches, rewinds, patterns and branches, at equal density."""

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd

from bayesian_lottery.findings import results
from bayesian_lottery.findings.claims import subjects
from bayesian_lottery.findings.claims.branches import TICKET, tickets
from bayesian_lottery.findings.claims.claim import Claim, each_inference, worst
from bayesian_lottery.findings.claims.subjects import INFERENCES, Subject
from bayesian_lottery.findings.claims.trunks import nearest
from bayesian_lottery.findings.claims.verdicts import (
    Evidence,
    NotTested,
    Region,
    beats,
    falls_behind,
    matches,
)
from bayesian_lottery.findings.savings import spent
from bayesian_lottery.study.nodes import LATER
from bayesian_lottery.tickets.searches import SEARCHES

FIRST = LATER["search"]
DENSE_ENOUGH = 0.2  # "below 80 % sparsity"
SPARSE = 0.02  # where scores at initialisation and moving masks are compared with their controls
FIFTH = 0.2  # of the cost
SCORERS = {"snip": "SNIP", "grasp": "GraSP", "synflow": "SynFlow"}
Levels = Callable[[pd.DataFrame, Subject], pd.DataFrame]  # of a series those that are compared


def dense_enough(levels: pd.DataFrame, subject: Subject) -> pd.DataFrame:
    """The levels above 20 % density."""
    levels = subjects.pruned(levels)
    levels = levels[levels["density"] > DENSE_ENOUGH]
    if levels.empty:
        raise NotTested(f"no level above {100 * DENSE_ENOUGH:g} % density")
    return levels


def sparse(levels: pd.DataFrame, subject: Subject) -> pd.DataFrame:
    """The level near 2 % density."""
    level = nearest(levels, SPARSE)
    return levels[levels.index.get_level_values("level") == level]


def against_iterative(
    subject: Subject,
    inference: str,
    kind: str,
    region: Callable[[float], Region],
    scorer: str | None = None,
    levels: Levels = tickets,
) -> Evidence:
    """Searches of a kind against the iterative one, at about 10 % density and sparser.

    Of several of the kind, reported is the comparison least in favour of the claim, which holds if
    all do.

    Args:
        levels: which ones to compare instead.
    """
    usual = subject.way(inference, FIRST)

    def compared(name: str) -> Evidence:
        way = subject.way(inference, name, scorer=scorer)
        words = f"search {name}{f' with scorer {scorer}' if scorer else ''} minus {FIRST}"
        return _compared(subject, inference, way, usual, words, region, levels)

    return worst(compared, ((name,) for name in subject.named("search", kind)))


def early_costs_a_fifth(subject: Subject, inference: str) -> Evidence:
    """The seconds to an early ticket of about 10 % density, as a share of the iterative one's."""
    usual = subject.way(inference, FIRST)
    densities = usual[usual["level"] > 0].groupby("level")["density"].mean()
    level = results.nearest(densities, subject.options.density)
    if level is None:
        raise NotTested(f"no level of about {100 * subject.options.density:g} % density")

    def compared(name: str) -> Evidence:
        way = subject.way(inference, name)
        devices = pd.concat([usual, way])["device"].nunique()
        if devices > 1:
            raise NotTested("seconds of different devices cannot be compared")
        own = spent(way, level, SEARCHES["early"].scored)
        share = (own / spent(usual, level, SEARCHES[FIRST].scored)).dropna()
        values = pd.DataFrame({"value": share, "variance": float("nan"), "converged": True})
        words = f"seconds to the ticket of level {level}, search {name} / {FIRST}"
        return subject.evidence(values, f"{words}, {INFERENCES[inference]}", Region(below=FIFTH))

    return worst(compared, ((name,) for name in subject.named("search", "early")))


def late_beats_resetting(subject: Subject, inference: str) -> Evidence:
    """Late rewinding against resetting to the initial weights, at about 10 % and sparser."""
    usual = subject.way(inference, FIRST)

    def compared(name: str) -> Evidence:
        way = subject.way(inference, FIRST, rewind=name)
        return _compared(subject, inference, way, usual, f"rewind {name} minus imp", beats)

    return worst(compared, ((name,) for name in subject.named("rewind", "late")))


def shuffled_matches(subject: Subject, inference: str, scorer: str) -> Evidence:
    """The masks of a scorer of initial weights, shuffled within layers, against themselves."""
    branch = "shuffle_layerwise"

    def compared(name: str) -> Evidence:
        ticket = subject.way(inference, name, scorer=scorer)
        shuffled = subject.way(inference, name, scorer=scorer, branch=branch)
        words = f"search {name} with scorer {scorer}, {branch} minus {TICKET}"
        return _compared(subject, inference, shuffled, ticket, words, matches)

    return worst(compared, ((name,) for name in subject.named("search", "at_init")))


def beats_random(subject: Subject, inference: str, scorer: str) -> Evidence:
    """A scorer of initial weights against masks drawn at random before training, near 2 %."""

    def compared(name: str) -> Evidence:
        way = subject.way(inference, name, scorer=scorer)
        usual = subject.way(inference, name, scorer="random")
        words = f"search {name}, scorer {scorer} minus random"
        return _compared(subject, inference, way, usual, words, beats, sparse)

    return worst(compared, ((name,) for name in subject.named("search", "at_init")))


def moving_beats_staying(subject: Subject, inference: str) -> Evidence:
    """Masks that move in training against the control, of their kind, that stays; near 2 %."""
    controls = subject.controls("search", "dynamic")

    def compared(name: str, control: str) -> Evidence:
        way, usual = (subject.way(inference, search) for search in (name, control))
        words = f"search {name} minus {control}"
        return _compared(subject, inference, way, usual, words, beats, sparse)

    names = subject.named("search", "dynamic")
    return worst(compared, ((name, control) for name in names for control in controls))


def branch_against(
    subject: Subject,
    inference: str,
    role: str,
    region: Callable[[float], Region],
    other: str = TICKET,
) -> Evidence:
    """Branches of a role (`tickets.branches.role`), from iterative tickets, against the tickets.

    Args:
        other: the role of branches to compare with in the tickets' place.
    """

    def rows(name: str) -> pd.DataFrame:
        return subject.way(inference, FIRST, branch=None if name == TICKET else name)

    others = [TICKET] if other == TICKET else subject.named("branch", other)

    def compared(name: str) -> Evidence:
        words = f"branch {name} minus {others[0]}"
        return _compared(subject, inference, rows(name), rows(others[0]), words, region)

    return worst(compared, ((name,) for name in subject.named("branch", role)))


def units_fall_behind(subject: Subject, inference: str) -> Evidence:
    """Tickets of whole units against those of single weights, level by level."""
    usual = subject.way(inference, FIRST)
    way = subject.way(inference, FIRST, pattern="units")
    return _compared(subject, inference, way, usual, "pattern units minus weights", falls_behind)


def _compared(
    subject: Subject,
    inference: str,
    way: pd.DataFrame,
    usual: pd.DataFrame,
    words: str,
    region: Callable[[float], Region],
    levels: Levels = tickets,
) -> Evidence:
    ordinary = subject.measured(usual)
    series = subjects.minus(subject.measured(way), ordinary)
    # A level's density is the ticket's: a small dense network beside it has one of its own.
    series = series.assign(density=ordinary["density"].reindex(series.index))
    statistic = f"{subject.options.statistic} accuracy, {INFERENCES[inference]}, {words}"
    return subject.average(levels(series, subject), statistic, region(subject.options.margin))


def each_scorer(name: str, number: int, text: str, paper: str, find: Callable) -> dict:
    """A claim for each scorer of initial weights and either kind of network; `text` has places for
    both."""
    return {
        key: claim
        for scorer, words in SCORERS.items()
        for key, claim in each_inference(
            f"{scorer}_{name}", number, text.format(words, "{}"), paper,
            partial(find, scorer=scorer),
        ).items()
    }  # fmt: skip


def _way(region: Callable[[float], Region], kind: str, **how) -> Callable:
    return partial(against_iterative, kind=kind, region=region, **how)


_EARLY = "Drawing Early-Bird Tickets"
_ORIGINAL = "The Lottery Ticket Hypothesis"
_MARK = "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?"

CLAIMS: Mapping[str, Claim] = {
    **each_inference(
        "one_shot_falls_behind", 13,
        "One-shot tickets fall behind iterative ones of equal density, in {} networks.",
        "The Lottery Ticket Hypothesis, figure 4", _way(falls_behind, "one_shot"),
    ),
    **each_scorer(
        "falls_behind", 14,
        "Tickets of {} fall behind iterative ones of equal density, in {} networks.",
        _MARK, _way(falls_behind, "at_init"),
    ),
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
    **each_inference(
        "early_matches", 17,
        "Early tickets match iterative ones of equal density, in {} networks.",
        _EARLY, _way(matches, "early"),
    ),
    **each_inference(
        "early_costs_a_fifth", 17,
        "An early ticket of about 10 % density costs less than a fifth of the iterative one, in {} "
        "networks.", _EARLY, early_costs_a_fifth,
    ),
    **each_scorer(
        "gap_closes", 18,
        "Below 80 % sparsity tickets of {} match iterative ones, in {} networks.",
        _MARK, _way(matches, "at_init", levels=dense_enough),
    ),
    **each_scorer(
        "survives_shuffling", 19,
        "Tickets of {} match with their masks shuffled in layers, in {} networks.",
        _MARK, shuffled_matches,
    ),
    **each_inference(
        "transfer_beats_mask", 30,
        "On other data, tickets are more accurate than their masks alone, in {} networks.",
        "One Ticket to Win Them All",
        partial(branch_against, role="transfer", other="transferred_mask", region=beats),
    ),
    **each_inference(
        "another_seed_falls_behind", 31,
        "Tickets do not carry over to another seed's initial weights, in {} networks.",
        _ORIGINAL, partial(branch_against, role="another_seed", region=falls_behind),
    ),
    **each_inference(
        "distilled_beats_plain", 32,
        "A ticket trained on the dense network's predictions beats a plain one, in {} networks.",
        "Distilling the Knowledge in a Neural Network",
        partial(branch_against, role="distilled", region=beats),
    ),
    **each_inference(
        "units_fall_behind", 33,
        "Tickets of whole units fall behind those of single weights, in {} networks.",
        "Rethinking the Value of Network Pruning", units_fall_behind,
    ),
    **each_inference(
        "learned_beat_initial", 34,
        "Tickets train better from the values learned than from the initial ones, in {} networks.",
        "Comparing Rewinding and Fine-tuning in Neural Network Pruning",
        partial(branch_against, role="learned", region=beats),
    ),
    **each_inference(
        "small_dense_falls_behind", 35,
        "A small dense network of as many weights falls behind the ticket, in {} networks.",
        "To Prune, or Not to Prune",
        partial(branch_against, role="small_dense", region=falls_behind),
    ),
    **each_scorer(
        "beats_random", 40,
        "Near 2 % density masks of {} beat masks drawn at random, in {} networks.",
        _MARK, beats_random,
    ),
    **each_inference(
        "moving_beats_staying", 41,
        "Near 2 % density masks that move in training beat one that stays, in {} networks.",
        "Rigging the Lottery: Making All Tickets Winners", moving_beats_staying,
    ),
}  # fmt: skip
