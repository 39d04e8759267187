"""Nodes, the training runs of a study, and the trunks that they form."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from bayesian_lottery.tickets import patterns, rankings, searches

# What names a trunk besides its seed; the configuration's entries list their values.
COORDINATES = (
    *("dataset", "model", "inference", "scorer", "rewind", "curriculum"),
    *("search", "ranking", "pattern"),
)

# Coordinates that came after studies had been made, and what their absence means for good: how
# those were made. At this value a coordinate is in no path, no random stream and no job's
# parameters. The default in the schema may change; this may not.
LATER: Mapping[str, Any] = {
    "search": searches.FIRST,
    "ranking": rankings.FIRST,
    "pattern": patterns.FIRST,
}


def spelled(coordinates: Mapping) -> dict:
    """The coordinates without those that are what their absence means."""
    return {k: v for k, v in coordinates.items() if k not in LATER or v != LATER[k]}


def filled(coordinates: Mapping) -> dict:
    """The coordinates with all of `LATER`, as tables have them: null in dense networks."""
    return {**(LATER if coordinates["level"] else dict.fromkeys(LATER)), **coordinates}


def suffix(coordinates: Mapping) -> str:
    """What a trunk's folder spells of `LATER`, after scorer and rewind: "" or "_one_shot_units"."""
    later = spelled({name: coordinates[name] for name in LATER if name in coordinates})
    return "".join(f"_{value}" for value in later.values())


def is_shown(coordinates: Mapping, tickets: Mapping = MappingProxyType({})) -> bool:
    """Whether figures and claims are of a node: of tickets found as the papers find theirs.

    Dense networks are of all tickets.

    Args:
        tickets: other values of `LATER`, as the configuration's section of that name has them.
    """
    own, wanted = filled(coordinates), {**LATER, **tickets}
    return all(own[name] in (None, value) for name, value in wanted.items())


@dataclass(frozen=True)
class Node:
    """One training run, of a trunk or of a branch from one of its levels.

    Level 0 is dense; scorers, rewinds, searches, rankings and patterns share it, so there the first
    two are None, and the others what their absence means. A branch's coordinates are those of the
    level that it starts from, and its own name and replicate.
    """

    dataset: str
    model: str
    inference: str
    curriculum: str
    seed: int
    scorer: str | None
    rewind: str | None
    level: int
    branch: str | None = None
    replicate: int | None = None
    search: str = LATER["search"]
    ranking: str = LATER["ranking"]
    pattern: str = LATER["pattern"]

    @property
    def folder(self) -> str:
        """Where the node's files lie, below the root of the results."""
        shared = f"runs/{self.dataset}/{self.model}/{self.inference}/{self.curriculum}"
        pruned = f"{self.scorer}_{self.rewind}{suffix(vars(self))}/level{self.level:02}"
        trunk = pruned if self.level else "dense"
        branch = f"/{self.branch}_{self.replicate}" if self.branch else ""
        return f"{shared}/seed{self.seed}/{trunk}{branch}"

    @property
    def dense(self) -> "Node":
        """The dense network that the node's trunk begins with."""
        return replace(self.trunk, scorer=None, rewind=None, level=0, **LATER)

    @property
    def trunk(self) -> "Node":
        """The node of the trunk at this level: of a branch where it starts from, else itself."""
        return replace(self, branch=None, replicate=None)

    def coordinates(self) -> dict:
        """What names the node in its metrics file, and its random streams.

        `branch` and `replicate` are null in a trunk; those of `LATER` are absent where they can be.
        """
        return spelled(vars(self))


@dataclass(frozen=True)
class Trunk:
    """Levels, from the dense network to the last one."""

    dataset: str
    model: str
    inference: str
    scorer: str
    rewind: str
    curriculum: str
    seed: int
    levels: int
    search: str = LATER["search"]
    ranking: str = LATER["ranking"]
    pattern: str = LATER["pattern"]

    def __str__(self) -> str:
        return (
            f"{self.inference}/{self.scorer}/{self.rewind}{suffix(vars(self))} "
            f"of {self.model} on {self.dataset} "
            f"with curriculum {self.curriculum}, seed {self.seed}"
        )

    def nodes(self) -> list[Node]:
        """The nodes of all levels, the dense one first."""
        shared = (self.dataset, self.model, self.inference, self.curriculum, self.seed)
        later = {name: getattr(self, name) for name in LATER}
        levels = range(1, self.levels + 1)
        return [
            Node(*shared, scorer=None, rewind=None, level=0),
            *(Node(*shared, self.scorer, self.rewind, level, **later) for level in levels),
        ]
