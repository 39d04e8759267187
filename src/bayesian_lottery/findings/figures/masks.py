"""One layer of a ticket's mask and what randomisations make of it: figure 3."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from bayesian_lottery.files import read_arrays
from bayesian_lottery.findings.figures import style
from bayesian_lottery.findings.figures.selection import NothingToShow
from bayesian_lottery.findings.figures.shown import Masks
from bayesian_lottery.tickets.masks import load_arrays

_ROWS, _COLUMNS = 40, 120  # of a larger layer, the corner that is shown
_WIDEST, _TALLEST, _TITLE, _BARS = 4.4, 1.2, 2.9, 1.8  # inches: a picture, its title, the bars
_COLORS = "managua"  # dark in the middle: a small weight differs from the white of a pruned one

Mask = dict[str, np.ndarray]


def draw(plan: Masks, runs: pd.DataFrame, files: Mapping[str, Path]) -> Figure:
    """A row for the ticket and each randomisation: one layer weight by weight, and all layers.

    Survivors are coloured by their initial values. Those of `reinit` are drawn here from the
    distribution that the run drew its own from, which are not kept.

    Raises:
        NothingToShow: a file is not given.
        InputError: a file is missing or no such file, or there is no such layer.
    """
    for name in [*plan.masks, "initial"]:
        if name not in files:
            raise NothingToShow(f"The file {name!r} is not given: a mask, or the initial weights.")
    masks = {name: load_arrays(files[name]) for name in plan.masks}
    layer = plan.layer_of({name: each.size for name, each in masks["ticket"].items()})
    weights, _ = read_arrays(files["initial"])
    initial = _matrix(weights[layer])
    bound = initial.shape[1] ** -0.5  # weights start within 1 / sqrt(fan_in)
    anew = np.random.default_rng(0).uniform(-bound, bound, initial.shape)

    tall, wide = sorted(initial.shape)
    tall, wide = min(tall, _ROWS), min(wide, _COLUMNS)
    square = min(_WIDEST / wide, _TALLEST / tall)
    width, height = max(square * wide, _TITLE), len(masks) * (square * tall + 2 * style.TEXT)
    figure = Figure(figsize=(width + _BARS + 0.5, height + 4 * style.TEXT))
    axes = figure.subplots(
        len(masks), 2, squeeze=False, sharex="col", sharey="col", width_ratios=[width, _BARS]
    )
    style.headline(figure, f"{plan.shown}; layer {layer}, {' x '.join(map(str, initial.shape))}")
    for (name, mask), (picture, bars) in zip(masks.items(), axes, strict=True):
        values = np.where(_matrix(mask[layer]), anew if name == "reinit" else initial, np.nan)
        image = _picture(picture, values, bound)
        kept = f"{np.count_nonzero(mask[layer])} of {mask[layer].size} kept"
        picture.set_title(f"{style.LINES[name].name}, {kept}", loc="left", fontweight="normal")
        _bars(bars, mask, layer)
    axes[0][1].set_title("Weights kept (%)", loc="left", fontweight="normal")
    axes[-1][1].set_xlabel("Layer")
    scale = picture.inset_axes((0, -0.2, 1, 0.08))
    label = "Initial value of a survivor (white: pruned)"
    bar = figure.colorbar(image, cax=scale, orientation="horizontal", label=label)
    bar.locator = MaxNLocator(5)
    return figure


def _picture(axes: Axes, values: np.ndarray, bound: float) -> AxesImage:
    """A square a weight: the longer side, inputs or outputs, lies flat."""
    flat = values.T if values.shape[0] > values.shape[1] else values
    image = axes.imshow(
        flat[:_ROWS, :_COLUMNS], cmap=_COLORS, vmin=-bound, vmax=bound, interpolation="nearest"
    )
    axes.grid(False)
    axes.set(xticks=[], yticks=[], anchor="W")
    axes.spines[:].set_visible(True)
    return image


def _bars(axes: Axes, mask: Mask, layer: str) -> None:
    """The share of weights that each layer keeps, the layer of the picture in colour."""
    kept = [100 * part.mean() for part in mask.values()]
    colors = [style.BLUE if name == layer else style.GREY for name in mask]
    axes.bar(range(1, len(kept) + 1), kept, color=colors)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _matrix(weight: np.ndarray) -> np.ndarray:
    """A row an output; all inputs, of all places of a convolution's window, beside each other."""
    return weight.reshape(len(weight), -1)
