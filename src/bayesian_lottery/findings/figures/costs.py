"""Accuracy against what a ticket costs, in seconds and in counted operations: figure 11."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from bayesian_lottery.findings import results
from bayesian_lottery.findings.figures import style
from bayesian_lottery.findings.figures.selection import NothingToShow, rows
from bayesian_lottery.findings.figures.shown import EPOCHS, Cell, Costs, Curve
from bayesian_lottery.findings.savings import spent

_UNITS = {"hours": 3600, "minutes": 60, "seconds": 1}
_FRONTIER: dict[str, Any] = {"color": style.GREY, "linewidth": 0.8, "linestyle": ":", "zorder": 1}


class _Point(NamedTuple):
    """A way to a ticket: its look and name, cost and accuracy (%), and the latter's deviation."""

    look: str
    label: str
    density: float
    cost: float
    accuracy: float
    sd: float


class _Axis(NamedTuple):
    """What tickets cost: a column of the table of runs, its name in one unit, and the unit."""

    column: str
    name: str
    unit: float


def draw(plan: Costs, runs: pd.DataFrame, files: Mapping[str, Path]) -> Figure:
    """Draw a row of panels for each model and density; of the device with most runs.

    Beside each panel of seconds is one of counted operations, where the table has them.
    """
    value = f"{plan.statistic}_accuracy"
    known = runs.dropna(subset=[value, "seconds"])
    if known.empty:
        raise NothingToShow(
            f"No run in the table has a {plan.statistic} result ({EPOCHS[plan.statistic]})."
        )
    device = min(known["device"].dropna().mode(), default=None)
    if device is not None:
        known = known[known["device"] == device]
    columns = [name for name in ("seconds", "flops") if known[name].notna().any()]
    panels = [
        (row.label, density, [
            (column, _points(known, cell, density, plan, value, column))
            for cell in row.cells
            for column in columns
        ])
        for row in plan.rows
        for density in plan.densities
    ]  # fmt: skip
    points = [point for *_, cells in panels for _, cell in cells for point in cell]
    costs = {
        name: [point.cost for *_, cells in panels for column, cell in cells for point in cell
               if column == name]
        for name in columns
    }  # fmt: skip
    scales = {name: _axis(name, costs[name]) for name in columns}
    styles = style.lines(point.look for point in points)

    figure, axes = style.canvas(len(panels), len(plan.titles) * len(columns))
    name = scales["seconds"].name
    where = f"{name} on {device}" if device is not None else name
    style.headline(figure, f"{plan.shown}; {EPOCHS[plan.statistic]}; {where}; bars: ±1 SD")
    labels = {point.look: point.label for point in points}
    handles = [
        Line2D([], [], **line.point(), linestyle="", label=labels[look])
        for look, line in styles.items()
    ]
    style.legend(figure, [*handles, Line2D([], [], **_FRONTIER, label="frontier")])
    titles = [title for title in plan.titles for _ in columns]
    for title, here in zip(titles, axes[0], strict=True):
        here.set_title(title)
    for (label, density, cells), places in zip(panels, axes, strict=True):
        for (column, cell), here in zip(cells, places, strict=True):
            if cell:
                _panel(here, cell, scales[column].unit, styles)
                words = scales[column].name
                here.set_xlabel(f"{words[0].upper()}{words[1:]} to the trained ticket")
            else:
                style.blank(here, f"no ticket of about {100 * density:g} %")
        label = f"{label[0].upper()}{label[1:]}\naccuracy (%)"
        places[0].set_ylabel(f"{label} near {100 * density:g} %")
    return figure


def _points(
    runs: pd.DataFrame, cell: Cell, density: float, plan: Costs, value: str, column: str
) -> list[_Point]:
    found = (_point(rows(runs, c.where), c, density, plan, value, column) for c in cell.curves)
    return [point for point in found if point]


def _point(
    trunk: pd.DataFrame, curve: Curve, density: float, plan: Costs, value: str, column: str
) -> _Point | None:
    """The level nearest to the density, of the seeds that have all that it needs."""
    densities = trunk[trunk["level"] > 0].groupby("level")["density"].mean()
    level = results.nearest(densities, density)
    if level is None:
        return None
    costs = spent(trunk, level, plan.sources[curve.look], column)
    tickets = trunk[(trunk["level"] == level) & trunk["seed"].isin(costs.index)]
    if tickets.empty:
        return None
    [(mean, sd)] = results.summary(tickets, ["level"], value)[["mean", "sd"]].to_numpy()
    spread = 0.0 if pd.isna(sd) else 100 * sd
    return _Point(curve.look, str(curve.label), densities[level], costs.mean(), 100 * mean, spread)


def frontier(points: Sequence[_Point]) -> list[_Point]:
    """The points than which none is both cheaper and more accurate, the cheapest first."""
    best: list[_Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def _panel(
    axes: Axes, points: Sequence[_Point], unit: float, styles: Mapping[str, style.Line]
) -> None:
    for point in points:
        line = styles[point.look]
        axes.errorbar(
            point.cost / unit, point.accuracy, yerr=point.sd, **line.point(),
            elinewidth=0.6, label=point.label,
        )  # fmt: skip
    best = frontier(points)
    prices = [point.cost / unit for point in best]
    heights = [point.accuracy for point in best]
    right = max(point.cost for point in points) / unit
    axes.step(
        [*prices, right], [*heights, heights[-1]], where="post", label="_frontier", **_FRONTIER
    )
    _cost_axis(axes, [point.cost / unit for point in points])
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), min(high, 101))


def _cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    low, high = min(costs), max(costs)
    margin = max((high / low) ** 0.06, 1.05)
    low, high = low / margin, high * margin
    ratio = high / low
    steps = [1, 1.5, 2, 3, 5, 7] if ratio < 5 else [1, 2, 5] if ratio < 50 else [1]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [step * 10.0**power for power in range(-4, 8) for step in steps]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _axis(column: str, costs: Iterable[float]) -> _Axis:
    """The axis of a column: seconds in the largest unit of which the longest time has several."""
    largest = max(costs, default=0)
    if column == "seconds":
        name, unit = next(((n, u) for n, u in _UNITS.items() if largest >= 3 * u), ("seconds", 1))
        return _Axis(column, name, unit)
    power = 3 * max(0, int(math.log10(largest / 3)) // 3) if largest else 0
    return _Axis(column, f"$10^{{{power}}}$ FLOPs" if power else "FLOPs", 10.0**power)
