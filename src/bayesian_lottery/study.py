"""The study: a configuration expanded into the nodes to train, with their files and settings.

The Snakefile and its jobs import this module, so it needs neither torch nor Snakemake. Everywhere
`config` is a configuration whose defaults are filled in, and paths are relative to where the
workflow runs.
"""

import difflib
import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.models import MODELS
from bayesian_lottery.scores import SCORERS, scorers_for
from bayesian_lottery.tickets import BRANCHES, REWINDS

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
    def previous(self) -> "Node | None":
        """The node whose pruning made this one's mask."""
        if self.level == 0:
            return None
        if self.level == 1:
            dense = {"scorer": None, "rewind": None, "level": 0}
            return replace(self.trunk, **dense)
        return replace(self.trunk, level=self.level - 1)

    @property
    def trunk(self) -> "Node":
        """The node of the trunk at this level: of a branch where it starts from, else itself."""
        return replace(self, branch=None, replicate=None)

    @property
    def trained(self) -> str:
        """The inference by which the node is trained, which a transplant changes."""
        return (self.branch and BRANCHES[self.branch].inference) or self.inference

    @property
    def scorers(self) -> list[str]:
        """The scorers by which the node is pruned: its own; a dense one by all of its inference.

        A branch is not pruned.
        """
        if self.branch:
            return []
        return [self.scorer] if self.scorer else scorers_for(self.inference)

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


def expand(config: Mapping) -> list[Trunk]:
    """All trunks of the configuration: of each entry, every combination of its coordinates.

    Raises:
        InputError: a coordinate is not known, a scorer does not fit the inference, or a trunk is
            listed twice.
    """
    entries: dict[Trunk, int] = {}  # of each trunk, whatever its levels, the entry that lists it
    trunks = []
    for number, entry in enumerate(config["trunks"], 1):
        for values in itertools.product(*(_as_list(entry[name]) for name in COORDINATES)):
            coordinates = dict(zip(COORDINATES, values, strict=True))
            _check(f"trunks entry {number}", coordinates, config)
            for seed in entry["seeds"]:
                trunk = Trunk(**coordinates, seed=seed, levels=entry["levels"])
                key = replace(trunk, levels=0)
                if key in entries:
                    raise InputError(
                        f"trunks: {trunk}, is listed twice (entries {entries[key]} and {number})."
                    )
                entries[key] = number
                trunks.append(trunk)
    return trunks


def _as_list(value: object) -> list:
    return value if isinstance(value, list) else [value]


def _check(entry: str, coordinates: Mapping[str, str], config: Mapping) -> None:
    """Raise `InputError` for the first coordinate of an entry's combination that is not allowed."""
    inference, scorer = coordinates["inference"], coordinates["scorer"]
    allowed: dict[str, Collection[str]] = {
        "dataset": config["datasets"],
        "model": MODELS,
        "curriculum": config["curricula"],
        "inference": {known.inference for known in SCORERS.values()},
        "scorer": SCORERS,
        "rewind": REWINDS,
    }
    for name, values in allowed.items():
        if coordinates[name] not in values:
            raise choice(f"{entry}.{name}", coordinates[name], values)
    if SCORERS[scorer].inference != inference:
        fitting = ", ".join(scorers_for(inference))
        raise InputError(
            f"{entry}.scorer: {scorer!r} cannot score {inference} networks; use {fitting} there."
        )


def branches(config: Mapping, trunks: Iterable[Trunk]) -> list[Node]:
    """The nodes of all branches: of each entry, at its levels of all trunks that it matches.

    Raises:
        InputError: a branch is not known or does not fit the trunks' inference, a level lies beyond
            a trunk, an entry matches no trunk, or a node is listed twice.
    """
    trunks = list(trunks)
    entries: dict[Node, int] = {}  # of each node the entry that lists it
    for number, entry in enumerate(config["branches"], 1):
        key = f"branches entry {number}"
        matched = [trunk for trunk in trunks if _matches(trunk, entry)]
        if not matched:
            raise InputError(f"{key}: it matches no trunk; see its coordinates.")
        for name in _as_list(entry["branch"]):
            if name not in BRANCHES:
                raise choice(f"{key}.branch", name, BRANCHES)
            found = [
                replace(node, branch=name, replicate=replicate)
                for trunk in matched
                for node in _levels(key, name, trunk, entry["levels"])
                for replicate in range(entry["replicates"])
            ]
            for node in dict.fromkeys(found):  # trunks share their dense level
                if entries.setdefault(node, number) != number:
                    raise InputError(
                        f"branches: {node.folder} is listed twice "
                        f"(entries {entries[node]} and {number})."
                    )
    return list(entries)


def _matches(trunk: Trunk, entry: Mapping) -> bool:
    wanted = {name: _as_list(entry[name]) for name in COORDINATES if name in entry}
    seeds = entry.get("seeds", [trunk.seed])
    return trunk.seed in seeds and all(getattr(trunk, k) in v for k, v in wanted.items())


