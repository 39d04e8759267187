"""The explorer: one HTML file in which a study's curves, runs and claims are looked through.

Vega-Lite draws, from scripts that vl-convert carries, so that the file needs no network. The curves
are means over seeds and their spread, computed here by the rule that the figures share
(`results.summary`); the browser picks from them and computes nothing. The page's parts lie beside
this module: `page.html`, `page.css`, `page.js`.
"""

import json
import re
import shlex
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import pandas as pd

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import results
from bayesian_lottery.findings.claims.branches import TICKET
from bayesian_lottery.findings.columns import COORDINATES, MEASURED, RUN_DTYPES, SHIFTED
from bayesian_lottery.findings.figures.shown import EPOCHS
from bayesian_lottery.study import LATER, Node

_OF_A_RUN = ("seed", "level", "replicate")  # all other coordinates name a curve
_STATISTICS = {**EPOCHS, "early_stopping": "step of the lowest validation NLL"}  # column -> words
_SHOWN_OF_RUNS = ("seed", "replicate", "survivors", "seconds", "device")
_DIGITS = 5  # significant
_SNIPPET = "window.vegaEmbed = vegaEmbed;"  # what of Vega's scripts the page uses


def page(
    runs: pd.DataFrame,
    claims: pd.DataFrame,
    folder: str,
    configfiles: Sequence[str] = (),
    shifts: pd.DataFrame | None = None,
) -> str:
    """The explorer of a study, as HTML.

    Args:
        runs: the table of runs.
        claims: the table of claims.
        folder: the study's folder of results, as its commands spell it.
        configfiles: the study's, as its commands take them.
        shifts: the table of shifts.

    Raises:
        InputError: the table of runs is empty.
    """
    import vl_convert  # here, because loading its 80 MB takes a second

    known = json.dumps(study(runs, claims, folder, configfiles, shifts), separators=(",", ":"))
    parts = {
        "STYLE": _file("page.css"),
        "VEGA": vl_convert.javascript_bundle(_SNIPPET).replace("</script", "<\\/script"),
        "STUDY": known.replace("<", "\\u003c"),  # no name may end the script
        "SCRIPT": _file("page.js"),
    }
    return re.sub("<!--(.*?)-->", lambda mark: parts[mark[1]], _file("page.html"))


def _file(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")


def study(
    runs: pd.DataFrame,
    claims: pd.DataFrame,
    folder: str,
    configfiles: Sequence[str] = (),
    shifts: pd.DataFrame | None = None,
) -> dict:
    """What the page knows: curves by their coordinates, their points, the runs of each, claims.

    A point is a level of a curve. Points and runs are columns, which take half as many bytes as
    rows; a point names its runs by their position. Numbers have five significant digits.
    """
    if runs.empty:
        raise InputError("The table of runs is empty; there is nothing to explore.")
    shifted = _shifted(shifts)
    runs = runs.merge(shifted.values, how="left", on=list(COORDINATES))
    runs = runs.rename_axis("run").reset_index()
    names = [name for name in COORDINATES if name not in _OF_A_RUN]
    rows = pd.concat([results.trunk_rows(runs), results.branch_rows(runs)])
    rows["branch"] = rows["branch"].fillna(TICKET)
    rows["curve"] = rows.groupby(names, dropna=False).ngroup()
    rows["point"] = rows.groupby(["curve", "level"]).ngroup()
    curves = rows.groupby("curve")[names].first().astype(object)
    points = rows.groupby("point").agg(
        curve=("curve", "first"), level=("level", "first"), density=("density", "mean"),
        runs=("run", list),
    )  # fmt: skip
    measured = {**_measured(runs), **shifted.columns}
    means = {column: _summary(rows, column) for column in measured}
    return {
        "coordinates": names,
        "columns": measured,
        "statistics": {**_STATISTICS, **shifted.statistics},
        "curves": curves.where(curves.notna(), "dense").to_numpy().tolist(),
        "points": {
            **{name: _plain(points[name]) for name in ("curve", "level", "density")},
            "runs": points["runs"].tolist(),
            "mean": {column: _plain(found["mean"]) for column, found in means.items()},
            "sd": {column: _plain(found["sd"]) for column, found in means.items()},
        },
        "runs": {
            **{name: _plain(runs[name]) for name in (*_SHOWN_OF_RUNS, *measured)},
            "folder": [f"{folder}/{Node(**node).folder}" for node in _nodes(runs)],
        },
        "claims": json.loads(claims.to_json(orient="records")),
        "options": f" --configfile {shlex.join(configfiles)}" if configfiles else "",
    }


class _Shifted(NamedTuple):
    """What the table of shifts adds to that of runs: a column a shift, strength and metric.

    columns: as `_measured` gives them.
    statistics: what the shifts are called.
    """

    values: pd.DataFrame
    columns: dict[str, list[str]]
    statistics: dict[str, str]


def _shifted(shifts: pd.DataFrame | None) -> _Shifted:
    keys = list(COORDINATES)
    if shifts is None or shifts.empty:
        return _Shifted(pd.DataFrame(columns=keys).astype(COORDINATES), {}, {})
    corrupted = shifts["strength"].notna()
    strength = shifts["strength"].astype("string")
    words = ("last epoch, " + shifts["shift"] + " of strength " + strength).where(
        corrupted, "last epoch, told from " + shifts["shift"]
    )
    named = shifts.assign(statistic=(shifts["shift"] + " " + strength).where(corrupted, words))
    metrics = [name for name in SHIFTED if shifts[name].notna().any()]
    wide = named.pivot(index=keys, columns="statistic", values=metrics).dropna(axis=1, how="all")
    pairs = [tuple(map(str, pair))[::-1] for pair in wide.columns]
    columns = {f"{statistic}_{metric}": [statistic, metric] for statistic, metric in pairs}
    wide.columns = pd.Index(columns)
    statistics = dict(zip(named["statistic"], words, strict=True))
    return _Shifted(wide.reset_index(), columns, statistics)


def _measured(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Column -> statistic and metric, of the columns of results that are not all empty."""
    split = {
        f"{statistic}_{metric}": [statistic, metric]
        for statistic in _STATISTICS
        for metric in (*MEASURED, "step")
    }
    return {name: of for name, of in split.items() if name in runs and runs[name].notna().any()}


def _summary(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean and spread of a column at every point; NaN where no run has it.

    Repeated passes are of the test images as they are, so they say nothing of shifted ones.
    """
    plain = column if column in RUN_DTYPES else "value"
    found = results.summary(rows.rename(columns={column: plain}), ["point"], plain)
    found = found.set_index("point")
    return found.reindex(range(rows["point"].max() + 1))


def _nodes(runs: pd.DataFrame) -> list[dict]:
    """The coordinates of every run, as `Node` takes them."""
    return [
        {name: value for name, value in node.items() if name not in LATER or value is not None}
        for node in results.nodes(runs)
    ]


def _plain(column: pd.Series) -> list:
    """A column as JSON has it: rounded, and None where there is no value."""
    return [None if pd.isna(v) else _rounded(v) for v in column.tolist()]


def _rounded(value):
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
