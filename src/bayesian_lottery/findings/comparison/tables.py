"""Reading the tables that are compared, which may lack columns."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import exported, published, results
from bayesian_lottery.findings.columns import COORDINATES, LAYER_DTYPES, RUN_DTYPES

_NEEDED = ("dataset", "model", "inference", "seed", "level")
_OF_BRANCHES = ("branch", "replicate")  # a table without them has trunks alone


class Side(NamedTuple):
    """One of the two tables.

    columns: those that the table of runs came with, before the rest was filled in with nulls.
    """

    name: str
    columns: frozenset[str]
    runs: pd.DataFrame
    layers: pd.DataFrame
    exports: pd.DataFrame


def read(path: Path) -> Side:
    """The tables of a study.

    Args:
        path: a table of runs (Parquet or CSV), with the tables of layers and of exports beside it
            if there are any; a folder of such tables; or the folder of a published study.

    Raises:
        InputError: there is none, or it lacks a column that pairing needs.
    """
    layers: pd.DataFrame | None
    if path.is_dir() and published.units(path):
        tables = published.read(path)
        runs, layers, exports = tables.runs, tables.layers, tables.exports
    else:
        file = path / "runs.parquet" if path.is_dir() else path
        runs = results.read(file)
        layers, exports = (_beside(file, name) for name in ("layers", "exports"))
    for name in _NEEDED:
        if name not in runs:
            raise InputError(f"{path}: the table of runs has no column {name}.")
    columns = frozenset(runs.columns) | {*_OF_BRANCHES}
    return Side(
        str(path),
        columns,
        _whole(runs, RUN_DTYPES, path),
        _whole(layers, LAYER_DTYPES, path),
        _whole(exports, exported.DTYPES, path),
    )


def _beside(runs: Path, name: str) -> pd.DataFrame | None:
    file = runs.with_name(f"{name}{runs.suffix}")
    return results.read(file) if file.exists() else None


def _whole(frame: pd.DataFrame | None, dtypes: dict, path: Path) -> pd.DataFrame:
    """The whole table; without rows where there is none."""
    return results.whole(pd.DataFrame() if frame is None else frame, dtypes, path)


def shared(first: Side, second: Side) -> list[str]:
    """The coordinates that both tables have, by which their nodes are paired.

    Raises:
        InputError: in one of them, two nodes have the same ones.
    """
    names = [name for name in COORDINATES if name in first.columns & second.columns]
    for side in (first, second):
        if side.runs.duplicated(names).any():
            left = ", ".join(name for name in COORDINATES if name not in names)
            raise InputError(
                f"{side.name}: two nodes have the same {', '.join(names)}; "
                + (f"the tables do not both say their {left}." if left else "give each node once.")
            )
    return names
