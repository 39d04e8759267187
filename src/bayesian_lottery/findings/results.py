"""The tidy tables, from the nodes' metrics files: of runs, layers and shifts.

Nothing here needs torch, so that tables and figures start fast.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import pandas as pd

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import atomic
from bayesian_lottery.findings import operations, rows
from bayesian_lottery.findings.columns import (
    COORDINATES,
    LAYER_DTYPES,
    MEASURED,
    RUN_DTYPES,
    SHIFT_DTYPES,
)
from bayesian_lottery.study import LATER, node_metrics

_SHARED_BY_DENSE = ["dataset", "model", "inference", "curriculum", "seed"]
ABOUT = 2  # "about 10 %" is less than twice, and more than half as much

_PRUNED_BY = ["scorer", "rewind", *LATER]

# The columns that say what a row is of, in tables that have them; the one by which runs are told
# from layers; and those that each row fills.
_TOLD = (
    *(name for name in COORDINATES if name not in LATER),
    "peak_accuracy",
    *("density", "layer", "name", "size", "survivors", "shift", "strength", "epoch", "drawn"),
    *("compared", "arm", "format"),
)
_NEVER_NULL = ("dataset", "model", "inference", "curriculum", "seed", "level")


def _frame(rows: list[dict], dtypes: dict, by: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)
    return frame.sort_values(by, na_position="first", kind="stable", ignore_index=True)


class Tables(NamedTuple):
    """The tidy tables: a row a node; a node and layer; a node and shift of the test images."""

    runs: pd.DataFrame
    layers: pd.DataFrame
    shifts: pd.DataFrame


def tables(
    metrics_files: Iterable[str | Path], counts: operations.Counts = MappingProxyType({})
) -> Tables:
    """The tables of runs, of layers and of shifts; each file is read once.

    Args:
        counts: of models for data sets, as `operations.read` gives them; without one a run has no
            `flops`.

    The rows come sorted by coordinates, nulls first, whatever the order of the files.

    Raises:
        InputError: there are no files; one is refused by `node_metrics.read`; or two files hold
            the same node.
    """
    run_rows: list[dict] = []
    layer_rows: list[dict] = []
    shift_rows: list[dict] = []
    seen: dict[tuple, str | Path] = {}
    pools: dict[int, list[tuple]] = {}
    for path in metrics_files:
        metrics = node_metrics.read(path)
        run = rows.run(metrics, counts)
        layer_rows += rows.layers(metrics)
        shift_rows += rows.shifts(metrics)
        node = tuple(run[name] for name in COORDINATES)
        if node in seen:
            raise InputError(f"{path}: the same node as {seen[node]}; give each node once.")
        seen[node] = path
        run_rows.append(run)
        pools[len(run_rows) - 1] = [
            tuple(node_metrics.coordinates({"node": each})[name] for name in COORDINATES)
            for each in metrics.get("members", [])
        ]
    if not run_rows:
        raise InputError("The list of metrics files is empty; a table needs one at least.")
    spent = dict(zip(seen, (run["gradients"] for run in run_rows), strict=True))
    for index, members in pools.items():
        own = [spent.get(member) for member in members]
        if own and run_rows[index]["gradients"] is None and None not in own:
            run_rows[index]["gradients"] = sum(own)
    by = list(COORDINATES)
    return Tables(
        _frame(run_rows, RUN_DTYPES, by),
        _frame(layer_rows, LAYER_DTYPES, [*by, "layer"]),
        _frame(shift_rows, SHIFT_DTYPES, [*by, "shift", "strength"]),
    )


def write(frame: pd.DataFrame, parquet: str | Path, csv: str | Path | None = None) -> None:
    """Write a table as Parquet (keeps the types) and as CSV (opens anywhere), each atomically."""
    with atomic(parquet) as temporary:
        frame.to_parquet(temporary, index=False)
    if csv:
        with atomic(csv) as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")


def read(path: str | Path) -> pd.DataFrame:
    """Read a table that `write` wrote, Parquet or CSV; an `InputError` names a file that is none.

    Columns of later coordinates, which a table of before lacks, are filled in.
    """
    try:
        if Path(path).suffix == ".csv":
            frame = pd.read_csv(path, dtype=RUN_DTYPES | LAYER_DTYPES)
        else:
            frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except (LookupError, MemoryError, NotImplementedError, OSError, TypeError, ValueError) as error:
        # Those that pyarrow raises, for damage may look like anything.
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not a readable table ({reason}).") from None
    if "level" not in frame:
        raise InputError(f"{path}: no table of nodes; it has no column level.")
    pruned = pd.to_numeric(frame["level"], errors="coerce") > 0
    for name in LATER.keys() - set(frame.columns):
        frame[name] = pd.Series(LATER[name], frame.index, "string").where(pruned)
    return frame


def read_whole(path: str | Path, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Read a table of a kind: as `whole` has it, where `check` lets it pass."""
    frame = read(path)
    check(frame, dtypes, path)
    return whole(frame, dtypes, path)


def check(frame: pd.DataFrame, dtypes: Mapping[str, str], path: str | Path) -> None:
    """Raise an `InputError` unless a table says of each row what it is of; of before, it may lack
    what was measured.

    Args:
        dtypes: of all columns that the kind of table has.
        path: the table's.
    """
    for name in (name for name in _TOLD if name in dtypes):
        if name not in frame:
            raise InputError(f"{path}: not the table that is asked for; it has no column {name}.")
        if name in _NEVER_NULL and frame[name].isna().any():
            raise InputError(f"{path}: the column {name} is empty in a row; every row has one.")


