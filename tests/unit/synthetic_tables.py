"""All tables of a made-up study, the project's own of what `synthetic` makes up."""

import functools
import random
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import synthetic
import synthetic_posteriors

from bayesian_lottery import study
from bayesian_lottery.files import write_json
from bayesian_lottery.findings import agreement, exported, overlaps, results
from bayesian_lottery.findings.columns import DISTANCE_DTYPES
from bayesian_lottery.study import Node

EXPORTED = (3, 6)  # levels
EPOCHS = 12  # at most, of a watched training
# Counted products of each model, as `operations.read` gives them.
COUNTS = {
    ("digits", model): {
        "weights": synthetic.sizes(model),
        "layers": {name: 50 * size for name, size in synthetic.sizes(model).items()},
        "other": 10_000,
        "images": [100] * 10,
    }
    for model in synthetic.LAYERS
}


def tables(root: Path, nodes) -> dict[str, pd.DataFrame]:
    """The tables of a study, whose files are written below `root`."""
    runs, layers, _ = results.tables(synthetic.write(root, nodes), COUNTS)
    synthetic_posteriors.write(root, results.nodes(runs))
    return of(root, runs, layers)


def of(root: Path, runs: pd.DataFrame, layers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of the nodes in those of runs and layers, a part of the study below `root`."""
    nodes = [_node(coordinates) for coordinates in results.nodes(runs)]
    exports = [*_exports(root, nodes)]
    return {
        "runs": runs,
        "layers": layers,
        "overlaps": overlaps.compare(study.pairs({}, nodes), mask),
        "distances": distances(nodes),
        "exports": exported.table(exports) if exports else exported.empty(),
        "agreement": agreement.table(runs, synthetic_posteriors.TOLD["arms"], {}, root),
    }


def part(root: Path, tables: Mapping[str, pd.DataFrame], chosen) -> dict[str, pd.DataFrame]:
    """The tables of a part of a study: of those rows of runs and layers that are `chosen`."""
    return of(root, *(tables[name][chosen(tables[name])] for name in ("runs", "layers")))


def mask(node: Node) -> dict[str, np.ndarray]:
    """The made-up mask of a level: of one network alike, whatever the way, and less so in depth."""
    sizes = synthetic.sizes(node.model)
    kept = synthetic.survivors(node.model, node.level, node.inference)
    return {name: _order(node, name, sizes[name]) < kept[name] for name in sizes}


def _order(node: Node, layer: str, size: int) -> np.ndarray:
    network = f"{node.model} {node.inference} {node.seed}"
    return _ranks(network, f"{network} {node.scorer} {node.rewind} {node.search}", layer, size)


@functools.cache
def _ranks(network: str, way: str, layer: str, size: int) -> np.ndarray:
    shared, own = (
        np.random.default_rng(zlib.crc32(f"{name} {layer}".encode())).random(size)
        for name in (network, way)
    )
    return np.argsort(np.argsort(shared + 0.4 * own))


def distances(nodes: list[Node]) -> pd.DataFrame:
    """The table of distances: masks that settle, the sparser the later, and are then drawn."""
    levels: dict[str, set[int]] = {}
    for node in nodes:
        if node.search == "early":
            levels.setdefault(_watched(node), set()).add(node.level)
    first = {_watched(node): node for node in nodes if node.search == "early"}
    rows = [row for key, node in first.items() for row in _watch(node, sorted(levels[key]))]
    return pd.DataFrame(rows, columns=list(DISTANCE_DTYPES)).astype(DISTANCE_DTYPES)


def _watched(node: Node) -> str:
    return f"{node.dense.folder} {node.scorer}"


def _watch(node: Node, levels: list[int]) -> Iterator[dict]:
    noise = random.Random(_watched(node))
    shared = {name: value for name, value in vars(node).items() if name in DISTANCE_DTYPES}
    last = {level: min(3 + level, EPOCHS) for level in levels}
    for epoch in range(1, max(last.values()) + 1):
        for level in levels:
            distance = 0.03 * level / epoch * noise.uniform(0.8, 1.2) if epoch > 1 else None
            yield {
                **shared, "level": level, "epoch": epoch, "survivors": 1000,
                "distance": distance, "drawn": epoch == last[level],
            }  # fmt: skip


def _exports(root: Path, nodes: list[Node]) -> Iterator[Path]:
    """The files of exported levels: of the papers' way, by every scorer that is the first."""
    for node in nodes:
        main = node.scorer == synthetic.SCORERS[node.inference][0] and node.rewind == "imp"
        if main and node.level in EXPORTED and not node.branch and node.search == "iterative":
            path = root / node.folder / "exports.json"
            write_json(path, _export(node))
            yield path


def _export(node: Node) -> dict:
    noise = random.Random(node.folder)
    density = 0.8**node.level
    measures = {"accuracy": 0.9 + 0.01 * noise.random(), "nll": 0.3, "ece": 0.05}
    predictions = {**measures, **{f"dense_{name}": value for name, value in measures.items()}}
    speed = [
        {"batch": batch, "seconds": 0.01, "dense_seconds": 0.02, "throughput": batch / 0.01,
         "dense_throughput": batch / 0.02, "times_as_fast": 2.0}
        for batch in (1, 32)
    ]  # fmt: skip
    made = [
        {
            "format": format, "predicts": predicts, "samples": predicts and 10, "bytes": 9000,
            "weights_bytes": int(8000 * density), "dense_bytes": 8000, "threads": 1, "slower": "",
            "predictions": {**predictions, "agreement": 1.0, "largest_difference": 1e-6},
            "speed": speed,
        }
        for predicts in ([None] if node.inference == "deterministic" else ["mean", "samples"])
        for format in ("csr", "packed")
    ]  # fmt: skip
    refused = {"format": "2of4", "predicts": None, "samples": None, "refused": "It does not fit."}
    return {
        "node": node.coordinates(), "density": density, "exports": [*made, refused],
        "provenance": {"device": "cpu"},
    }  # fmt: skip


def _node(coordinates: Mapping) -> Node:
    later = {name: coordinates[name] or value for name, value in study.LATER.items()}
    return Node(**{**coordinates, **later})
