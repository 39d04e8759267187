"""What a claim is; the modules beside this one list them, under `CLAIMS`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from bayesian_lottery.findings.claims.subjects import INFERENCES, PAPERS, Subject
from bayesian_lottery.findings.claims.verdicts import Evidence, NotTested, least_in_favour


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, or the part of one that a single statistic decides.

    Attributes:
        number: in docs/claims.md; the parts of a claim share it.
        text: the claim, in a sentence.
        paper: the figure or table of the paper that shows it.
        find: from a subject to the evidence; it raises `NotTested` where data is missing.
        families: the model families (modules of `models`) it speaks of; empty is all.
        others: whether it is asked of families that the paper does not have, too.
    """

    number: int
    text: str
    paper: str
    find: Callable[[Subject], Evidence]
    families: tuple[str, ...] = ()
    others: bool = False

    def is_about(self, family: str) -> bool:
        """Whether a model of this family, "" for a user's own, is judged."""
        if self.others and family not in PAPERS:
            return True
        return not self.families or family in self.families


def each_inference(name: str, number: int, text: str, paper: str, find: Callable) -> dict:
    """A claim for either kind of network; `text` has a place for the kind."""
    return {
        f"{name}_{inference}": Claim(
            number, text.format(kind), paper, partial(find, inference=inference)
        )
        for inference, kind in INFERENCES.items()
    }


def worst(compared: Callable[..., Evidence], cases: Iterable[tuple]) -> Evidence:
    """The evidence least in favour of a claim that holds if it does in all cases; those that
    cannot be tested are left out, unless none can."""
    found, missing = [], None
    for case in cases:
        try:
            found.append(compared(*case))
        except NotTested as reason:
            missing = missing or reason
    if not found and missing:
        raise missing
    return least_in_favour(found)
