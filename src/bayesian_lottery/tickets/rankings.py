"""Rankings: which weights compete with one another. To add a kind, add an entry to `RANKINGS`.

A ranking of a study is a kind and shares for single layers, under a name of its own (`rankings` in
the configuration). Every kind is a ranking by its own name, too.

This module loads no torch, so that the workflow can read the names quickly.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from bayesian_lottery.errors import choice


@dataclass(frozen=True)
class Ranking:
    """A kind of ranking.

    Attributes:
        words: what sentences call it.
        groups: from the names of weights, in network order, to those that compete.
    """

    words: str
    groups: Callable[[Sequence[str]], Sequence[Sequence[str]]]


# The papers' ranking, which nodes have that name none.
FIRST = "global"

RANKINGS: dict[str, Ranking] = {
    FIRST: Ranking("all layers compete", lambda names: [names]),
    "layerwise": Ranking("each layer by itself", lambda names: [[name] for name in names]),
}


@dataclass(frozen=True)
class Contest:
    """Weights that compete, and how many of them stay.

    Attributes:
        names: of the layers' weights, in network order.
        share: of the survivors, pruned at each level.
        count: how many weights stay.
    """

    names: tuple[str, ...]
    share: float
    count: int


def left(count: int, share: float, level: int = 1) -> int:
    """How many of `count` stay when floor(share x what is left) go at each of so many levels."""
    for _ in range(level):
        # Fraction(str()) keeps 0.2 exactly 1/5: in binary 0.2 x 5 could floor to 0.
        count -= int(Fraction(str(share)) * count)
    return count


def contests(
    kind: str, shares: Mapping[str, float], sizes: Mapping[str, int], fraction: float, level: int
) -> list[Contest]:
    """What competes at a level, and how much of it stays; the counts depend on nothing trained.

    Args:
        kind: a key of `RANKINGS`.
        shares: of layers by name that compete with no other and have a share of their own, as in
            Frankle and Carbin (2019), who prune 20 % of every layer but 10 % of the last.
        sizes: of all weights that a mask covers, by name, in network order.
        fraction: the share of all others, in [0, 1).
        level: of the mask.

    Raises:
        InputError: a layer of `shares` is not there.
    """
    own = {f"{layer}.weight": share for layer, share in shares.items()}
    if absent := own.keys() - sizes.keys():
        layers = [name.removesuffix(".weight") for name in sizes]
        raise choice("ranking, shares", min(absent).removesuffix(".weight"), layers)
    others = [name for name in sizes if name not in own]
    groups = RANKINGS[kind].groups(others) if others else []
    parts = [(tuple(names), fraction) for names in groups if names]
    parts += [((name,), share) for name, share in own.items()]
    return [
        Contest(names, share, left(sum(sizes[name] for name in names), share, level))
        for names, share in parts
    ]


def options_of(settings: Mapping) -> tuple[str, Mapping[str, float]]:
    """The kind and the shares of the ranking of a node of `settings`."""
    variant = settings.get("ranking_options", {"kind": settings.get("ranking", FIRST)})
    return variant["kind"], variant.get("shares", {})
