"""Masks: which weights of a network are kept.

A mask is a mapping from the names of all prunable weights, in network order, to bool tensors of the
weights' shapes; True is kept. Functions take a mask and return a new one.

torch is imported where it is used: `branches`, whose names the workflow reads, imports this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_arrays, write_tensors
from bayesian_lottery.tickets.rankings import left

if TYPE_CHECKING:
    import torch

Mask = dict[str, "torch.Tensor"]


def ones(shapes: Mapping[str, torch.Size]) -> Mask:
    """The dense mask: everything is kept."""
    import torch

    return {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}


def size(mask: Mask) -> int:
    """The number of prunable weights."""
    return sum(layer.numel() for layer in mask.values())


def survivors(mask: Mask) -> int:
    """The number of weights kept."""
    return sum(int(layer.sum()) for layer in mask.values())


def check(mask: Mask, shapes: Mapping[str, torch.Size]) -> None:
    """Raise `InputError` unless `mask` covers exactly the weights `shapes`, by name and shape."""
    for name in [*shapes, *mask]:
        given = tuple(mask[name].shape) if name in mask else "absent"
        wanted = tuple(shapes[name]) if name in shapes else "absent"
        if given != wanted:
            raise InputError(f"mask of {name}: its shape is {given}, the network's is {wanted}.")


def comparable(mask: Mask, scores: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`scores` of the mask's names and shapes, as float64 on the CPU.

    Raises:
        InputError: a survivor's score is NaN, or the names or shapes differ.
    """
    check(mask, {name: score.shape for name, score in scores.items()})
    found = {name: scores[name].detach().cpu().double() for name in mask}
    if any(found[name][layer].isnan().any() for name, layer in mask.items()):
        raise InputError("scores: a surviving weight's score is NaN; nothing was pruned.")
    return found


def prune(mask: Mask, scores: Mapping[str, torch.Tensor], fraction: float) -> Mask:
    """Prune exactly floor(fraction x survivors) of the survivors, those of the lowest scores.

    Args:
        mask: what is kept so far.
        scores: a float tensor of the weight's shape for each name of the mask.
        fraction: the share of the survivors to prune, in [0, 1).

    Raises:
        InputError: as `comparable` does.
    """
    return keep(mask, comparable(mask, scores), left(survivors(mask), fraction))


def keep(mask: Mask, scores: Mapping[str, torch.Tensor], count: int) -> Mask:
    """Prune all survivors but the `count` of the highest scores, if there are more.

    One ranking over all layers (global pruning); of equal scores the first in network order goes.

    Args:
        mask: what is kept so far.
        scores: as `comparable` gives them.
        count: how many weights stay.
    """
    import torch

    kept = torch.cat([layer.flatten() for layer in mask.values()])
    index = kept.nonzero().squeeze(1)
    score = torch.cat([scores[name].flatten() for name in mask])[index]
    surplus = max(0, len(index) - count)
    kept[index[torch.argsort(score, stable=True)[:surplus]]] = False
    return _split(mask, kept)


def shuffle_layerwise(mask: Mask, stream: torch.Generator) -> Mask:
    """Survivors at random places of their own layer: every layer keeps its count."""
    counts = {name: int(layer.sum()) for name, layer in mask.items()}
    return random(mask, counts, stream)


def shuffle_even(mask: Mask, stream: torch.Generator) -> Mask:
    """Survivors at random places, every layer at the global density, exact to the integer."""
    sizes = {name: layer.numel() for name, layer in mask.items()}
    return random(mask, allocate(sizes, sizes, survivors(mask)), stream)


def allocate(sizes: Mapping[str, int], shares: Mapping[str, int], count: int) -> dict[str, int]:
    """`count` survivors dealt out to layers in proportion to `shares`, exact to the integer.

    A layer whose share is more than its size gets its size, and the others what it leaves. Each
    part is rounded down, and what is left goes to the layers with the largest remainders, first
    come first served.
    """
    full: dict[str, int] = {}
    while True:
        rest = {name: share for name, share in shares.items() if name not in full}
        free, total = count - sum(full.values()), sum(rest.values())
        over = [name for name, share in rest.items() if free * share > sizes[name] * total]
        if not over:
            break
        full |= {name: sizes[name] for name in over}
    parts = {name: divmod(free * share, total) for name, share in rest.items()}
    counts = full | {name: whole for name, (whole, _) in parts.items()}
    missing = count - sum(counts.values())
    for name in sorted(parts, key=lambda name: -parts[name][1])[:missing]:
        counts[name] += 1
    return {name: counts[name] for name in sizes}


def shuffle_global(mask: Mask, stream: torch.Generator) -> Mask:
    """Survivors at random places of the whole network: only their total stays."""
    import torch

    kept = torch.cat([layer.flatten() for layer in mask.values()])
    return _split(mask, kept[torch.randperm(len(kept), generator=stream)])


def random(mask: Mask, counts: Mapping[str, int], stream: torch.Generator) -> Mask:
    """A mask of the same shapes with `counts` survivors a layer at random places."""
    import torch

    shuffled = {}
    for name, layer in mask.items():
        kept = torch.arange(layer.numel()) < counts[name]
        shuffled[name] = kept[torch.randperm(len(kept), generator=stream)].view_as(layer)
    return shuffled


def _split(mask: Mask, kept: torch.Tensor) -> Mask:
    """The flat `kept` of all layers as a mask of `mask`'s names and shapes."""
    parts = kept.split([layer.numel() for layer in mask.values()])
    return {name: part.view_as(mask[name]) for name, part in zip(mask, parts, strict=True)}


def apply(mask: Mask, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`tensors` with the pruned entries of those that the mask names set to zero."""
    import torch

    return {
        name: torch.where(mask[name], tensor, 0) if name in mask else tensor
        for name, tensor in tensors.items()
    }


def save(path: str | Path, mask: Mask) -> None:
    """Write `mask` atomically, one bit a weight; equal masks give equal bytes."""
    import numpy as np
    import torch

    packed = {name: torch.from_numpy(np.packbits(layer.numpy())) for name, layer in mask.items()}
    write_tensors(path, packed, [[name, list(layer.shape)] for name, layer in mask.items()])


def load(path: str | Path) -> Mask:
    """Read what `save` wrote.

    Raises:
        InputError: the file is missing, truncated or not a mask.
    """
    import torch

    return {name: torch.from_numpy(layer) for name, layer in load_arrays(path).items()}


def load_arrays(path: str | Path) -> dict:
    """`load`, as numpy arrays and without torch."""
    import numpy as np

    packed, layers = read_arrays(path)
    if not isinstance(layers, list) or {name for name, _ in layers} != packed.keys():
        raise InputError(f"{path}: not a mask file.")
    mask = {}
    for name, shape in layers:
        count = math.prod(shape)
        if packed[name].dtype != np.uint8 or packed[name].size != (count + 7) // 8:
            raise InputError(f"{path}: the bits of {name} do not fit its shape {tuple(shape)}.")
        mask[name] = np.unpackbits(packed[name], count=count).astype(bool).reshape(shape)
    return mask
