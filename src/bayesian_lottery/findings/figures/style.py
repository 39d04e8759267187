"""The look that all figures share: one style a word, labels at line ends, files that repeat."""

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator, StrMethodFormatter

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import atomic

# Okabe and Ito's palette, told apart with any kind of colour vision. Its yellow is left out: too
# light for a line on white.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"

# Inches: a journal's column; a panel beside others, one with long labels, and the height of both;
# a line of text at 8 points, and an entry of a legend.
ONE_COLUMN, PANEL, WIDE, HEIGHT, TEXT, ENTRY = 3.4, 2.4, 3.4, 1.75, 0.155, 2.3
_EDGE = 1.03  # where texts beside a panel start, of its width
_END, _CHARACTER = 18, 0.065  # how many characters a panel has room for beside it; inches of one
_BLANK = 24  # characters a line in a panel

End = tuple[str, float, float, Any]  # of a line: its text, x, y and colour


@dataclass(frozen=True)
class Line:
    """How a line looks wherever it is drawn; in one figure colour, marker and dashes differ."""

    label: str  # at the line's end
    name: str  # in the legend
    color: str
    marker: str
    dashes: str | tuple = "-"

    def properties(self) -> dict:
        """The keyword arguments of `Axes.plot`."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.dashes}

    def point(self) -> dict[str, Any]:
        """Those of a single point: hollow where the line is dashed."""
        filled = self.color if self.dashes == "-" else "white"
        own = {"color": self.color, "marker": self.marker, "markersize": 5}
        return {**own, "markerfacecolor": filled}


_DASHED, _DOTTED, _LONG = (0, (4, 1.5)), (0, (1, 1.2)), (0, (8, 2))
_DASH_DOT = (0, (5, 1.2, 1, 1.2))

_COLORS = (BLACK, BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
_WAYS: list[tuple[str, str, str | tuple]] = [  # the colours twice, with other markers and dashes
    *zip(_COLORS, "os^DPvX", ["-"] * 7, strict=True),
    *zip(_COLORS, "<>hpd8H", [_DASHED] * 7, strict=True),
]

# Looks that never share a figure may share a colour, a marker and dashes.
LINES: Mapping[str, Line] = {
    # Scorers.
    "magnitude": Line("magnitude", "magnitude |w| (deterministic)", BLACK, "o"),
    "snr": Line("SNR", "SNR |μ|/σ (Bayesian)", BLUE, "s"),
    "mu": Line("mu", "mu |μ| (Bayesian)", VERMILLION, "^", _DASHED),
    "square": Line("square", "square √(μ² + σ²) (Bayesian)", GREEN, "D", _DASH_DOT),
    # A ticket and its randomisations.
    "ticket": Line("ticket", "ticket: mask and weights", BLACK, "o"),
    "reinit": Line("reinit", "weights reinitialised", ORANGE, "v", _DASHED),
    "shuffle_layerwise": Line("layerwise", "mask shuffled in layers", GREEN, "<", _LONG),
    "shuffle_even": Line("even", "mask shuffled evenly", SKY, "X", _DASH_DOT),
    "shuffle_global": Line("global", "mask shuffled globally", PURPLE, "P", _DOTTED),
    # Tickets by the network that they were found in and are trained in.
    "deterministic": Line("determ.", "deterministic ticket", BLACK, "o"),
    "bayesian": Line("Bayesian", "Bayesian ticket", BLUE, "s"),
    "transplant_initial": Line("transpl.", "transplanted, initial weights", VERMILLION, "^"),
    "transplant_trained": Line("trained", "transplanted, trained weights", GREEN, "D", _DASHED),
    # Kinds of inference and rewinds.
    "deterministic_imp": Line("det. IMP", "deterministic, IMP", BLACK, "o"),
    "deterministic_lrr": Line("det. LRR", "deterministic, LRR", ORANGE, "v", _DASHED),
    "deterministic_late": Line("det. late", "deterministic, late", GREEN, "D", _DASH_DOT),
    "bayesian_imp": Line("Bay. IMP", "Bayesian, IMP", BLUE, "s"),
    "bayesian_lrr": Line("Bay. LRR", "Bayesian, LRR", VERMILLION, "^", _DASHED),
    "bayesian_late": Line("Bay. late", "Bayesian, late", PURPLE, "P", _DOTTED),
    # Names that the user chose, by rank.
    "1": Line("1", "1", BLUE, "s"),
    "2": Line("2", "2", VERMILLION, "^", _DASHED),
    "3": Line("3", "3", GREEN, "D", _DASH_DOT),
    "4": Line("4", "4", PURPLE, "P", _DOTTED),
    "5": Line("5", "5", ORANGE, "v", _LONG),
    "6": Line("6", "6", BLACK, "o"),
    # Ways to a ticket, by rank.
    **{
        f"way{rank}": Line(f"way{rank}", f"way{rank}", color, marker, dashes)
        for rank, (color, marker, dashes) in enumerate(_WAYS, 1)
    },
    # What else the masks of the papers' way are compared with.
    "other_seed": Line("seed", "another seed", GREY, "*", _DASH_DOT),
    "other_inference": Line("inference", "another inference", GREY, ".", _DOTTED),
    # Dense networks.
    "dense_deterministic": Line("dense", "dense, deterministic", BLACK, ""),
    "dense_bayesian": Line("dense", "dense, Bayesian", GREY, ""),
}
_SPARE = [(ORANGE, "v", _LONG), (PURPLE, "P", _DOTTED), (SKY, "X", _DASHED)]


def lines(names: Iterable[str]) -> dict[str, Line]:
    """The styles of the looks `names`, in the order of the legend.

    A name that `LINES` does not know gets a spare style, so that a new scorer can be drawn at
    once.
    """
    names = set(names)
    known = {name: line for name, line in LINES.items() if name in names}
    unknown = sorted(names - set(LINES))
    words = (re.sub("^dense_", "dense, ", name) for name in unknown)
    return known | {
        name: Line(name, said, *_SPARE[i % len(_SPARE)])
        for i, (name, said) in enumerate(zip(unknown, words, strict=True))
    }


def shade(color: str, strength: float) -> tuple[float, float, float]:
    """`color` mixed with white: 1 is the colour itself, 0 white."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(color))
    return red, green, blue


