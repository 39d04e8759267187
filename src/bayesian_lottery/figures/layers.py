"""Figure 2: how sparse each layer of a ticket is."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bayesian_lottery import results
from bayesian_lottery.figures import NothingToShow, style
from bayesian_lottery.figures.selection import SELECTION, Panel, describe, panels, with_defaults

_PALEST = 0.35  # of the full colour, for the first of the levels
_MARKERS = 12  # a line, however many its layers
_LABEL = "0.2"  # a dark grey: the palest shade would not be legible as text


def draw(runs: None, layers: pd.DataFrame, options: dict) -> Figure:
    """A panel for each model: sparsity against layer, deterministic and Bayesian paired by level.

    Options: `levels` (a list; default the last and, three times, half the level before),
    `scorer` (of the Bayesian lines; default `snr` if present, else the first by name), and
    `dataset`, `models`, `curriculum`, `rewind` (see `selection.panels`).

    Raises:
        InputError: an option is not known.
        NothingToShow: no trunk is left, or none has such a scorer or level.
    """
    options = with_defaults(options, {**SELECTION, "levels": None, "scorer": None})
    pruned = layers[layers["branch"].isna() & (layers["level"] > 0)]
    pruned = _of_levels(_of_scorer(pruned, options["scorer"]), options["levels"])
    shown = panels(pruned, options)
    styles = style.lines({scorer for panel in shown for scorer in panel.rows["scorer"]})

    figure, axes = style.canvas(1, len(shown), sharey=True)
    style.headline(figure, f"{describe(shown)}; labels: % of all weights remaining")
    style.legend(
        figure, [Line2D([], [], **line.properties(), label=line.name) for line in styles.values()]
    )
    axes[0][0].set_ylabel("Weights pruned (%)")
    axes[0][0].set_ylim(-3, 103)
    ends = [_panel(here, panel, styles) for here, panel in zip(axes[0], shown, strict=True)]
    for here, labels in zip(axes[0], ends, strict=True):
        style.label_ends(here, labels)
    return figure


def _of_scorer(pruned: pd.DataFrame, wanted: str | None) -> pd.DataFrame:
    """The deterministic rows, and the Bayesian rows of one scorer."""
    bayesian = pruned["inference"] == "bayesian"
    present = sorted(pruned.loc[bayesian, "scorer"].unique())
    if wanted and wanted not in present:
        raise NothingToShow(
            f"The table holds no Bayesian trunk of scorer {wanted}; it holds {_list(present)}."
        )
    default = "snr" if "snr" in present else next(iter(present), None)
    return pruned[~bayesian | (pruned["scorer"] == (wanted or default))]


def _of_levels(pruned: pd.DataFrame, wanted: list[int] | None) -> pd.DataFrame:
    """The rows of the levels wanted, or the last, its half, quarter and eighth.

    Halves, not equal steps: the later levels differ little, for hardly a weight is left to prune.
    """
    present = sorted(pruned["level"].unique().tolist())
    if not present:
        return pruned
    goals = [present[-1] / divisor for divisor in (1, 2, 4, 8)]
    near = (sorted(present, key=lambda level: (abs(level - goal), -level)) for goal in goals)
    levels = wanted or [levels[0] for levels in near]
    chosen = pruned[pruned["level"].isin(levels)]
    if chosen.empty:
        raise NothingToShow(
            f"The table holds none of the levels {_list(levels)}; it holds {_list(present)}."
        )
    return chosen


def _list(values) -> str:
    return ", ".join(map(str, values)) or "none"


def _panel(axes: Axes, panel: Panel, styles: dict) -> list[tuple]:
    """Draw one panel; return where its lines end, for `style.label_ends`."""
    rows = panel.rows.assign(sparsity=1 - panel.rows["density"])
    points = results.summary(rows, ["scorer", "level", "layer"], "sparsity")
    sizes = rows.groupby("level")[["survivors", "size"]].sum()
    remaining = 100 * sizes["survivors"] / sizes["size"]
    levels = sorted(points["level"].unique())

    ends = {}
    for rank, level in enumerate(reversed(levels)):
        strength = 1 - (1 - _PALEST) * rank / max(len(levels) - 1, 1)
        for scorer, line in styles.items():
            own = points[(points["scorer"] == scorer) & (points["level"] == level)]
            if own.empty:
                continue
            color = style.shade(line.color, strength)
            x, mean, sd = own["layer"], 100 * own["mean"], 100 * own["sd"].fillna(0)
            look = {**line.properties(), "color": color, "markevery": len(x) // _MARKERS + 1}
            axes.plot(x, mean, **look, label=f"{line.label}, level {level}")
            axes.fill_between(x, mean - sd, mean + sd, color=color, alpha=0.15, linewidth=0)
            # One label a level: the pair shares its density, and the last scorer drawn wins.
            ends[level] = (f"{remaining[level]:.3g} %", x.iloc[-1], mean.iloc[-1], _LABEL)
    axes.set_title(panel.model)
    axes.set_xlabel("Layer")
    axes.set_xlim(0.4, points["layer"].max() + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return list(ends.values())