def _levels(key: str, branch: str, trunk: Trunk, levels: str | list[int]) -> list[Node]:
    """The trunk's nodes at `levels`, which may be "all"."""
    needed = BRANCHES[branch].of
    if needed not in (None, trunk.inference):
        raise InputError(
            f"{key}: {branch} starts from {needed} trunks, but it matches {trunk}; "
            f"add 'inference: {needed}'."
        )
    if levels == "all":
        return trunk.nodes()
    if max(levels) > trunk.levels:
        raise InputError(
            f"{key}.levels: {max(levels)} lies beyond level {trunk.levels}, the last of {trunk}."
        )
    chosen = set(levels)
    return [node for node in trunk.nodes() if node.level in chosen]


def nodes(config: Mapping) -> list[Node]:
    """The nodes of all trunks and branches, each once, trunks first.

    Raises:
        InputError: as `expand` and `branches` do.
    """
    trunks = expand(config)
    levels = (node for trunk in trunks for node in trunk.nodes())
    return [*dict.fromkeys(levels), *branches(config, trunks)]


def find(known: Mapping[str, Node], folder: str) -> Node:
    """The node of `folder`, among nodes by their folders.

    Raises:
        InputError: there is none; the message says the trunk's last level, or what comes closest.
    """
    if folder in known:
        return known[folder]
    trunk = folder.rpartition("/")[0]
    levels = [
        node.level
        for path, node in known.items()
        if path.rpartition("/")[0] == trunk and not node.branch
    ]
    if max(levels, default=0) > 0:
        raise InputError(f"{folder} is not in the configuration: its last level is {max(levels)}.")
    close = difflib.get_close_matches(folder, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    raise InputError(f"{folder} is not in the configuration{hint}")


def metrics_files(config: Mapping) -> list[str]:
    """The metrics files of all nodes: what the tables are made of."""
    root = config["results"]
    return [f"{root}/{node.folder}/metrics.json" for node in nodes(config)]


def data_file(config: Mapping, dataset: str) -> str:
    """The decoded data set."""
    return f"{config['results']}/data/{dataset}.safetensors"


def node_inputs(config: Mapping, node: Node) -> dict[str, str]:
    """The files that training `node` starts from, by name.

    They are `data` and `initial`; above level 0 `mask`; for a level with the rewind `lrr`
    `previous_weights`; for a branch from trained weights `trained_weights`.
    """
    root = config["results"]
    initial = f"{root}/initial/{node.dataset}/{node.model}/seed{node.seed}.safetensors"
    inputs = {"data": data_file(config, node.dataset), "initial": initial}
    if node.previous:
        folder = f"{root}/{node.previous.folder}"
        scorer = f"_{node.scorer}" if node.previous.level == 0 else ""
        inputs["mask"] = f"{folder}/next_mask{scorer}.safetensors"
        if node.rewind == "lrr" and not node.branch:
            inputs["previous_weights"] = f"{folder}/weights.safetensors"
    if node.branch and BRANCHES[node.branch].weights == "trained":
        inputs["trained_weights"] = f"{root}/{node.trunk.folder}/weights.safetensors"
    return inputs


def node_outputs(config: Mapping, node: Node) -> dict:
    """The files that training `node` writes, by name; `next_masks` are paths by scorer.

    The rules that train one node a job have the same as patterns.
    """
    folder = f"{config['results']}/{node.folder}"
    outputs: dict = {
        "metrics": f"{folder}/metrics.json",
        "history": f"{folder}/history.csv",
        "weights": f"{folder}/weights.safetensors",
    }
    if node.branch:
        return {**outputs, "branch_mask": f"{folder}/mask.safetensors"}
    suffixes = {scorer: f"_{scorer}" if node.level == 0 else "" for scorer in node.scorers}
    next_masks = {
        name: f"{folder}/next_mask{suffix}.safetensors" for name, suffix in suffixes.items()
    }
    return {**outputs, "next_masks": next_masks}


def starts_others(node: Node) -> bool:
    """Whether another level may start from the node's trained weights."""
    return not node.branch and (node.level == 0 or node.rewind == "lrr")


def packs(found: Iterable[Node], size: int) -> list[list[Node]]:
    """Nodes that can train side by side, at most `size` together, none waiting for another.

    They have the architecture, inference, data, curriculum and level in common, and are all of
    trunks or all branches; seeds, scorers, rewinds and kinds of branches may differ.
    """
    alike: dict[tuple, list[Node]] = {}
    for node in found:
        key = (node.dataset, node.model, node.trained, node.curriculum, node.level, not node.branch)
        alike.setdefault(key, []).append(node)
    return [
        nodes[start : start + size]
        for nodes in alike.values()
        for start in range(0, len(nodes), size)
    ]


def node_settings(config: Mapping, node: Node) -> dict:
    """All that training `node` depends on besides its input files, and nothing else.

    The workflow retrains a node when this changes. A deterministic network gives one prediction,
    whatever the configuration's numbers of samples and passes.
    """
    dataset = config["datasets"][node.dataset]
    evaluation = dict(config["evaluation"])
    settings = {
        **vars(node),
        "inference": node.trained,
        "augment": dict(dataset["augment"]),
        "validation": dataset["validation"],
        "curriculum": dict(config["curricula"][node.curriculum]),
        "prune_fraction": config["prune_fraction"],
        "compute": dict(config["compute"]),
        "scorers": node.scorers,
    }
    if node.trained == "bayesian":
        return {**settings, "bayesian": dict(config["bayesian"]), "evaluation": evaluation}
    return {**settings, "evaluation": {**evaluation, "samples": 1, "passes": 1}}