def applied(path: str | Path) -> AbstractContextManager:
    """A context in which the style file at `path` holds, over matplotlib's own defaults.

    A user's matplotlibrc has no say, so that the same table gives the same figure everywhere.
    """
    try:
        return matplotlib.style.context(Path(path).resolve(strict=True), after_reset=True)
    except OSError as error:
        raise InputError(f"{path}: no readable style file ({error.strerror}).") from None


def canvas(
    rows: int, columns: int, wide: bool = False, ends: Iterable[str] = (), **subplots
) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure of `rows` by `columns` panels, one journal column wide at least.

    It belongs to no window system: pyplot, which would look for one, is never imported.

    Args:
        ends: what is written beside panels; for long ones they get more room.
    """
    longer = max(0, max(map(len, ends), default=0) - _END)
    width = max(ONE_COLUMN, (WIDE if wide else PANEL) * columns) + _CHARACTER * longer * columns
    labels = 4 * TEXT
    figure = Figure(figsize=(width, HEIGHT * rows + labels))
    return figure, figure.subplots(rows, columns, squeeze=False, **subplots).tolist()


def headline(figure: Figure, text: str) -> None:
    """One sentence above the panels, broken into lines that fit; the figure grows by them."""
    per_line = int(figure.get_figwidth() * 14.5)  # characters an inch at 8 points
    rows = len(textwrap.wrap(text, per_line, break_long_words=False))
    for width in range(per_line, 0, -1):  # the narrowest, so that no last line is left short
        narrower = textwrap.wrap(text, width, break_long_words=False)
        if len(narrower) > rows:
            break
        lines = narrower
    figure.set_figheight(figure.get_figheight() + TEXT * len(lines))
    figure.suptitle("\n".join(lines))


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """A legend below the panels, in as many columns as fit; the figure grows by its rows."""
    if not handles:
        return
    columns = min(len(handles), int(figure.get_figwidth() // ENTRY) or 1)
    rows = math.ceil(len(handles) / columns)
    figure.set_figheight(figure.get_figheight() + TEXT * (rows + 0.5))
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)


def blank(axes: Axes, words: str) -> None:
    """Let a panel in which nothing is drawn say why."""
    axes.set(xticks=[], yticks=[])
    text = "\n".join(textwrap.wrap(words, _BLANK))
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def weights_axis(axes: Axes, remaining: Iterable[float], per_cent: bool) -> None:
    """A logarithmic axis of the weights remaining, from the dense network at the left downwards.

    It starts at 100 per cent, or at the greatest number of weights.
    """
    remaining = list(remaining)
    low, high = min(remaining), 100 if per_cent else max(remaining)
    margin = (high / low) ** 0.04 if low < high else 1.05
    if per_cent and low >= 40:
        ticks = [100, 90, 80, 70, 60, 50, 40]
    else:
        steps = (1, 2, 3, 5) if low > high / 8 else (1, 2, 5) if low > high / 25 else (1, 3)
        ticks = [step * 10**power for power in range(-2, 10) for step in steps]
    axes.set_xscale("log")
    axes.set_xlim(high * margin, low / margin)
    shown = [tick for tick in ticks if low / margin <= tick <= high * margin]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    if per_cent:
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel("Weights remaining (%)")
    else:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel("Weights remaining")


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move `positions` as little as possible until all are `gap` apart within [low, high].

    The least sum of squared moves that keeps the order; where [low, high] is too short for all,
    the gap shrinks.
    """
    if not positions:
        return []
    count = len(positions)
    gap = min(gap, (high - low) / max(count - 1, 1))
    order = sorted(range(count), key=positions.__getitem__)
    # Less rank * gap, "at least a gap apart" reads "never falling": isotonic regression, by
    # pooling neighbours that fall into blocks at their mean.
    blocks: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        mean, size = positions[index] - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, members = blocks.pop()
            mean = (before * members + mean * size) / (members + size)
            size += members
        blocks.append((mean, size))
    level = [mean for mean, size in blocks for _ in range(size)]
    top = high - (count - 1) * gap
    moved = [0.0] * count
    for rank, index in enumerate(order):
        moved[index] = min(max(level[rank], low), top) + rank * gap
    return moved


