"""How a mask moves in training: rewired at a fixed density, or thinned by a schedule.

torch is imported by the type checker only; masks bring their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bayesian_lottery.tickets import masks

if TYPE_CHECKING:
    from torch import Size, Tensor

Scores = Mapping[str, "Tensor"]


def erdos_renyi(shapes: Mapping[str, Size]) -> dict[str, int]:
    """Shares of layers by which each one's density is proportional to sum / product of its shape.

    That is the Erdos-Renyi-Kernel distribution (Evci et al. 2020, section 3 (1)), and for linear
    layers that of Mocanu et al. 2018, equation 3.
    """
    return {name: sum(shape) for name, shape in shapes.items()}


def cosine(share: float, step: int, last: int) -> float:
    """The share of survivors that a move after `step` of `last` steps replaces (Evci, sec. 3)."""
    return share / 2 * (1 + math.cos(math.pi * step / last))


def rewire(mask: masks.Mask, dropping: Scores, growing: Scores, share: float) -> masks.Mask:
    """Drop floor(share x survivors) of every layer, those of the lowest scores, and grow as many.

    Of what is not kept, weights dropped just now included, those of the highest `growing` scores
    are grown; so every layer keeps its count (Evci et al. 2020, algorithm 1).

    Raises:
        InputError: a score is NaN.
    """
    moved = {}
    for name, layer in mask.items():
        kept = int(layer.sum())
        count = int(share * kept)
        left = _keep(layer, dropping[name], kept - count)
        moved[name] = left | _keep(~left, growing[name], count)
    return moved


def _keep(layer: Tensor, scores: Tensor, count: int) -> Tensor:
    own = {"layer": layer}
    return masks.keep(own, masks.comparable(own, {"layer": scores}), count)["layer"]


def cubic(weights: int, count: int, progress: float) -> int:
    """How many of `weights` survive when `progress` of the pruning, from 0 to 1, is done.

    At the end `count` do (Zhu & Gupta 2017, equation 1).
    """
    return count + round((weights - count) * (1 - progress) ** 3)
