"""The distance of masks from epoch to epoch as dense networks were watched: figure 12."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bayesian_lottery.findings.figures import style
from bayesian_lottery.findings.figures.selection import NothingToShow
from bayesian_lottery.findings.figures.shown import Curve, Distances


def draw(plan: Distances, distances: pd.DataFrame, files: Mapping[str, Path]) -> Figure:
    """A panel for each model and inference: a line a level and seed, marked where it is drawn."""
    styles = style.lines(str(rank) for rank, _ in enumerate(plan.levels, 1))
    looks = dict(zip(plan.levels, styles.values(), strict=True))
    figure, axes = style.canvas(len(plan.rows), len(plan.titles))
    style.headline(figure, f"{plan.shown}; a line a seed; marks: the mask that is drawn")
    shown: set[int] = set()
    for title, here in zip(plan.titles, axes[0], strict=True):
        here.set_title(title)
    for row, places in zip(plan.rows, axes, strict=True):
        for cell, here in zip(row.cells, places, strict=True):
            drawn = [_panel(here, distances, curve, looks) for curve in cell.curves]
            if not any(drawn):
                style.blank(here, "no network was watched")
            shown.update(*drawn)
        places[0].set_ylabel(f"{row.label[0].upper()}{row.label[1:]}\nnew survivors (%)")
    if not shown:
        raise NothingToShow("The table has nothing of the levels that are shown.")
    handles = [
        Line2D([], [], **line.properties(), label=f"level {level}")
        for level, line in looks.items()
        if level in shown
    ]
    style.legend(figure, handles)
    return figure


def _panel(
    axes: Axes, distances: pd.DataFrame, curve: Curve, looks: Mapping[int, style.Line]
) -> list[int]:
    """Draw one panel; return the levels that it has."""
    own = _rows(distances, curve.where)
    levels = [level for level in looks if (own["level"] == level).any()]
    for level in levels:
        for _, seed in own[own["level"] == level].groupby("seed"):
            _line(axes, seed.sort_values("epoch"), looks[level])
    axes.set_xlabel("Epoch")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return levels


def _rows(distances: pd.DataFrame, where: Mapping) -> pd.DataFrame:
    """The rows of coordinates that the table has."""
    for name in where.keys() & set(distances.columns):
        distances = distances[distances[name] == where[name]]
    return distances


def _line(axes: Axes, seen: pd.DataFrame, line: style.Line) -> None:
    known = seen.dropna(subset="distance")
    look = {**line.properties(), "marker": ""}
    axes.plot(known["epoch"], 100 * known["distance"], linewidth=0.8, **look)
    drawn = seen[seen["drawn"].astype(bool)].fillna({"distance": 0})  # none after the first epoch
    axes.plot(drawn["epoch"], 100 * drawn["distance"], line.marker, color=line.color, markersize=6)