def whole(frame: pd.DataFrame, dtypes: Mapping[str, str], path: str | Path) -> pd.DataFrame:
    """The table with all of its columns and no others; those that it lacks are null."""
    return typed(frame.reindex(columns=list(dtypes)), dtypes, path)


def typed(frame: pd.DataFrame, dtypes: Mapping[str, str], path: str | Path) -> pd.DataFrame:
    """The table with its columns' types; an `InputError` names a column that is of another.

    Args:
        path: the table's, for the sentence.
    """
    made = {}
    for name in frame.columns.intersection(list(dtypes)):
        try:
            made[name] = frame[[name]].astype({name: dtypes[name]})[name]
        except (TypeError, ValueError) as error:
            reason = f"{dtypes[name]}; {error}"
            raise InputError(f"{path}: the column {name} is not of its type ({reason}).") from None
    return frame.assign(**made)


def nodes(frame: pd.DataFrame) -> list[dict]:
    """The coordinates of the nodes of a table, each node once; None where a coordinate is null."""
    coordinates = frame[list(COORDINATES)].drop_duplicates().astype(object)
    return coordinates.where(coordinates.notna(), None).to_dict("records")


def shown(
    frame: pd.DataFrame, tickets: Mapping = MappingProxyType({}), compared: Collection[str] = ()
) -> pd.DataFrame:
    """The rows of nodes that figures and claims are of; see `study.is_shown`.

    Args:
        compared: the coordinates of `LATER` of which rows may have any value.
    """
    for name, wanted in {**LATER, **tickets}.items():
        if name in compared:
            continue
        frame = frame[frame[name].isna() | (frame[name] == wanted).fillna(False)]
    return frame


def disagreeing(frame: pd.DataFrame) -> pd.Series:
    """Which rows of runs are pools of chains that have not converged to one distribution."""
    if "converged" not in frame:  # a table of before
        return pd.Series(False, frame.index)
    return frame["converged"].eq(False).fillna(False).astype(bool)


def trunk_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The trunks' rows, each trunk whole: the branches left out, the dense node as its level 0.

    The dense node is in the table once for each (dataset, model, inference, curriculum, seed);
    here it appears once for each scorer, rewind, search, ranking and pattern that prune it. Works
    on both tables.
    """
    return _whole(frame[frame["branch"].isna()], _SHARED_BY_DENSE, "inner")


def branch_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The branches' rows, those of the dense node once for each trunk that has the branch deeper,
    or as they are where none has."""
    return _whole(frame[frame["branch"].notna()], [*_SHARED_BY_DENSE, "branch"], "left")


def _whole(frame: pd.DataFrame, shared: list[str], how: Literal["inner", "left"]) -> pd.DataFrame:
    dense, pruned = frame[frame["level"] == 0], frame[frame["level"] > 0]
    trunks = pruned[[*shared, *_PRUNED_BY]].drop_duplicates()
    repeated = dense.drop(columns=_PRUNED_BY).merge(trunks, on=shared, how=how)
    whole = pd.concat([repeated[frame.columns], pruned])
    return whole.sort_values(list(COORDINATES), kind="stable", ignore_index=True)


def nearest(densities: pd.Series, wanted: float) -> int | None:
    """The level whose density is nearest, by their ratio; None if no level is about as dense.

    Args:
        densities: by level.
    """
    distances = (densities.sort_index() / wanted).map(math.log).abs()
    close = distances[distances <= math.log(ABOUT)]
    return None if close.empty else int(close.index[int(close.argmin())])


def summary(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean and spread of `value` for each combination of the columns `by`.

    With runs i = 1..n of a group (its seeds; for branches, their replicates too), value x_i, and
    s_i the standard deviation of run i's repeated stochastic passes in the same metric:

        mean = sum_i x_i / n
        sd   = sqrt( sum_i (x_i - mean)^2 / (n - 1)  +  sum_i s_i^2 / n )

    so that one run has the passes' deviation alone, and a column without passes (a density, a
    time) the runs' alone; NaN where neither is known. For an x_i that was itself measured in one
    pass, the first term already holds some of the second: the bands are then too wide rather than
    too narrow, by at most a factor of sqrt(2).

    Returns:
        A row a group, sorted, with the columns `by`, `mean`, `sd` and `seeds`, the number of
        distinct seeds. Runs whose `value` is null are left out.

    Raises:
        InputError: `frame` has no column `value`.
    """
    if value not in frame.columns:
        raise InputError(f"The table has no column {value!r}.")
    metric = next((name for name in MEASURED if value.endswith(f"_{name}")), None)
    passes = frame[f"passes_sd_{metric}"] ** 2 if metric else math.nan
    groups = (
        frame.assign(_value=frame[value], _passes=passes)
        .dropna(subset="_value")
        .groupby(list(by), dropna=False, as_index=False)
        .agg(
            mean=("_value", "mean"),
            _runs=("_value", "var"),
            _passes=("_passes", "mean"),
            seeds=("seed", "nunique"),
        )
    )
    variance = groups[["_runs", "_passes"]].sum(axis="columns", min_count=1)
    return groups.assign(sd=variance**0.5)[[*by, "mean", "sd", "seeds"]]
