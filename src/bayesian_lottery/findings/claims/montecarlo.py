"""Claims on posteriors over a ticket's weights, of the sibling paper and beyond it.

All are of tickets that deterministic networks hold, at about 10 % density and sparser. What is
compared are arms (see `findings.arms`): the ticket itself, random weights under its mask, samplers,
variational inference. A sampler is a pool of chains, which tells whether they agree; where they do
not, the verdict is undecided. Of several arms that a claim speaks of, reported is the comparison
least in favour of the claim, which holds if all do.
"""

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import pandas as pd

from bayesian_lottery.findings import arms, results
from bayesian_lottery.findings.arms import Arm
from bayesian_lottery.findings.claims import subjects
from bayesian_lottery.findings.claims.branches import tickets
from bayesian_lottery.findings.claims.claim import Claim, worst
from bayesian_lottery.findings.claims.options import POINT, POSTERIOR, TUNED
from bayesian_lottery.findings.claims.subjects import Subject
from bayesian_lottery.findings.claims.verdicts import (
    Evidence,
    NotTested,
    Region,
    beats,
    matches,
)


def sampler_matches_ticket(subject: Subject) -> Evidence:
    """Samplers against the ticket that an optimiser trained, whatever their chains start from."""
    return _against(subject, _samplers(subject), [_ticket(subject)], matches)


def sampler_beats_random(subject: Subject) -> Evidence:
    """Samplers against the optimiser from random weights under the same mask."""
    return _against(subject, _samplers(subject), _random(subject), beats)


def more_so_the_sparser(subject: Subject) -> Evidence:
    """The sampler's lead over random weights at the sparsest level against that at the densest."""

    def compared(sampler: Arm, random: Arm) -> Evidence:
        lead = subjects.minus(_measured(subject, sampler), _measured(subject, random))
        words = f"{_accuracy(subject)}, ({sampler.words} minus {random.words})"
        return _growth(subject, lead, words)

    return worst(compared, product(_samplers(subject), _random(subject)))


def sampler_beats_ensemble(subject: Subject) -> Evidence:
    """Samplers against the ensemble of random weights that took about as many gradients."""
    pools = _present(subject, lambda a: _is_random(a) and a.pool, "no pool of random weights")

    def compared(sampler: Arm) -> Evidence:
        rows = _rows(subject, sampler)
        chosen = [
            own[own["level"] == level]
            for level, spent in rows.groupby("level")["gradients"].mean().items()
            if (own := _alike(subject, pools, level, spent)) is not None
        ]
        if not chosen:
            raise NotTested("no ensemble took about as many gradients as the sampler")
        ensemble = subject.measured(pd.concat(chosen))
        levels = subjects.minus(subject.measured(rows), ensemble)
        words = f"{_accuracy(subject)}, {sampler.words} minus an ensemble of as many gradients"
        return subject.average(tickets(levels, subject), words, beats(subject.options.margin))

    return worst(compared, ((sampler,) for sampler in _samplers(subject)))


def _alike(subject: Subject, pools: list[Arm], level: object, spent: float) -> pd.DataFrame | None:
    """The rows of the pool whose gradients at a level are nearest to those spent."""
    rows = [_rows(subject, pool) for pool in pools]
    means = [own.loc[own["level"] == level, "gradients"].mean() for own in rows]
    known = pd.Series(means).dropna()
    nearest = results.nearest(known, spent) if len(known) and spent > 0 else None
    return None if nearest is None else rows[nearest]


def tuned_beats_default(subject: Subject) -> Evidence:
    """Variational inference with tuned factors on the KL against the default."""
    return _against(subject, _variational(subject, TUNED), _variational(subject, POSTERIOR), beats)


def variational_beats_ticket(subject: Subject) -> Evidence:
    """Variational inference, tuned where it was, against the ticket that an optimiser trained."""
    try:
        found = _variational(subject, TUNED)
    except NotTested:
        found = _variational(subject, POSTERIOR)
    return _against(subject, found, [_ticket(subject)], beats)


def mask_matters(subject: Subject) -> Evidence:
    """The sampler on the ticket's mask against the same sampler on others."""
    own = _samplers(subject)
    others = _present(
        subject,
        lambda a: (
            a.samples and a.pool and a.mask != own[0].mask and a.inference == own[0].inference
        ),
        "no pool of the sampler's chains on another mask",
    )
    return _against(subject, own, others, beats)


def sparsity_improves_mixing(subject: Subject) -> Evidence:
    """Effective samples a gradient at the sparsest level against the densest, as a logarithm."""

    def compared(sampler: Arm) -> Evidence:
        rows = _rows(subject, sampler)
        if "ess_bulk_log_likelihood" not in rows:
            raise NotTested("no run has effective samples")
        mixing = np.log(rows["ess_bulk_log_likelihood"] / rows["gradients"])
        levels = subjects.series(rows.assign(mixing=mixing), "mixing")
        words = f"ln(effective samples a gradient), {sampler.words}, of the log-likelihood"
        return _growth(subject, levels, words)

    return worst(compared, ((sampler,) for sampler in _samplers(subject)))


