"""The masks that tables are made of: their files, what was seen of them, which are compared."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from bayesian_lottery.study import choices
from bayesian_lottery.study.files import node_inputs, node_outputs, watched
from bayesian_lottery.study.nodes import LATER, Node
from bayesian_lottery.tickets.rewinds import REWINDS


def mask_file(config: Mapping, node: Node) -> str:
    """The mask of a level above 0, or of a branch; the last one where it moves in training."""
    own = node.branch or choices.makes_mask(config, node)
    return (node_outputs if own else node_inputs)(config, node)["mask"]


def distance_files(config: Mapping, nodes: Iterable[Node]) -> dict[str, Node]:
    """The tables of watched trainings by path, each with a level whose mask was drawn there."""
    found: dict[str, Node] = {}
    for node in nodes:
        if node.level and not node.branch and choices.search(config, node).watch:
            folder = f"{config['results']}/{node.dense.folder}/{watched(node)}"
            found.setdefault(f"{folder}/distances.csv", node)
    return found


class Pair(NamedTuple):
    """Two nodes to compare, and what makes their masks differ: see `pairs`."""

    node: Node
    other: Node
    compared: str


def pairs(config: Mapping, nodes: Iterable[Node]) -> list[Pair]:
    """Every level of a trunk with the papers' way to a ticket, where one thing alone differs.

    The papers' way is iterative and resets, by the first scorer there is of its kind of inference.
    `compared` is "way", where the other has the same seed and inference; or both are the papers'
    way, and it is "seed" (the lower one comes first) or "inference".
    """
    levels = {node: None for node in nodes if node.level and not node.branch}
    papers = [node for node in levels if node == _papers(config, node, levels)]
    found = []
    for node in levels:
        same = [p for p in papers if _place(p) == _place(node)]
        alike = [p for p in same if p.inference == node.inference]
        if node not in same:
            found += [Pair(node, p, "way") for p in alike if p.seed == node.seed]
            continue
        found += [Pair(node, p, "seed") for p in alike if p.seed > node.seed]
        others = [p for p in same if p.inference != node.inference and p.seed == node.seed]
        found += [Pair(node, p, "inference") for p in others]
    return found


def _place(node: Node) -> tuple:
    return node.dataset, node.model, node.curriculum, node.level


def _papers(config: Mapping, node: Node, levels: Collection[Node]) -> Node | None:
    """The papers' way at a node's level, by the first scorer that there is."""
    usual = replace(node, rewind=next(iter(REWINDS)), **LATER)
    scorers = choices.kind(config, node.inference).scorers
    there = (replace(usual, scorer=scorer) for scorer in scorers)
    return next((each for each in there if each in levels), None)


def watches(config: Mapping, nodes: Iterable[Node]) -> dict[tuple[Node, str], int]:
    """The dense nodes that are watched as they train again, each with the folder of what is seen,
    and how many levels are watched: no fewer than trunks have, so that deeper trunks watch nothing
    again."""
    return {
        (node.dense, watched(node)): choices.search_options(config, node.search)["levels"]
        for node in nodes
        if node.level and choices.search(config, node).watch
    }
