"""Minutes a level, and what transplantation saves: table 1."""

import html
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pandas as pd

from bayesian_lottery.files import atomic
from bayesian_lottery.findings.figures.selection import rows
from bayesian_lottery.findings.figures.shown import Times
from bayesian_lottery.findings.savings import NotMeasured, savings

_STUDY = ["dataset", "curriculum", "model"]
_ROW = [*_STUDY, "device"]
_KINDS = ("deterministic", "bayesian", "transplanted")
_MEASURES = {
    "deterministic": "Deterministic (min)",
    "bayesian": "Bayesian (min)",
    "ratio": "Bayesian / deterministic",
    "transplanted": "Transplanted (min)",
    "saving": "Saved by transplanting (%)",
}
_STYLE = """
body {font: 15px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222}
table {border-collapse: collapse} th, td {padding: .35em .9em; text-align: right}
th {border-bottom: 2px solid #222; vertical-align: bottom} td {border-bottom: 1px solid #ddd}
.name {text-align: left} small {color: #666; display: block}
"""


def draw(plan: Times, runs: pd.DataFrame, files: Mapping[str, Path]) -> pd.DataFrame:
    """A row for each dataset, curriculum, model and device, which are never averaged together.

    Of each measure there are a mean, the standard deviation (`_sd`) and the number (`_n`) that it
    is over: minutes over nodes (a level of a trunk each, or a transplanted ticket); `ratio` over
    pairs of a seed's levels that exist in both kinds; `saving` over seeds, in per cent of finding
    and training the ticket of the last transplanted level, for the trunks that the plan names.
    """
    runs = runs.assign(minutes=runs["seconds"] / 60, kind=runs["inference"])
    transplanted = runs["branch"].str.startswith("transplant").fillna(False)
    runs.loc[transplanted, "kind"] = "transplanted"
    levels = runs[runs["branch"].isna() | transplanted]
    measured = {
        kind: levels[levels["kind"] == kind].groupby(_ROW)["minutes"] for kind in _KINDS
    } | {
        "ratio": _ratios(levels).groupby(_ROW)["ratio"],
        "saving": _savings(runs, plan).groupby(_ROW)["saving"],
    }
    columns: dict[str, pd.Series] = {}
    for name in _MEASURES:
        columns[name] = measured[name].mean()
        columns[f"{name}_sd"] = measured[name].std()
        columns[f"{name}_n"] = measured[name].count()
    table = pd.DataFrame(columns).rename_axis(_ROW).reset_index()
    counts = [f"{name}_n" for name in _MEASURES]
    return table.assign(**table[counts].fillna(0).astype(int))


def _ratios(levels: pd.DataFrame) -> pd.DataFrame:
    """Bayesian over deterministic minutes of each seed's level."""
    pairs = levels.pivot_table(index=[*_ROW, "seed", "level"], columns="kind", values="minutes")
    pairs = pairs.reindex(columns=_KINDS)
    return (pairs["bayesian"] / pairs["deterministic"]).dropna().rename("ratio").reset_index()


def _savings(runs: pd.DataFrame, plan: Times) -> pd.DataFrame:
    """What transplanting saves, in per cent: a row a seed (see `savings`)."""
    found = [pd.DataFrame(columns=[*_ROW, "saving"], dtype="float64")]
    for study, own in runs.groupby(_STUDY) if plan.saving else ():
        with suppress(NotMeasured):
            saved = savings(*(rows(own, where) for where in plan.saving))
            names = dict(zip(_STUDY, map(str, study), strict=True))
            found.append(saved.assign(**names, saving=100 * saved["share"]))
    return pd.concat(found)


def save(table: pd.DataFrame, path: str | Path) -> None:
    """Write the table, atomically: all of it as CSV, or rounded for reading as HTML."""
    with atomic(path) as temporary:
        if Path(path).suffix == ".csv":
            table.to_csv(temporary, index=False, lineterminator="\n")
        else:
            temporary.write_text(_page(table), encoding="utf-8")


def _page(table: pd.DataFrame) -> str:
    heads = "".join(f'<th class="name">{name.capitalize()}</th>' for name in _ROW)
    heads += "".join(f"<th>{words}</th>" for words in _MEASURES.values())
    lines = "".join(
        "<tr>"
        + "".join(f'<td class="name">{html.escape(str(row[name]))}</td>' for name in _ROW)
        + "".join(f"<td>{_cell(row, name)}</td>" for name in _MEASURES)
        + "</tr>\n"
        for row in table.to_dict("records")
    )
    return (
        f"<!DOCTYPE html>\n<meta charset='utf-8'><title>Minutes a level</title>"
        f"<style>{_STYLE}</style>\n<table><tr>{heads}</tr>\n{lines}</table>\n"
    )


def _cell(row: Mapping, name: str) -> str:
    """Mean and deviation, to three digits of the mean, and, small, the number they are over."""
    mean, count = row[name], row[f"{name}_n"]
    if not count:
        return "–"
    digits = max(0, 2 - math.floor(math.log10(abs(mean)))) if mean else 0
    spread = f" ± {row[f'{name}_sd']:.{digits}f}" if count > 1 else ""
    return f"{mean:.{digits}f}{spread}<small>n = {count}</small>"
