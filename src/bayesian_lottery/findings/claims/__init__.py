"""The paper's claims, each with its evidence and a verdict.

A claim is a function from a `Subject` (one model on one data set) to its `Evidence`, and one entry
in `CLAIMS`. docs/claims.md says what is tested and how.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd

from bayesian_lottery.findings.claims import branches, depth, original, trunks, ways
from bayesian_lottery.findings.claims.branches import TICKET
from bayesian_lottery.findings.claims.options import Options
from bayesian_lottery.findings.claims.subjects import (
    CONVOLUTIONAL,
    INFERENCES,
    Subject,
    subjects,
)
from bayesian_lottery.findings.claims.verdicts import (
    NOT_TESTED,
    UNDECIDED,
    Evidence,
    NotTested,
    Region,
    beats,
    correct,
    equals,
    falls_behind,
    judge,
    matches,
    more_seeds,
)

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


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, or the part of one that a single statistic decides.

    Attributes:
        number: in docs/claims.md; the parts of a claim share it.
        text: the claim, in a sentence.
        paper: the figure or table of the paper that shows it.
        find: from a subject to the evidence; it raises `NotTested` where data is missing.
        families: the model families (modules of `models`) it speaks of; empty is all.
    """

    number: int
    text: str
    paper: str
    find: Callable[[Subject], Evidence]
    families: tuple[str, ...] = ()


def _compared(
    first: str, second: str, region: Callable[[float], Region], families: tuple[str, ...]
) -> Claim:
    verbs: Mapping[Callable[[float], Region], str] = {beats: "beats", equals: "equals"}
    find = partial(branches.compare, first=first, second=second, region=region)
    return Claim(6, f"In accuracy, {first} {verbs[region]} {second}.", "figure 4", find, families)


def _each_inference(name: str, number: int, text: str, paper: str, find: Callable) -> dict:
    """A claim for either kind of network; `text` has a place for the kind."""
    return {
        f"{name}_{inference}": Claim(
            number, text.format(kind), paper, partial(find, inference=inference)
        )
        for inference, kind in INFERENCES.items()
    }


def _way(region: Callable[[float], Region], kind: str, scorer: str | None = None) -> Callable:
    return partial(ways.against_iterative, kind=kind, region=region, scorer=scorer)


_MARK = "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?"
_ORIGINAL = "The Lottery Ticket Hypothesis, figures 3 and 4"

