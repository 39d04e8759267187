"""Traces of chains, and how far they agree: figure 16."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_arrays
from bayesian_lottery.findings.figures import style
from bayesian_lottery.findings.figures.selection import NothingToShow
from bayesian_lottery.findings.figures.shown import PROBABILITIES, Chains

_COLORS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
_FEWEST = 4  # draws a chain, of which there is a split R-hat
_POINTS = 25  # of the line of R-hat


def draw(plan: Chains, runs: pd.DataFrame, files: Mapping[str, Path]) -> Figure:
    """Each chain's log-likelihood of the test images; R-hat of it as draws come, and in the end of
    class probabilities.

    Raises:
        NothingToShow: the draws of a chain are not given.
        InputError: a file is missing or holds no draws, or the chains are of different lengths.
    """
    for name in plan.chains:
        if name not in files:
            raise NothingToShow(f"The file {name!r} is not given: the draws of a chain.")
    arrays = {name: _read(files[name]) for name in plan.chains}
    likelihoods = np.stack([own["log_likelihood"].astype(float) for own in arrays.values()])
    figure, ((above, growth, spread),) = style.canvas(1, 3, wide=True, width_ratios=[1.6, 1, 1])
    style.headline(figure, f"{plan.shown}; {len(arrays)} chains of {likelihoods.shape[1]} draws")
    for index, (name, own) in enumerate(zip(arrays, likelihoods, strict=True)):
        color, faint = _COLORS[index % len(_COLORS)], 0.55 if len(arrays) > 1 else 1
        above.plot(
            range(1, len(own) + 1), own, color=color, marker="", linewidth=0.7, alpha=faint,
            label=name,
        )  # fmt: skip
    above.set(xlabel="Draw that was kept", ylabel="Test log-likelihood (nats)")
    _growth(growth, likelihoods, plan.limit)
    _probabilities(spread, [own["probabilities"] for own in arrays.values()], plan.limit)
    return figure


def _read(path: Path) -> dict[str, np.ndarray]:
    arrays, _ = read_arrays(path)
    for name in ("log_likelihood", "probabilities"):
        if name not in arrays:
            raise InputError(f"{path}: no draws of a sampler, it lacks the tensor {name!r}.")
    return arrays


def _growth(axes: Axes, chains: np.ndarray, limit: float) -> None:
    """R-hat of the first so many draws of chains (chains, draws)."""
    draws = chains.shape[1]
    counts = np.unique(np.linspace(min(_FEWEST, draws), draws, _POINTS).astype(int))
    values = [_rhat(chains[:, :count]) for count in counts]
    axes.plot(counts, values, color=style.BLACK, marker=".", label="R-hat")
    axes.axhline(limit, color=style.GREY, linestyle=":", linewidth=0.8, label=f"{limit}")
    axes.set(xlabel="Draws a chain", ylabel="Split R-hat of it")
    known = [value for value in values if np.isfinite(value)]
    axes.set_ylim(0.99, max([1.1, *known]) + 0.01)
    _annotate(axes, values[-1])


def _probabilities(axes: Axes, chains: Sequence[np.ndarray], limit: float) -> None:
    """R-hat of class probabilities of the first images, those that draws change."""
    whole = np.stack([chain.reshape(len(chain), -1)[:, :PROBABILITIES] for chain in chains])
    moving = whole[..., np.ptp(whole.astype(float), (0, 1)) > 0].astype(float)
    values = np.array([_rhat(moving[..., index]) for index in range(moving.shape[-1])])
    known = values[np.isfinite(values)]
    if not len(known):
        style.blank(axes, "no probability moves")
        return
    axes.hist(known.clip(max=2), bins=30, color=style.SKY)
    axes.axvline(limit, color=style.GREY, linestyle=":", linewidth=0.8)
    axes.set(xlabel=f"Split R-hat of {len(known)} class probabilities", ylabel="How many")
    _annotate(axes, float(np.quantile(known, 0.95)), "95 % are below ")


def _annotate(axes: Axes, value: float, words: str = "in the end ") -> None:
    text = f"{words}{value:.3g}" if np.isfinite(value) else "too few draws"
    axes.set_title(text, loc="right", fontweight="normal", fontsize="medium")


def _rhat(chains: np.ndarray) -> float:
    """Split R-hat, rank-normalised and folded (Vehtari et al. 2021), of (chains, draws)."""
    from arviz_stats.base import array_stats  # here, for it takes seconds to load

    if chains.shape[1] < _FEWEST:
        return np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a division by 0
        return float(array_stats.rhat(chains))
