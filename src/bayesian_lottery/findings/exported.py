"""The table of exported networks: a row a node, format, what predicts, and batch size."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.study import LATER

MEASURES = ("accuracy", "nll", "ece")
DTYPES = {
    **COORDINATES,
    "density": "float64",
    "format": "string",
    "predicts": "string",  # of a stochastic network "mean" or "samples"; else null
    "samples": "Int64",
    "bytes": "Int64",  # of the file
    "weights_bytes": "Int64",  # of values and indices in it
    "dense_bytes": "Int64",  # values of the dense network that predicts the same, zeros included
    "times_smaller": "float64",  # dense_bytes / weights_bytes
    **dict.fromkeys(MEASURES, "float64"),
    **{f"dense_{name}": "float64" for name in MEASURES},
    "agreement": "float64",
    "largest_difference": "float64",
    "batch": "Int64",
    "seconds": "float64",
    "dense_seconds": "float64",
    "throughput": "float64",
    "dense_throughput": "float64",
    "times_as_fast": "float64",
    "threads": "Int64",
    "slower": "string",  # the sentence that the file has, if it is
    "refused": "string",  # why there is no file
    "device": "string",
}


def table(paths: Iterable[str | Path]) -> pd.DataFrame:
    """The rows of files that `exports.measuring` wrote, sorted by coordinates.

    Raises:
        InputError: a file is missing, damaged, or something else.
    """
    rows = [row for path in paths for row in _rows(path)]
    frame = pd.DataFrame(rows, columns=list(DTYPES)).astype(DTYPES)
    by = [*COORDINATES, "predicts", "format", "batch"]
    return frame.sort_values(by, na_position="first", kind="stable", ignore_index=True)


def empty() -> pd.DataFrame:
    """The table of a study that exports nothing."""
    return pd.DataFrame(columns=list(DTYPES)).astype(DTYPES)


def _rows(path: str | Path) -> list[dict]:
    measured = read_json(path)
    try:
        node = {**(LATER if measured["node"]["level"] else {}), **measured["node"]}
        shared = {**node, "density": measured["density"]}
        shared["device"] = measured["provenance"]["device"]
        return [row for export in measured["exports"] for row in _rows_of(shared, export)]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: no measurements of exports ({error!r}).") from None


def _rows_of(shared: dict, export: dict) -> list[dict]:
    own = {name: export[name] for name in ("format", "predicts", "samples")}
    if "refused" in export:
        return [{**shared, **own, "refused": export["refused"]}]
    told = {name: export[name] for name in ("bytes", "weights_bytes", "dense_bytes", "threads")}
    told["times_smaller"] = export["dense_bytes"] / export["weights_bytes"]
    told |= {"slower": export["slower"] or None}
    return [{**shared, **own, **told, **export["predictions"], **row} for row in export["speed"]]