CLAIMS: Mapping[str, Claim] = {
    "matching_ticket": Claim(
        1, "Bayesian networks hold a matching ticket at about 10 % density.", "figure 1",
        trunks.matching_ticket,
    ),
    "lowest_matching_density": Claim(
        1, "Bayesian tickets match at every density down to about 10 %.", "figure 1",
        trunks.lowest_matching_density,
    ),
    "snr_equals_mu": Claim(
        2, "SNR and mu prune equally well.", "figure 1", trunks.snr_equals_mu
    ),
    "square_fails": Claim(
        3, "The squared sum fails at high sparsity.", "figure 1", trunks.square_fails
    ),
    "square_worst_for_vit": Claim(
        3, "The squared sum fails worst for ViT.", "figure 1", trunks.square_worst, ("vit",)
    ),
    "mace_falls": Claim(
        4, "MACE falls at high sparsity.", "figure 1", trunks.mace_falls, ("resnet", "vit")
    ),
    "mace_flat": Claim(
        4, "MACE stays flat at high sparsity.", "figure 1", trunks.mace_flat, ("vgg",)
    ),
    **_each_inference(
        "deeper_pruned_more", 5, "Deeper layers of {} networks are pruned more.", "figure 2",
        depth.deeper_pruned_more,
    ),
    "deeper_more_in_bayesian": Claim(
        5, "Bayesian networks prune deeper layers even more so than deterministic ones.",
        "figure 2", depth.deeper_more_in_bayesian,
    ),
    "ticket_beats_reinit": _compared(TICKET, "reinit", beats, (*CONVOLUTIONAL, "vit")),
    "ticket_beats_layerwise": _compared(
        TICKET, "shuffle_layerwise", beats, (*CONVOLUTIONAL, "vit")
    ),
    "ticket_beats_even": _compared(TICKET, "shuffle_even", beats, ("vit",)),
    "ticket_beats_global": _compared(TICKET, "shuffle_global", beats, ("vit",)),
    "reinit_equals_layerwise": _compared("reinit", "shuffle_layerwise", equals, CONVOLUTIONAL),
    "reinit_beats_even": _compared("reinit", "shuffle_even", beats, CONVOLUTIONAL),
    "reinit_beats_global": _compared("reinit", "shuffle_global", beats, CONVOLUTIONAL),
    "layerwise_beats_even": _compared("shuffle_layerwise", "shuffle_even", beats, CONVOLUTIONAL),
    "layerwise_beats_global": _compared(
        "shuffle_layerwise", "shuffle_global", beats, CONVOLUTIONAL
    ),
    "transplant_matches": Claim(
        7, "Transplanted deterministic tickets match Bayesian tickets.", "figure 5",
        branches.transplant_matches, CONVOLUTIONAL,
    ),
    "transplant_fails_for_vit": Claim(
        7, "Transplanted deterministic tickets do not match Bayesian tickets for ViT.", "figure 5",
        branches.transplant_fails, ("vit",),
    ),
    "transplant_saves": Claim(
        8, "Transplantation saves compute.", "table 1", branches.transplant_saves
    ),
    "transplant_saves_half": Claim(
        8, "Transplantation saves up to half of the compute: the saving reaches half.", "table 1",
        branches.transplant_saves_half,
    ),
    **_each_inference(
        "rewinding_helps", 9,
        "Rewinding the learning rate beats IMP at high sparsity, in {} networks.",
        "figure 8", trunks.rewinding_helps,
    ),
    **_each_inference(
        "low_lr_costs", 10, "A low learning rate costs accuracy, in {} networks.",
        "figure 7", partial(trunks.curriculum_costs, name="low_lr"),
    ),
    **_each_inference(
        "warmup_costs", 10, "A warm-up costs accuracy, in {} networks.",
        "figure 7", partial(trunks.curriculum_costs, name="warmup"),
    ),
    "bayesian_equals_deterministic": Claim(
        11, "Bayesian tickets are as accurate as deterministic ones of equal density.",
        "sibling paper, Bayes Always Wins the Lottery in Monte Carlo",
        trunks.bayesian_equals_deterministic,
    ),
    "original_beats_dense": Claim(
        12, "Tickets near 13 % density are more accurate than the dense network.", _ORIGINAL,
        original.beats_dense, ("mlp",),
    ),
    "original_learns_faster": Claim(
        12, "Tickets near 21 % density learn in fewer steps than the dense network.", _ORIGINAL,
        original.learns_faster, ("mlp",),
    ),
    "original_beats_reinitialised": Claim(
        12, "Tickets near 21 % density are more accurate than with their weights drawn anew.",
        _ORIGINAL, original.beats_reinitialised, ("mlp",),
    ),
    **_each_inference(
        "one_shot_falls_behind", 13,
        "One-shot tickets fall behind iterative ones of equal density, in {} networks.",
        "The Lottery Ticket Hypothesis, figure 4", _way(falls_behind, "one_shot"),
    ),
    **{
        name: claim
        for scorer, words in {"snip": "SNIP", "grasp": "GraSP", "synflow": "SynFlow"}.items()
        for name, claim in _each_inference(
            f"{scorer}_falls_behind", 14,
            f"Tickets of {words} fall behind iterative ones of equal density, in {{}} networks.",
            _MARK, _way(falls_behind, "at_init", scorer),
        ).items()
    },
    **_each_inference(
        "late_beats_resetting", 15,
        "Late rewinding beats resetting to the initial weights, in {} networks.",
        "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ways.late_beats_resetting,
    ),
    **_each_inference(
        "dynamic_matches", 16,
        "Dynamic sparse training matches iterative tickets of equal density, in {} networks.",
        "Rigging the Lottery: Making All Tickets Winners", _way(matches, "dynamic"),
    ),
}  # fmt: skip


def table(runs: pd.DataFrame, layers: pd.DataFrame, options: Mapping | None = None) -> pd.DataFrame:
    """A row for each claim and each model that it speaks of, in the order of `CLAIMS`.

    A family of models that a claim names and the study lacks has one row, `not tested`.

    Args:
        runs: the table of runs (see `results`).
        layers: the table of layers.
        options: the section `claims` of the configuration.

    Raises:
        InputError: an option is not known, or out of range.
    """
    settings = Options.of(options or {})
    found = subjects(runs, layers, settings)
    rows = [
        {"claim": name, "number": claim.number, "text": claim.text, "paper": claim.paper, **row}
        for name, claim in CLAIMS.items()
        for row in _rows(claim, found)
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    corrected, q = correct(frame["verdict"].tolist(), frame["p"], 1 - settings.confidence)
    frame = frame.assign(verdict_corrected=corrected, q=q).astype(COLUMNS)
    return frame.assign(**{name: [_digits(v) for v in frame[name]] for name in ("p", "q")})


def _rows(claim: Claim, found: list[Subject]) -> Iterator[dict]:
    for subject in found:
        if not claim.families or subject.family in claim.families:
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
