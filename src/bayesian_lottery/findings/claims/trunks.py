"""Claims on trunks: each a function from a subject to the evidence."""

import math

import pandas as pd

from bayesian_lottery.findings import results
from bayesian_lottery.findings.claims import subjects
from bayesian_lottery.findings.claims.subjects import CONVOLUTIONAL, INFERENCES, Subject
from bayesian_lottery.findings.claims.verdicts import (
    CONTRADICTED,
    SUPPORTED,
    Evidence,
    Interval,
    NotTested,
    Region,
    beats,
    equals,
    falls_behind,
    interval,
    judge,
    least_in_favour,
    matches,
    p_value,
)


def matching_ticket(subject: Subject) -> Evidence:
    """The ticket nearest to 10 % density against the dense network."""
    options = subject.options
    levels = subjects.shared_levels(subject.measured(subject.trunk("bayesian")))
    level = nearest(levels, options.density)
    ticket = subjects.at(levels, level)
    statistic = (
        f"{options.statistic} accuracy of the Bayesian {options.scorer} ticket at "
        f"{100 * ticket['density'].mean():.3g} % density minus that of the dense network"
    )
    difference = subjects.minus(ticket, subjects.dense(levels))
    return subject.evidence(difference, statistic, matches(options.margin))


def nearest(levels: pd.DataFrame, density: float) -> int:
    """The level nearest to a density, by their ratio; "about" it, or the claim is not tested."""
    densities = subjects.pruned(levels).groupby("level")["density"].mean()
    level = results.nearest(densities, density)
    if level is None:
        limits = [f"{100 * density * factor:g}" for factor in (1 / results.ABOUT, results.ABOUT)]
        raise NotTested(f"no level between {' and '.join(limits)} % density")
    return level


def lowest_matching_density(subject: Subject) -> Evidence:
    """How far down the ticket of every level matches the dense network.

    The upper limit is as far as every level is shown to match, the estimate as far as every mean
    is within the margin, the lower limit as far as no level is shown not to match. The p-value is
    that of all levels to the first below the limit matching, or of one of them not.

    Raises:
        NotTested: the study ends above the limit, and no level of it is shown not to match.
    """
    options, region = subject.options, matches(subject.options.margin)
    levels = subjects.shared_levels(subject.measured(subject.trunk("bayesian")))
    start = subjects.dense(levels)
    reached = {"high": 1.0, "estimate": 1.0, "low": 1.0}
    going = set(reached)
    limit = results.ABOUT * options.density
    density = 1.0
    within: list[float] = []  # p-values of the levels that decide, by where their estimates lie
    beyond: list[float] = []
    for level in sorted(subjects.pruned(levels).index.unique("level")):
        ticket = subjects.at(levels, level)
        values = subjects.minus(ticket, start)["value"]
        found = interval(values, options.confidence)
        if density >= limit:
            density = float(ticket["density"].mean())
            side = within if found.estimate > region.above else beyond
            side.append(p_value(found, region))
        verdict, _ = judge(found, region)
        holds = {
            "high": verdict == SUPPORTED,
            "estimate": found.estimate > region.above,
            "low": verdict != CONTRADICTED,
        }
        going = {name for name in going if holds[name]}
        reached.update(dict.fromkeys(going, float(ticket["density"].mean())))
    if "low" in going and density >= limit:
        raise NotTested(
            f"the last level has {100 * density:.3g} % density, and none is shown not to match"
        )
    seeds = levels.index.unique("seed").size
    caveat = "one seed; it gives no interval" if seeds == 1 else ""
    if caveat:
        reached.update(low=math.nan, high=math.nan)
    statistic = (
        f"lowest density at which the Bayesian {options.scorer} ticket, and that of every denser "
        f"level, matches the dense network in {options.statistic} accuracy"
    )
    found = Interval(**reached, seeds=seeds, caveat=caveat)
    all_match = max(within) if within and not beyond and density < limit else 1.0
    p = math.nan if caveat else min(all_match, *beyond, 1.0)
    return Evidence(statistic, found, Region(below=limit), p)


def snr_equals_mu(subject: Subject) -> Evidence:
    """SNR against |mu|, over all pruned levels."""
    levels = subjects.pruned(_scorers(subject, "snr", "mu"))
    return subject.average(
        levels, _accuracy(subject, "snr", "mu", "Bayesian"), equals(subject.options.margin)
    )


