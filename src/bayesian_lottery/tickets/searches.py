"""Searches: where a level's mask comes from. To add one, add an entry to `SEARCHES`.

This module loads no torch, so that the workflow can read the names quickly.
"""

from dataclasses import dataclass

from bayesian_lottery.errors import choice

SOURCES = ("previous", "dense")


@dataclass(frozen=True)
class Search:
    """A search for masks, level by level. Every search keeps as many weights at a level.

    Attributes:
        words: what sentences call it.
        scored: whose trained weights are scored: those of the level before ("previous"), so that
            the levels are a chain; or those of the "dense" network, so that they are a fan, each
            pruned as often as the level says with the same scores.
    """

    words: str
    scored: str

    def __post_init__(self):
        if self.scored not in SOURCES:
            raise choice("Search.scored", self.scored, SOURCES)


SEARCHES: dict[str, Search] = {
    "iterative": Search("train, prune, repeat", scored="previous"),
    "one_shot": Search("prune the trained dense network at once", scored="dense"),
}

# The papers' search, which nodes have that name none. Figures and claims are of no other.
FIRST = "iterative"
