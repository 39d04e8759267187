"""Sparsity layer by layer: figure 2."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bayesian_lottery.findings import results
from bayesian_lottery.findings.figures import style
from bayesian_lottery.findings.figures.selection import rows
from bayesian_lottery.findings.figures.shown import Layers

_PALEST = 0.35  # of the full colour, for the first of the levels
_MARKERS = 12  # a line, however many its layers
_LABEL = "0.2"  # a dark grey: the palest shade would not be legible as text


def draw(plan: Layers, layers: pd.DataFrame, files: Mapping[str, Path]) -> Figure:
    """A panel for each model: a line a scorer and level, light to dark."""
    styles = style.lines(curve.look for cell in plan.cells for curve in cell.curves)
    figure, axes = style.canvas(1, len(plan.cells), sharey=True)
    style.headline(figure, f"{plan.shown}; labels: % of all weights remaining")
    style.legend(
        figure, [Line2D([], [], **line.properties(), label=line.name) for line in styles.values()]
    )
    axes[0][0].set_ylabel("Weights pruned (%)")
    axes[0][0].set_ylim(-3, 103)
    ends = []
    for title, cell, here in zip(plan.titles, plan.cells, axes[0], strict=True):
        here.set_title(title)
        lines = [(styles[curve.look], rows(layers, curve.where)) for curve in cell.curves]
        ends.append((here, _panel(here, lines, plan.levels)))
    style.label_ends(figure, ends)
    return figure


def _panel(
    axes: Axes, lines: Sequence[tuple[style.Line, pd.DataFrame]], levels: Sequence[int]
) -> list[tuple]:
    """Draw one panel; return where its lines end, for `style.label_ends`."""
    ends = {}
    for line, layers in lines:
        own = layers.assign(sparsity=1 - layers["density"])
        points = results.summary(own, ["level", "layer"], "sparsity")
        sizes = own.groupby("level")[["survivors", "size"]].sum()
        remaining = 100 * sizes["survivors"] / sizes["size"]
        for rank, level in enumerate(reversed(levels)):
            at = points[points["level"] == level]
            if at.empty:
                continue
            color = style.shade(line.color, 1 - (1 - _PALEST) * rank / max(len(levels) - 1, 1))
            x, mean, sd = at["layer"], 100 * at["mean"], 100 * at["sd"].fillna(0)
            look = {**line.properties(), "color": color, "markevery": len(x) // _MARKERS + 1}
            axes.plot(x, mean, **look, label=f"{line.label}, level {level}")
            axes.fill_between(x, mean - sd, mean + sd, color=color, alpha=0.15, linewidth=0)
            # One label a level: the pair shares its density, and the last scorer drawn wins.
            ends[level] = (f"{remaining[level]:.3g} %", x.iloc[-1], mean.iloc[-1], _LABEL)
    axes.set_xlabel("Layer")
    axes.set_xlim(0.4, max(layers["layer"].max() for _, layers in lines) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return list(ends.values())
