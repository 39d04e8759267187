"""Nodes, the training runs of a study, and the trunks that they form."""

from dataclasses import dataclass, replace

# What names a trunk besides its seed; the configuration's entries list their values.
COORDINATES = ("dataset", "model", "inference", "scorer", "rewind", "curriculum")


@dataclass(frozen=True)
class Node:
    """One training run, of a trunk or of a branch from one of its levels.

    Level 0 is dense; scorers and rewinds share it, so there both are None. A branch's coordinates
    are those of the level that it starts from, and its own name and replicate.
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

    @property
    def folder(self) -> str:
        """Where the node's files lie, below the root of the results."""
        shared = f"runs/{self.dataset}/{self.model}/{self.inference}/{self.curriculum}"
        trunk = f"{self.scorer}_{self.rewind}/level{self.level:02}" if self.level else "dense"
        branch = f"/{self.branch}_{self.replicate}" if self.branch else ""
        return f"{shared}/seed{self.seed}/{trunk}{branch}"

    @property
    def dense(self) -> "Node":
        """The dense network that the node's trunk begins with."""
        return replace(self.trunk, scorer=None, rewind=None, level=0)

    @property
    def previous(self) -> "Node | None":
        """The node whose pruning made this one's mask."""
        if self.level == 0:
            return None
        return self.dense if self.level == 1 else replace(self.trunk, level=self.level - 1)

    @property
    def trunk(self) -> "Node":
        """The node of the trunk at this level: of a branch where it starts from, else itself."""
        return replace(self, branch=None, replicate=None)

    def coordinates(self) -> dict:
        """What names the node in its metrics file; `branch` and `replicate` are null in a trunk."""
        return dict(vars(self))


@dataclass(frozen=True)
class Trunk:
    """A chain of levels, from the dense network to the last one."""

    dataset: str
    model: str
    inference: str
    scorer: str
    rewind: str
    curriculum: str
    seed: int
    levels: int

    def __str__(self) -> str:
        return (
            f"{self.inference}/{self.scorer}/{self.rewind} of {self.model} on {self.dataset} "
            f"with curriculum {self.curriculum}, seed {self.seed}"
        )

    def nodes(self) -> list[Node]:
        """The nodes of all levels, the dense one first."""
        shared = (self.dataset, self.model, self.inference, self.curriculum, self.seed)
        levels = range(1, self.levels + 1)
        return [
            Node(*shared, scorer=None, rewind=None, level=0),
            *(Node(*shared, self.scorer, self.rewind, level) for level in levels),
        ]