def _growth(subject: Subject, levels: pd.DataFrame, words: str) -> Evidence:
    """A series at its sparsest level minus that at its densest, above 0."""
    levels = subjects.shared_levels(levels)
    present = levels.index.unique("level")
    if len(present) < 2:
        raise NotTested("one level alone tells nothing of sparsity")
    ends = [subjects.at(levels, level) for level in (present.max(), present.min())]
    sparse, dense = (f"{100 * end['density'].mean():.3g} %" for end in ends)
    statistic = f"{words}: at {sparse} density minus at {dense}"
    return subject.evidence(subjects.minus(*ends), statistic, Region(above=0))


def _against(
    subject: Subject,
    firsts: list[Arm],
    seconds: list[Arm],
    region: Callable[[float], Region],
) -> Evidence:
    """Every first arm against every second one, in accuracy."""

    def compared(first: Arm, second: Arm) -> Evidence:
        levels = subjects.minus(_measured(subject, first), _measured(subject, second))
        words = f"{_accuracy(subject)}, {first.words} minus {second.words}"
        return subject.average(tickets(levels, subject), words, region(subject.options.margin))

    return worst(compared, product(firsts, seconds))


def _accuracy(subject: Subject) -> str:
    return f"{subject.options.statistic} accuracy on deterministic tickets"


def _arms(subject: Subject) -> list[Arm]:
    return arms.arms(subject.options.arms, POINT)


def _rows(subject: Subject, arm: Arm) -> pd.DataFrame:
    return subject.branch(arm.branch, POINT) if arm.branch else subject.trunk(POINT)


def _measured(subject: Subject, arm: Arm) -> pd.DataFrame:
    return subject.measured(_rows(subject, arm))


def _present(subject: Subject, wanted: Callable[[Arm], object], missing: str) -> list[Arm]:
    """The arms wanted that have runs.

    Raises:
        NotTested: there are none; the message is `missing`.
    """
    there = {*subject.branches["branch"].unique(), None}
    found = [arm for arm in _arms(subject) if arm.branch in there and wanted(arm)]
    if not found:
        raise NotTested(f"{missing} on deterministic tickets")
    return found


def _ticket(subject: Subject) -> Arm:
    return next(arm for arm in _arms(subject) if arm.branch is None)


def _samplers(subject: Subject) -> list[Arm]:
    missing = "no pool of a sampler's chains"
    pools = _present(subject, lambda a: a.samples and a.pool and a.mask == arms.KEPT, missing)
    return arms.references(pools)


def _is_random(arm: Arm) -> bool:
    return (arm.inference, arm.weights, arm.mask) == (POINT, "reinitialised", arms.KEPT)


def _random(subject: Subject) -> list[Arm]:
    return _present(subject, lambda a: _is_random(a) and not a.pool, "no random weights")


def _variational(subject: Subject, inference: str) -> list[Arm]:
    return _present(
        subject,
        lambda a: (
            (a.inference, a.weights, a.mask, a.pool) == (inference, "initial", arms.KEPT, None)
        ),
        f"no branch of inference {inference}",
    )


_SIBLING = "sibling paper, Bayes Always Wins the Lottery in Monte Carlo"
_BEYOND = "beyond the papers"

CLAIMS: Mapping[str, Claim] = {
    "sampler_matches_ticket": Claim(
        20, "Samplers of the posterior on a ticket's mask match or beat the ticket.", _SIBLING,
        sampler_matches_ticket,
    ),
    "sampler_beats_random": Claim(
        21, "They beat training from random weights on that mask.", _SIBLING, sampler_beats_random,
    ),
    "sampler_beats_random_sparser": Claim(
        21, "They do so more, the sparser the ticket is.", _SIBLING, more_so_the_sparser,
    ),
    "sampler_beats_ensemble": Claim(
        22, "They beat an ensemble of such trainings that takes as many gradients.", _BEYOND,
        sampler_beats_ensemble,
    ),
    "tuned_beats_default": Claim(
        23, "Variational inference with tuned factors on the KL beats the default.", _SIBLING,
        tuned_beats_default,
    ),
    "variational_beats_ticket": Claim(
        24, "Variational inference on tickets of ResNets beats the deterministic ticket.",
        _SIBLING, variational_beats_ticket, ("resnet",),
    ),
    "mask_matters": Claim(
        25, "With weights integrated out, a ticket's mask still beats a shuffled one.", _BEYOND,
        mask_matters,
    ),
    "sparsity_improves_mixing": Claim(
        26, "Chains on sparser tickets give more effective samples a gradient.", _BEYOND,
        sparsity_improves_mixing,
    ),
}  # fmt: skip
