"""Panels of a metric against the weights that remain: figures 1 and 4 to 9."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayesian_lottery.findings import results
from bayesian_lottery.findings.figures import style
from bayesian_lottery.findings.figures.selection import NothingToShow, rows
from bayesian_lottery.findings.figures.shown import EPOCHS, Cell, Curve, Grid, Row

_METRICS = {  # label, factor
    "accuracy": ("test accuracy (%)", 100),
    "mace": ("test MACE", 1),
    "ece": ("test ECE", 1),
    "auc": ("test AUC", 1),
    "average_precision": ("test average precision", 1),
}
_FROM_ZERO = ("mace", "ece")  # errors, whose axis starts at 0
# Of chains that have not converged to one distribution.
_DISAGREE: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 7, "fillstyle": "none"}
_DENSE: dict[str, Any] = {"linestyle": "--", "linewidth": 0.8, "zorder": 1}


def draw(plan: Grid, runs: pd.DataFrame, files: Mapping[str, Path]) -> Figure:
    """Draw the grid; every panel has axes of its own."""
    epoch = EPOCHS[plan.statistic]
    known = runs.dropna(subset=f"{plan.statistic}_accuracy")
    if known.empty:
        raise NothingToShow(f"No run in the table has a {plan.statistic} result ({epoch}).")
    for row in plan.rows:
        if known[f"{plan.statistic}_{row.metric}"].isna().all():
            raise NothingToShow(f"No run in the table has {_METRICS[row.metric][0]}.")
    cells = [cell for row in plan.rows for cell in row.cells]
    styles = style.lines(look for cell in cells for look in cell.looks)

    beside = (_end(curve, styles[curve.look]) for cell in cells for curve in cell.curves)
    figure, axes = style.canvas(len(plan.rows), len(plan.titles), plan.wide, beside)
    bands = "bands: ±1 SD over runs and passes"
    style.headline(figure, f"{plan.shown}; {epoch}; {bands}")
    style.legend(figure, [*_handles(cells, styles), *_warning(known, cells)])
    for title, here in zip(plan.titles, axes[0], strict=True):
        here.set_title(title)
    ends = []
    for row, places, below in zip(plan.rows, axes, [*plan.rows[1:], None], strict=True):
        label = "\n".join(filter(None, [row.label, _METRICS[row.metric][0]]))
        for column, (cell, here) in enumerate(zip(row.cells, places, strict=True)):
            if cell.curves:
                ends.append((here, _panel(here, known, row, cell, plan.statistic, styles)))
                here.set_ylabel(label[0].upper() + label[1:])
                label = " "  # the first panel's is for all
                if below and below.against == row.against and below.cells[column].curves:
                    here.set_xlabel("")
                    here.tick_params(labelbottom=False)
            else:
                here.set_axis_off()
    style.label_ends(figure, ends)
    return figure


def _panel(
    axes: Axes,
    runs: pd.DataFrame,
    row: Row,
    cell: Cell,
    statistic: str,
    styles: Mapping[str, style.Line],
) -> list[tuple]:
    """Draw one panel; return where its lines end, for `style.label_ends`."""
    value, factor = f"{statistic}_{row.metric}", _METRICS[row.metric][1]
    scale = 100 if row.against == "density" else 1
    for look, where in cell.dense.items():
        height = factor * rows(runs, where)[value].mean()
        axes.axhline(height, color=styles[look].color, **_DENSE)
    ends, remaining = [], []
    for curve in cell.curves:
        own = rows(runs, curve.where)
        points = results.summary(own, ["level", row.against], value)
        if points.empty:
            continue
        line = styles[curve.look]
        label = curve.label or line.label
        x, mean = scale * points[row.against].astype(float), factor * points["mean"]
        sd = factor * points["sd"].fillna(0)
        axes.plot(x, mean, **line.properties(), label=label)
        axes.fill_between(x, mean - sd, mean + sd, color=line.color, alpha=0.18, linewidth=0)
        open_ = points["level"].isin(own["level"][results.disagreeing(own)])
        if open_.any():
            axes.plot(x[open_], mean[open_], color=line.color, **_DISAGREE)
        ends.append((_end(curve, line), x.iloc[-1], mean.iloc[-1], line.color))
        remaining += [*x]
    style.weights_axis(axes, remaining, per_cent=row.against == "density")
    # A band may leave the range that the metric has; the axis does not.
    low, high = axes.get_ylim()
    axes.set_ylim(0 if row.metric in _FROM_ZERO else max(low, 0), min(high, 1.01 * factor))
    return ends


def _end(curve: Curve, line: style.Line) -> str:
    """What stands at the end of a line."""
    return curve.short or curve.label or line.label


def _warning(runs: pd.DataFrame, cells: Sequence[Cell]) -> list[Line2D]:
    """A legend entry for points that rest on chains which disagree, if there are any."""
    wheres = (curve.where for cell in cells for curve in cell.curves)
    if not any(results.disagreeing(rows(runs, where)).any() for where in wheres):
        return []
    return [Line2D([], [], color=style.GREY, **_DISAGREE, label="chains disagree")]


def _handles(cells: Sequence[Cell], styles: Mapping[str, style.Line]) -> list[Line2D]:
    """A legend entry for each look, unless its label differs from panel to panel; lines of dense
    networks come last."""
    labels: dict[str, set[str | None]] = {}
    for curve in (curve for cell in cells for curve in cell.curves):
        labels.setdefault(curve.look, set()).add(curve.label)
    handles, dense = [], []
    for look, line in styles.items():
        if look not in labels:
            dense.append(Line2D([], [], color=line.color, **_DENSE, label=line.name))
        elif len(labels[look]) == 1:
            name = next(iter(labels[look])) or line.name
            handles.append(Line2D([], [], **line.properties(), label=name))
    if any(look in labels for cell in cells for look in cell.dense):
        dense.append(Line2D([], [], color=style.GREY, **_DENSE, label="dense, in each colour"))
    return handles + dense
