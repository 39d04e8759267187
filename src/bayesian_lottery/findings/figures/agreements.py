"""Agreement with the long-run sampler: figure 15 and table 3."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayesian_lottery.findings import results
from bayesian_lottery.findings.figures import style
from bayesian_lottery.findings.figures.selection import NothingToShow, rows
from bayesian_lottery.findings.figures.shown import Agreements

# Columns of the table, their words and factors.
_MEASURES = {
    "top1": ("same class as the sampler (%)", 100),
    "total_variation": ("total variation from it", 1),
    "accuracy": ("test accuracy (%)", 100),
}


def draw(plan: Agreements, table: pd.DataFrame, files: Mapping[str, Path]) -> Figure:
    """Draw a row for each measure, a column for each model and density; a point an arm."""
    panels = []
    for where in plan.wheres:
        own = rows(table, where)
        levels = own.groupby("level")["density"].mean()
        if levels.empty:
            continue
        near = [results.nearest(levels, density) for density in plan.densities]
        shown = dict.fromkeys(level for level in near if level is not None)
        for level in shown or [levels.index.max()]:
            panels.append((where["model"], own[own["level"] == level]))
    if not panels:
        raise NothingToShow("No ticket of these models has a sampler.")
    present = {branch for _, own in panels for branch in own["branch"].fillna("")}
    drawn = {branch: each for branch, each in plan.looks.items() if branch in present}
    styles = style.lines(look for look, _ in drawn.values())
    figure, axes = style.canvas(len(_MEASURES), len(panels), wide=True)
    samplers = " and ".join(dict.fromkeys(own["sampler"].iloc[0] for _, own in panels))
    words = f"{plan.shown}; sampler: {samplers}; bars: ±1 SD over seeds and replicates"
    style.headline(figure, words)
    handles = [
        Line2D([], [], **styles[look].point(), linestyle="", label=words)
        for look, words in drawn.values()
    ]
    style.legend(figure, handles)
    for (model, own), column in zip(panels, zip(*axes, strict=True), strict=True):
        percent = f"{100 * own['density'].mean():.3g} %"
        doubt = "" if own["converged"].fillna(True).all() else ", chains disagree"
        column[0].set_title(f"{model}, {percent}{doubt}")
        for measure, here in zip(_MEASURES, column, strict=True):
            _panel(here, own, measure, drawn, styles)
        column[-1].set_xlabel("Gradients of the whole training set")
    for (words, _), (first, *_) in zip(_MEASURES.values(), axes, strict=True):
        first.set_ylabel(words[0].upper() + words[1:])
    return figure


def _panel(
    axes: Axes,
    table: pd.DataFrame,
    measure: str,
    drawn: Mapping[str, tuple[str, str]],
    styles: Mapping[str, style.Line],
) -> None:
    factor, branches = _MEASURES[measure][1], table["branch"].fillna("")
    for branch, (look, words) in drawn.items():
        own = table[branches == branch]
        mean, sd = factor * own[measure].mean(), factor * own[measure].std(ddof=1)
        spent = own["gradients"].mean()
        if not spent > 0:
            continue
        axes.errorbar(
            spent, mean, yerr=0 if np.isnan(sd) else sd, **styles[look].point(),
            elinewidth=0.6, label=words, clip_on=False,
        )  # fmt: skip
    axes.set_xscale("log")
    if measure == "total_variation":
        axes.set_ylim(bottom=0)
