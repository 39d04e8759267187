"""Figures as tests draw and read them."""

from pathlib import Path

import synthetic
from synthetic_posteriors import TOLD

from bayesian_lottery.findings import figures, results
from bayesian_lottery.findings.figures import NothingToShow, style

ROOT = Path(__file__).parents[2]
STYLE = ROOT / "config/figures.mplstyle"


def tables(folder: Path, nodes) -> dict:
    """The tables of runs and of layers of made-up metrics."""
    runs, layers, _ = results.tables(synthetic.write(folder, nodes))
    return {"runs": runs, "layers": layers}


def draw(name: str, tables: dict, files=None, **options):
    """The figure of a made-up study, in the project's style."""
    with style.applied(STYLE):
        return figures.draw(name, tables, {**TOLD, **options}, files)


def missing(name: str, nodes, options) -> str | None:
    """Why `nodes` cannot feed the figure; None if they can."""
    try:
        figures.plan(name, nodes, {**TOLD, **options})
    except NothingToShow as reason:
        return str(reason)


def lines(axes) -> dict:
    """The labelled lines of a panel: matplotlib names the others with an underscore."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def dashed(axes) -> list:
    """The level lines of a panel."""
    return [line for line in axes.lines if line.get_label().startswith("_")]


def said(figure) -> str:
    """The sentence above the panels."""
    return figure.get_suptitle().replace("\n", " ")


def line_of(runs, value="peak_accuracy", **where) -> tuple:
    """Weights remaining and the mean of `value`, both in per cent, at the last level of `where`."""
    runs = results.shown(runs)
    for name, wanted in where.items():
        runs = runs[runs[name].isna() if wanted is None else (runs[name] == wanted).fillna(False)]
    last = runs[runs["level"] == runs["level"].max()]
    return 100 * last["density"].iloc[0], 100 * last[value].mean()


def ends(line) -> tuple:
    """Where a line ends."""
    return line.get_xdata()[-1], line.get_ydata()[-1]
