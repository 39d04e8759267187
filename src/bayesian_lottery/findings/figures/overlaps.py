"""What masks have in common, layer by layer: figure 13."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bayesian_lottery.findings import results
from bayesian_lottery.findings.figures import style
from bayesian_lottery.findings.figures.selection import rows
from bayesian_lottery.findings.figures.shown import Cell, Curve, Overlaps
from bayesian_lottery.study.nodes import LATER


def draw(plan: Overlaps, overlaps: pd.DataFrame, files: Mapping[str, Path]) -> Figure:
    """A row of panels for each model and density, a line a way, its points layers.

    A panel in which there is nothing to compare says why.
    """
    panels = [
        (row, density, [_lines(overlaps, cell, density) for cell in row.cells])
        for row in plan.rows
        for density in plan.densities
    ]
    drawn = {look: label for *_, lines in panels for each in lines for look, label, _ in each}
    styles = style.lines(drawn)
    figure, axes = style.canvas(len(panels), len(plan.titles))
    text = "masks against those of the iterative search; bands: ±1 SD over seeds"
    style.headline(figure, f"{plan.shown}; {text}")
    style.legend(
        figure,
        [Line2D([], [], **line.properties(), label=drawn[n]) for n, line in styles.items()],
    )
    for title, here in zip(plan.titles, axes[0], strict=True):
        here.set_title(title)
    for (row, density, lines), places in zip(panels, axes, strict=True):
        for cell, own, here in zip(row.cells, lines, places, strict=True):
            if own:
                _panel(here, own, styles)
            else:
                style.blank(here, _missing(overlaps, cell, density))
        label = f"{row.label[0].upper()}{row.label[1:]}\nJaccard beyond chance"
        places[0].set_ylabel(f"{label}\nnear {100 * density:g} %")
    return figure


def _missing(overlaps: pd.DataFrame, cell: Cell, density: float) -> str:
    """Why a panel is empty."""
    if not cell.curves:
        return f"no search {LATER['search']} to compare with"
    if all(_rows(overlaps, curve).empty for curve in cell.curves):
        return "no masks to compare"
    return f"no ticket of about {100 * density:g} %"


def _lines(
    overlaps: pd.DataFrame, cell: Cell, density: float
) -> list[tuple[str, str, pd.DataFrame]]:
    """Look, label, and mean and spread by layer, of the level nearest to the density."""
    found = []
    for curve in cell.curves:
        own = _rows(overlaps, curve)
        sums = own.groupby("level")[["survivors", "size"]].sum()
        level = results.nearest(sums["survivors"] / sums["size"], density)
        at = own[own["level"] == level].dropna(subset="beyond") if level is not None else own[:0]
        if len(at):
            summed = results.summary(at, ["layer"], "beyond")
            found.append((curve.look, str(curve.label), summed))
    return found


def _rows(overlaps: pd.DataFrame, curve: Curve) -> pd.DataFrame:
    return rows(overlaps, {k: v for k, v in curve.where.items() if k != "branch"})


def _panel(axes: Axes, lines: list, styles: Mapping[str, style.Line]) -> None:
    for look, label, points in lines:
        x, mean, sd = points["layer"], points["mean"], points["sd"].fillna(0)
        axes.plot(x, mean, **styles[look].properties(), label=label)
        axes.fill_between(x, mean - sd, mean + sd, color=styles[look].color, alpha=0.12, lw=0)
    axes.axhline(0, color=style.GREY, linewidth=0.8, linestyle=":", zorder=1)
    axes.set_xlabel("Layer")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.02))  # a band may leave the range, the axis not
