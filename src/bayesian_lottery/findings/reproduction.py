"""What a published study found, in Markdown: a section of the page on what was measured.

All numbers are of the tables. Sentences on what is seen come from the study's `words.yaml`, by the
name of the figure that they are of, or `accuracy`, `branches`, `shifts`, `claims`, `differs` and
`beyond`.
"""

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.findings import published, results
from bayesian_lottery.findings.claims.page import corrected, evidence, more
from bayesian_lottery.findings.columns import COORDINATES, SHIFTED
from bayesian_lottery.findings.figures import FIGURES
from bayesian_lottery.findings.figures.tables import text
from bayesian_lottery.findings.published import Tables
from bayesian_lottery.findings.redrawing import Drawn
from bayesian_lottery.study import LATER, configfiles

DENSITIES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
ABOUT = 0.35  # a level stands for a density that differs from its own by less than this share
LONG = 24  # rows of a table that is folded
_TRUNK = ["dataset", "model", "inference", "scorer", "rewind", *LATER, "curriculum"]
_PARTS = ("accuracy", "branches", "shifts", "claims", "differs", "beyond")


def words(study: Path) -> dict[str, str]:
    """What a person says of a published study, by the part of its section; nothing without a file.

    Raises:
        InputError: there is no such part.
    """
    file = study / "words.yaml"
    said = configfiles.read(file) if file.exists() else {}
    for name in said:
        if name not in (*_PARTS, *FIGURES):
            raise choice(f"{file}", name, [*_PARTS, *FIGURES])
    return {name: " ".join(str(text).split()) for name, text in said.items()}


def section(
    study: Path, scale: str, claims: pd.DataFrame, tables: Tables, drawn: Mapping[str, Drawn]
) -> str:
    """The section of a published study.

    Args:
        study: its folder in `published/`.
        scale: what it is of, and what is reduced against the papers.
        claims: the table of claims.
        tables: the study's.
        drawn: its figures and tables.
    """
    said = words(study)
    by = _differing(tables.runs)
    run = [_quoted(scale), _made(study), _shared(tables.runs, by)]
    parts = {
        "What was run": "\n\n".join(filter(None, run)),
        "Accuracy and calibration": _told(said, "accuracy", _accuracies(tables.runs, by)),
        "Branches": _told(said, "branches", _branches(tables.runs, by)),
        "Under shift": _told(said, "shifts", _shifts(tables.shifts, by)),
        "Claims": _told(said, "claims", _verdicts(claims)),
        "Figures": _figures(study, said, drawn),
        "Where this differs from the papers": said.get("differs", ""),
        "What the papers do not show": said.get("beyond", ""),
    }
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in parts.items() if text)


def scale(configuration: Path) -> str:
    """The comment at the top of a configuration, up to the command that runs it."""
    lines = []
    for line in configuration.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#") or line.startswith("#     "):
            break
        lines.append(line.removeprefix("#").strip())
    return "\n".join(lines).strip()


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _told(said: Mapping[str, str], name: str, table: str) -> str:
    """What is said of a table, above it, which is folded if it is long; nothing without a table."""
    count = table.count("\n") - 1
    if count > LONG:
        table = f"<details><summary>The table: {count} rows</summary>\n\n{table}\n\n</details>"
    return "\n\n".join(filter(None, [said.get(name), table])) if table else ""


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; nothing without rows."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *lines]) * bool(lines)


def _differing(runs: pd.DataFrame) -> list[str]:
    """The coordinates that name a trunk among the study's: those that differ, and the inference."""
    return [name for name in _TRUNK if name == "inference" or runs[name].nunique() > 1]


def _shared(runs: pd.DataFrame, by: Sequence[str]) -> str:
    """What the tables below do not say of each trunk, for it is the same of all."""
    same = [f"{n} {runs[n].dropna().iloc[0]}" for n in _TRUNK if n not in by and runs[n].nunique()]
    return f"All networks: {', '.join(same)}." if same else ""


def _made(study: Path) -> str:
    made = published.units(study)
    for name, unit in made.items():
        for key in ("command", "seeds", "networks", "commits", "devices", "seconds"):
            if key not in unit:
                raise InputError(f"{study / name}/made.json: the key {key!r} is missing.")
    rows = [
        (name, len(unit["seeds"]), unit["networks"], unit.get("left", 0),
         f"{unit['seconds'] / 3600:.2f}", ", ".join(unit["devices"]),
         ", ".join(c[:8] for c in unit["commits"]), _code(unit["command"]))
        for name, unit in made.items()
    ]  # fmt: skip
    head = ["unit", "seeds", "networks", "not done", "hours of jobs", "device", "code", "command"]
    lacking = [
        f"{name} lacks {count} parts of its {table.replace('_', ' ')}"
        for name, unit in made.items()
        for table, count in unit.get("lacking", {}).items()
    ]
    note = f"Not there when published: {'; '.join(lacking)}." if lacking else ""
    return "\n\n".join(filter(None, [markdown_table(head, rows), note]))


def _code(command: str) -> str:
    """A command in a cell of a table, whose columns "|" would divide."""
    return f"<code>{html.escape(command).replace('|', '&#124;')}</code>"


