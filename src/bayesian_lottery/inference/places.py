"""Survivors put into their places among zeros."""

import torch
import torch.nn.functional as F
from torch import Tensor


class Places:
    """Where each entry of a row of n survivors belongs in a row of N dense entries.

    Args:
        source: (N,) of each dense entry the column of its survivor, or n where it is pruned.
        count: n.
        device: where rows are.
        every: whether every survivor has a place.
    """

    def __init__(self, source: Tensor, count: int, device: torch.device, every: bool = True):
        # The inverse, N where there is none; by a scatter, since then no shape depends on values.
        places = source.new_full((count + 1,), len(source))
        places = places.scatter_(0, source, torch.arange(len(source), device=source.device))
        self.source, self.places = source.int().to(device), places[:count].int().to(device)
        self.every = every


def placed(rows: Tensor, places: Places) -> Tensor:
    """Rows (S, N), with zeros where pruned, of rows (S, n) of survivors."""
    return _Placed.apply(rows, places)


class _Placed(torch.autograd.Function):
    # Entries are selected both ways: GPUs do that fast and in one order, and scatters not so.

    @staticmethod
    def forward(ctx, rows: Tensor, places: Places) -> Tensor:
        ctx.places = places
        return F.pad(rows, (0, 1)).index_select(1, places.source)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        places = ctx.places
        gradient = gradient if places.every else F.pad(gradient, (0, 1))
        return gradient.index_select(1, places.places), None
