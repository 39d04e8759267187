"""Checks that a trunk's folder tells what it is: names between `_` must not be read in two ways."""

from collections.abc import Mapping

from bayesian_lottery.errors import InputError
from bayesian_lottery.study import choices
from bayesian_lottery.study.nodes import LATER
from bayesian_lottery.tickets.patterns import PATTERNS

# Of each section that gives names, what folders spell beside them.
BESIDE = {
    "rewinds": ("search", "ranking", "pattern"),
    "searches": ("ranking", "pattern"),
    "rankings": ("rewind", "search", "pattern"),
}


def check(config: Mapping) -> None:
    """Refuse names of rewinds, searches and rankings that make two trunks share a folder.

    Raises:
        InputError: names the key, and what it could be taken for.
    """
    names = {
        "rewind": choices.rewinds(config),
        "search": choices.searches(config),
        "ranking": choices.rankings(config),
        "pattern": [*PATTERNS],
    }
    for section, beside in BESIDE.items():
        others = {name for coordinate in beside for name in names[coordinate]} - {*LATER.values()}
        for name in config.get(section, {}):
            for taken in sorted(each for each in others if f"_{each}_" in f"_{name}_"):
                *most, last = beside
                raise InputError(
                    f"{section}.{name}: a folder's name would not tell it from {taken!r}, which is "
                    f"a {', '.join(most)} or {last}; give it another name."
                )