def _at_densities(
    frame: pd.DataFrame, by: Sequence[str], values: Sequence[str]
) -> list[tuple[tuple, pd.Series]]:
    """Means, and deviations over seeds, of columns at the levels nearest to `DENSITIES`.

    Returns:
        Pairs of a group's values of `by` and a row: `density`, `seeds`, and of each column its mean
        and, as `sd_…`, its deviation. Replicates of a seed are averaged first.
    """
    seeds = frame.groupby([*by, "level", "seed"], dropna=False)[["density", *values]].mean()
    levels = seeds.groupby([*by, "level"], dropna=False)
    table = levels.mean().join(levels[list(values)].std().add_prefix("sd_"))
    table["seeds"] = levels.size()
    chosen = []
    for names, group in table.groupby(level=list(by), dropna=False, sort=True):
        distances = {
            wanted: (group["density"] / wanted).map(lambda ratio: abs(ratio - 1))
            for wanted in DENSITIES
        }
        near = [each.argmin() for each in distances.values() if each.min() < ABOUT]
        chosen += [(names, group.iloc[index]) for index in dict.fromkeys(near)]
    return chosen


def _names(values: tuple) -> str:
    return " / ".join(str(value) for value in values if not pd.isna(value))


def _spread(row: pd.Series, column: str, show: Callable[[float], str]) -> str:
    """A mean, and its deviation over seeds where there is one."""
    if pd.isna(row[column]):
        return ""
    deviation = row[f"sd_{column}"]
    return show(row[column]) + ("" if pd.isna(deviation) else f" ± {show(deviation)}")


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _decimals(value: float) -> str:
    return f"{value:.3f}"


def _accuracies(runs: pd.DataFrame, by: Sequence[str]) -> str:
    """Of trunks, at some densities: accuracy of all epochs that are told apart, NLL, ECE, MACE."""
    shown = {
        "final_accuracy": ("last epoch, %", _percent),
        "selected_accuracy": ("epoch chosen on held-out images, %", _percent),
        "peak_accuracy": ("epoch best on test images, %", _percent),
        "final_nll": ("NLL", _decimals),
        "final_ece": ("ECE", _decimals),
        "final_mace": ("MACE", _decimals),
    }
    rows = [
        (_names(names), f"{100 * row['density']:.1f} %",
         *(_spread(row, column, show) for column, (_, show) in shown.items()), int(row["seeds"]))
        for names, row in _at_densities(results.trunk_rows(runs), by, list(shown))
    ]  # fmt: skip
    heads = [words for words, _ in shown.values()]
    return markdown_table(["trunk", "weights remaining", *heads, "seeds"], rows)


def _branches(runs: pd.DataFrame, by: Sequence[str]) -> str:
    """Of branches, at the density of their ticket: final accuracy, and how far from the ticket's.

    Small dense networks have another density than the ticket that they are as large as.
    """
    keys = [*_TRUNK, "level", "seed"]
    tickets = results.trunk_rows(runs)[[*keys, "density", "final_accuracy"]]
    beside = results.branch_rows(runs).merge(tickets, how="left", on=keys, suffixes=("", "_ticket"))
    beside["density"] = beside["density_ticket"].fillna(beside["density"])
    beside["difference"] = beside["final_accuracy"] - beside["final_accuracy_ticket"]
    columns = ["final_accuracy", "difference"]
    rows = [
        (_names(names[:-1]), names[-1], f"{100 * row['density']:.1f} %",
         *(_spread(row, column, _percent) for column in columns), int(row["seeds"]))
        for names, row in _at_densities(beside, [*by, "branch"], columns)
    ]  # fmt: skip
    head = ["trunk", "branch", "weights remaining", "last epoch, %", "less its ticket", "seeds"]
    return markdown_table(head, rows)


def _shifts(shifts: pd.DataFrame, by: Sequence[str]) -> str:
    """Of trunks, at some densities: means over the strengths of a corruption; AUROC."""
    columns = list(SHIFTED)
    of_seed = shifts.groupby([*COORDINATES, "shift"], dropna=False, as_index=False)[
        ["density", *columns]
    ].mean()
    trunks = results.trunk_rows(of_seed)
    rows = [
        (_names(names[:-1]), names[-1], f"{100 * row['density']:.1f} %",
         _spread(row, "accuracy", _percent),
         *(_spread(row, column, _decimals) for column in columns[1:]), int(row["seeds"]))
        for names, row in _at_densities(trunks, [*by, "shift"], columns)
    ]  # fmt: skip
    auroc = ["AUROC of the entropy", "of the mutual information"]
    head = ["trunk", "shift", "weights remaining", "accuracy, %", "NLL", "ECE", *auroc, "seeds"]
    return markdown_table(head, rows)


def _verdicts(claims: pd.DataFrame) -> str:
    judged = claims[claims["verdict"] != "not tested"].fillna({"reason": ""})
    rows = [
        (row.number, row.text, row.dataset, row.model, row.statistic, evidence(row), row.seeds,
         row.verdict, corrected(row), more(row), row.reason)
        for row in judged.itertuples()
    ]  # fmt: skip
    head = ["no.", "claim", "data", "model", "statistic", "estimate [interval]", "seeds", "verdict"]
    head += ["corrected for the number of claims", "more seeds that would decide", "reason"]
    left = len(claims) - len(judged)
    note = f"{left} rows of the table of claims are not tested by this study." if left else ""
    return "\n\n".join(filter(None, [markdown_table(head, rows), note]))


def _figures(study: Path, said: Mapping[str, str], drawn: Mapping[str, Drawn]) -> str:
    """The figures and tables in the paper's order, each with what it shows and what is seen."""
    parts = []
    for name, each in drawn.items():
        number = name.replace("figure", "Figure ").replace("table", "Table ")
        title = f"{number}. {FIGURES[name].title}"
        picture = f"![{title}](../published/{study.name}/{name}.png)"
        shown = markdown_table(*text(each.sheet)) if each.sheet else picture
        counts = " In brackets: how many each mean is over." if each.sheet else ""
        words = f"**{title}**: {each.shown}.{counts} {said.get(name, '')}".rstrip()
        parts.append(f"{shown}\n\n{words}")
    return "\n\n".join(parts)
