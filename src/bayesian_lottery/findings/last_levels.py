"""The masks of whole trunks in small: of each weight the last level that keeps it.

Iterative pruning brings no weight back, so these numbers are the masks of all levels. Published
units keep them of the papers' way to a ticket, so that units of different seeds can be compared:
of sparse levels, for dense masks take most of the room and tell least of each other.
"""

import lzma
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, takewhile
from pathlib import Path

import numpy as np
import pandas as pd

from bayesian_lottery import study
from bayesian_lottery.findings import overlaps, results
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.study import Node, Pair
from bayesian_lottery.tickets.masks import load_arrays

MOST = 300_000  # weights of a network that is kept: about 0.03 MB a trunk
DENSEST = 0.12  # density of the first level that is kept; figures compare masks near 0.1 and 0.02

DTYPES = {
    **COORDINATES,  # whose level is the last one there is
    "layer": "Int64",
    "name": "string",
    "first": "Int64",  # level that is kept
    "last": "object",  # uint8 of each weight, 0 for those that none of them keeps, packed by lzma
}
_ALIKE = ["dataset", "model", "inference", "curriculum", "layer", "name"]


def trunks(config: Mapping, nodes: Iterable[Node]) -> list[list[Node]]:
    """The levels of each trunk that is compared with another seed's, from level 1 on."""
    pairs = [pair for pair in study.pairs(config, nodes) if pair.compared == "seed"]
    found: dict[Node, set[Node]] = {}
    for node in (node for pair in pairs for node in pair[:2]):
        found.setdefault(replace(node, level=1), set()).add(node)
    return [sorted(levels, key=lambda node: node.level) for levels in found.values()]


def table(config: Mapping, trunks: Iterable[Sequence[Node]]) -> pd.DataFrame:
    """A row a trunk and layer, of the levels whose masks are there; networks of more than `MOST`
    weights are left out."""
    rows = []
    for levels in trunks:
        paths = [Path(study.mask_file(config, node)) for node in levels]
        there = [*takewhile(Path.exists, paths)]
        last: dict[str, np.ndarray] = {}
        for path in there:
            for name, mask in load_arrays(path).items():
                last[name] = last.get(name, np.uint8(0)) + mask.astype(np.uint8)
        if not 0 < sum(layer.size for layer in last.values()) <= MOST:
            continue
        first = _first(last.values(), len(there))
        own = {**vars(levels[0]), "level": len(there), "first": first}
        for number, (name, layer) in enumerate(last.items(), 1):
            sparse = np.where(layer < first, np.uint8(0), layer)
            packed = lzma.compress(sparse.tobytes())
            rows.append({**own, "layer": number, "name": name, "last": packed})
    return pd.DataFrame(rows, columns=list(DTYPES)).astype(DTYPES)


def _first(last: Iterable[np.ndarray], levels: int) -> int:
    """The first level with a density of at most `DENSEST`; without one, the last level."""
    every = np.concatenate([layer.ravel() for layer in last])
    sparse = (level for level in range(1, levels) if (every >= level).mean() <= DENSEST)
    return next(sparse, levels)


def overlaps_of_seeds(kept: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table of overlaps that compare seeds, of trunks that `table` has."""
    # Units of before have no `first`, and all levels.
    kept = kept.reindex(columns=list(DTYPES)).fillna({"first": 1}).astype({"first": int})
    rows: list[dict] = []
    for _, same in kept.sort_values("seed").groupby(_ALIKE, sort=False):
        layers = [*zip(results.nodes(same), same.to_dict("records"), strict=True)]
        for (node, row), (other, others) in combinations(layers, 2):
            last, its = (np.frombuffer(lzma.decompress(r["last"]), np.uint8) for r in (row, others))
            start, end = max(row["first"], others["first"]), min(node["level"], other["level"])
            for level in range(start, end + 1):
                first, second = (Node(**{**each, "level": level}) for each in (node, other))
                pair = Pair(first, second, "seed")
                masks = last >= level, its >= level
                rows.append(overlaps.row(pair, row["layer"], row["name"], *masks))
    return overlaps.frame(rows)