def square_fails(subject: Subject) -> Evidence:
    """The squared sum against SNR, at high sparsity."""
    statistic = _accuracy(subject, "square", "snr", "Bayesian")
    return subject.average(_square(subject), statistic, falls_behind(subject.options.margin))


def square_worst(subject: Subject) -> Evidence:
    """The squared sum's deficit in this model against that in each convolutional model.

    Reported is the comparison least in favour of the claim, which holds if all do.
    """
    mine = subjects.shared_levels(_square(subject))
    found = []
    for peer in subject.peers:
        if peer.dataset != subject.dataset or peer.family not in CONVOLUTIONAL:
            continue
        try:
            theirs = subjects.shared_levels(_square(peer))
            difference = subjects.minus(subjects.per_seed(mine), subjects.per_seed(theirs))
        except NotTested:
            continue
        statistic = (
            f"({_accuracy(subject, 'square', 'snr', 'Bayesian')}) of {subject.model} minus that "
            f"of {peer.model}, {subjects.words(mine)}"
        )
        region = falls_behind(subject.options.margin)
        found.append(subject.evidence(difference, statistic, region))
    if not found:
        raise NotTested("no convolutional model with scorers square and snr to compare with")
    return least_in_favour(found)


def _square(subject: Subject):
    return subjects.below(_scorers(subject, "square", "snr"), subject.options.sparse)


def _scorers(subject: Subject, first: str, second: str):
    sides = (subject.measured(subject.trunk("bayesian", name)) for name in (first, second))
    return subjects.minus(*sides)


def _accuracy(subject: Subject, first: str, second: str, kind: str) -> str:
    return f"{subject.options.statistic} accuracy, {kind}, {first} minus {second}"


def mace_falls(subject: Subject) -> Evidence:
    """MACE at high sparsity against the dense network's: lower."""
    return _mace(subject, falls_behind(subject.options.mace_margin))


def mace_flat(subject: Subject) -> Evidence:
    """MACE at high sparsity against the dense network's: the same."""
    return _mace(subject, equals(subject.options.mace_margin))


def _mace(subject: Subject, region: Region) -> Evidence:
    options = subject.options
    levels = subject.measured(subject.trunk("bayesian"), "mace")
    sparse = subjects.shared_levels(subjects.below(levels, options.sparse))
    statistic = (
        f"{options.statistic} MACE, Bayesian {options.scorer}, {subjects.words(sparse)}, "
        "minus that of the dense network"
    )
    difference = subjects.minus(subjects.per_seed(sparse), subjects.dense(levels))
    return subject.evidence(difference, statistic, region)


def rewinding_helps(subject: Subject, inference: str) -> Evidence:
    """Learning-rate rewinding against IMP, at high sparsity."""
    sides = (subject.measured(subject.trunk(inference, rewind=name)) for name in ("lrr", "imp"))
    levels = subjects.below(subjects.minus(*sides), subject.options.sparse)
    statistic = _accuracy(subject, "lrr", "imp", INFERENCES[inference])
    return subject.average(levels, statistic, beats(subject.options.margin))


def curriculum_costs(subject: Subject, inference: str, name: str) -> Evidence:
    """Another curriculum against the main one, over all levels."""
    other = subject.options.curriculum(name)
    if other is None:
        raise NotTested(f"claims.curricula names no {name}")
    if other == subject.curriculum:
        raise NotTested(f"{other} is the main curriculum")
    sides = (
        subject.measured(subject.trunk(inference, curriculum=curriculum))
        for curriculum in (other, subject.curriculum)
    )
    statistic = _accuracy(subject, other, subject.curriculum, INFERENCES[inference])
    return subject.average(subjects.minus(*sides), statistic, falls_behind(subject.options.margin))


def bayesian_equals_deterministic(subject: Subject) -> Evidence:
    """Bayesian against deterministic tickets of the same level, which have the same density."""
    sides = (subject.measured(subject.trunk(name)) for name in ("bayesian", "deterministic"))
    levels = subjects.pruned(subjects.minus(*sides))
    names = [f"{INFERENCES[name]} {subject.scorer(name)}" for name in ("bayesian", "deterministic")]
    statistic = f"{subject.options.statistic} accuracy, {' minus '.join(names)}"
    return subject.average(levels, statistic, equals(subject.options.margin))
