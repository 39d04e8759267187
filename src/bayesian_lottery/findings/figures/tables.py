"""Tables of means, with their deviations and the numbers that they are over, as CSV and HTML, and
as text for other pages."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bayesian_lottery.files import atomic
from bayesian_lottery.study.nodes import suffix

_STYLE = """
body {font: 15px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222}
table {border-collapse: collapse} th, td {padding: .35em .9em; text-align: right}
th {border-bottom: 2px solid #222; vertical-align: bottom} td {border-bottom: 1px solid #ddd}
.name {text-align: left} small {color: #666; display: block}
"""


@dataclass(frozen=True)
class Sheet:
    """A table to write.

    title: of the page.
    table: of each measure a mean, the standard deviation (`_sd`) and the number (`_n`) it is over.
    names: the columns that name a row.
    measures: the words of each measure's column.
    """

    title: str
    table: pd.DataFrame
    names: Sequence[str]
    measures: Mapping[str, str]


def averaged(groups: Mapping[str, Any], names: Sequence[str]) -> pd.DataFrame:
    """The table of measures, each a group-by of its values by the columns `names`."""
    columns: dict[str, pd.Series] = {}
    for name, values in groups.items():
        columns[name] = values.mean()
        columns[f"{name}_sd"] = values.std()
        columns[f"{name}_n"] = values.count()
    table = pd.DataFrame(columns).rename_axis(list(names)).reset_index()
    counts = [f"{name}_n" for name in groups]
    return table.assign(**table[counts].fillna(0).astype(int))


def ticket(row: Mapping) -> str:
    """How a row's level was found, as its folder has it; of a dense network "dense"."""
    if row["level"] == 0:
        return "dense"
    return f"{row['scorer']}_{row['rewind']}{suffix(row)}"


def save(sheet: Sheet, path: str | Path) -> None:
    """Write the table, atomically: all of it as CSV, or rounded for reading as HTML."""
    with atomic(path) as temporary:
        if Path(path).suffix == ".csv":
            sheet.table.to_csv(temporary, index=False, lineterminator="\n")
        else:
            temporary.write_text(_page(sheet), encoding="utf-8")


def text(sheet: Sheet) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table as text; behind means, the numbers that they are over."""
    head = [*(name.capitalize() for name in sheet.names), *sheet.measures.values()]
    rows = [
        [str(row[name]) for name in sheet.names] + [_text(row, name) for name in sheet.measures]
        for row in sheet.table.to_dict("records")
    ]
    return head, rows


def _text(row: Mapping, name: str) -> str:
    count = row[f"{name}_n"]
    return f"{_mean(row, name)} ({count})" if count else "–"


def _page(sheet: Sheet) -> str:
    heads = "".join(f'<th class="name">{name.capitalize()}</th>' for name in sheet.names)
    heads += "".join(f"<th>{words}</th>" for words in sheet.measures.values())
    lines = "".join(
        "<tr>"
        + "".join(f'<td class="name">{html.escape(str(row[name]))}</td>' for name in sheet.names)
        + "".join(f"<td>{_cell(row, name)}</td>" for name in sheet.measures)
        + "</tr>\n"
        for row in sheet.table.to_dict("records")
    )
    return (
        f"<!DOCTYPE html>\n<meta charset='utf-8'><title>{sheet.title}</title>"
        f"<style>{_STYLE}</style>\n<table><tr>{heads}</tr>\n{lines}</table>\n"
    )


def _cell(row: Mapping, name: str) -> str:
    """Mean and deviation and, small, the number they are over."""
    count = row[f"{name}_n"]
    return f"{_mean(row, name)}<small>n = {count}</small>" if count else "–"


def _mean(row: Mapping, name: str) -> str:
    """Mean and deviation, to three digits of the mean."""
    mean, count = row[name], row[f"{name}_n"]
    digits = max(0, 2 - math.floor(math.log10(abs(mean)))) if mean else 0
    spread = f" ± {row[f'{name}_sd']:.{digits}f}" if count > 1 else ""
    return f"{mean:.{digits}f}{spread}"
