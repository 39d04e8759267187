"""Figure 1: accuracy and calibration of IMP tickets against the weights that remain."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayesian_lottery import results
from bayesian_lottery.errors import choice
from bayesian_lottery.figures import NothingToShow, style
from bayesian_lottery.figures.selection import SELECTION, Panel, describe, panels, with_defaults

_EPOCHS = {
    "peak": "best epoch on test images",
    "final": "last epoch",
    "selected": "epoch chosen on validation",
}
_METRICS = {"accuracy": ("Test accuracy (%)", 100), "mace": ("Test MACE", 1)}  # label, factor
_DENSE = {
    "deterministic": (style.BLACK, "dense, deterministic"),
    "bayesian": (style.GREY, "dense, Bayesian"),
}


def draw(runs: pd.DataFrame, layers: None, options: dict) -> Figure:
    """A column of two panels for each model, accuracy above MACE; a line a scorer.

    Options: `statistic` ("peak", "final" or "selected": the epoch whose network is shown),
    `dataset`, `models`, `curriculum`, `rewind` (see `selection.panels`).

    Raises:
        InputError: an option is not known.
        NothingToShow: no trunk is left, or none has the statistic.
    """
    options = with_defaults(options, {**SELECTION, "statistic": "peak"})
    statistic = options["statistic"]
    if statistic not in _EPOCHS:
        raise choice("figure option statistic", statistic, _EPOCHS)
    known = runs.dropna(subset=f"{statistic}_accuracy")
    if known.empty:
        raise NothingToShow(f"No run in the table has a {statistic} result ({_EPOCHS[statistic]}).")

    shown = panels(results.trunk_rows(known), options)
    styles = style.lines({scorer for panel in shown for scorer in panel.rows["scorer"]})
    figure, axes = style.canvas(len(_METRICS), len(shown), sharex="col")
    style.headline(figure, f"{describe(shown)}; bands: ±1 SD over seeds and repeated passes")
    inferences = {name for panel in shown for name in panel.rows["inference"]}
    style.legend(figure, _handles(styles, [name for name in _DENSE if name in inferences]))

    ends = []
    for column, panel in enumerate(shown):
        axes[0][column].set_title(panel.model)
        for line, metric in enumerate(_METRICS):
            here = axes[line][column]
            ends.append((here, _panel(here, panel, f"{statistic}_{metric}", metric, styles)))
        style.weights_axis(axes[-1][column], panel.rows["density"])
        axes[0][column].set_xlabel("")
    for line, (name, _) in enumerate(_METRICS.values()):
        axes[line][0].set_ylabel(f"{name},\n{_EPOCHS[statistic]}")
    for here, labels in ends:
        style.label_ends(here, labels)
    return figure


def _panel(axes: Axes, panel: Panel, value: str, metric: str, styles: dict) -> list[tuple]:
    """Draw one panel; return where its lines end, for `style.label_ends`."""
    factor = _METRICS[metric][1]
    points = results.summary(panel.rows, ["scorer", "level", "density"], value)
    dense = panel.rows[panel.rows["level"] == 0].drop_duplicates(["inference", "seed"])
    for inference, height in dense.groupby("inference")[value].mean().items():
        color, _ = _DENSE[inference]
        axes.axhline(factor * height, color=color, linestyle="--", linewidth=0.8, zorder=1)

    ends = []
    for scorer, line in styles.items():
        own = points[points["scorer"] == scorer]
        if own.empty:
            continue
        x, mean, sd = 100 * own["density"], factor * own["mean"], factor * own["sd"].fillna(0)
        axes.plot(x, mean, **line.properties(), label=line.label)
        axes.fill_between(x, mean - sd, mean + sd, color=line.color, alpha=0.18, linewidth=0)
        ends.append((line.label, x.iloc[-1], mean.iloc[-1], line.color))
    # A band may leave the range that the metric has; the axis does not. An error starts at 0.
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0) if metric == "accuracy" else 0, min(high, 1.01 * factor))
    return ends


def _handles(styles: dict, inferences: list[str]) -> list[Line2D]:
    scorers = [Line2D([], [], **line.properties(), label=line.name) for line in styles.values()]
    dense = [
        Line2D([], [], color=color, linestyle="--", linewidth=0.8, label=label)
        for color, label in map(_DENSE.get, inferences)
    ]
    return scorers + dense