def label_ends(figure: Figure, panels: Sequence[tuple[Axes, Sequence[End]]]) -> None:
    """Write beside each panel the texts of its lines' ends, a hairline leading to each end.

    The texts stand at the height of their points, moved apart where they would overlap. Call it
    once the axes' limits are final.
    """
    written = [(axes, ends, [_beside(axes, *end) for end in ends]) for axes, ends in panels]
    figure.draw_without_rendering()  # the layout decides how many points a panel is high
    for axes, ends, texts in written:
        bottom, top = axes.get_window_extent().intervaly
        gap = 1.05 * max((text.get_window_extent().height for text in texts), default=0)
        to_pixels, to_data = axes.transData, axes.transData.inverted()
        wanted = [to_pixels.transform((x, y))[1] for _, x, y, _ in ends]
        for text, pixel in zip(texts, spread(wanted, gap, bottom, top), strict=True):
            text.set_y(to_data.transform((0, pixel))[1])


def _beside(axes: Axes, text: str, x: float, y: float, color: Any) -> Annotation:
    return axes.annotate(
        text, xy=(x, y), xytext=(_EDGE, y), textcoords=axes.get_yaxis_transform(), va="center",
        color=color,
        arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "shrinkA": 1,
                    "shrinkB": 3, "relpos": (0, 0.5)},
        annotation_clip=False,
    )  # fmt: skip


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure as PNG or PDF, atomically; the same figure gives the same bytes.

    So the file carries neither a date nor the version of matplotlib.
    """
    nobody = {
        ".png": {"Software": None},
        ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    }
    suffix = Path(path).suffix
    with atomic(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], metadata=nobody[suffix])
