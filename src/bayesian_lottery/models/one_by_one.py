"""Modules that take weight samples one at a time, for code that cannot carry them side by side."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesian_lottery.models.layers import BatchNorm2d


class OneByOne(nn.Module):
    """A module whose calls with S samples of weights, or K networks', are S·K calls with one.

    Parameters and buffers hold blocks in dimension 0, as `layers` says: 1, K or S·K of them,
    sample-major, so that the block of call g is g modulo their number. The logits are those that
    layers in the channel dimension give, (B, S·K·classes).

    Attributes:
        rows: of each parameter and buffer the size of a block; 0 of scalars.
        channels: those of an image.
    """

    rows: dict[str, int]
    channels: int

    def forward(self, images: Tensor) -> Tensor:
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        counts = {name: self._count(name, tensor) for name, tensor in tensors.items()}
        calls = max(counts.values())
        if calls == 1:
            return super().forward(images)
        norms = [layer for layer in self.modules() if isinstance(layer, BatchNorm2d)]
        turns = [norm.turn for norm in norms]
        members = max((n.weight.numel() // n.num_features for n in norms), default=1)
        logits = []
        for call in range(calls):
            for norm, turn in zip(norms, turns, strict=True):
                norm.turn = turn and _part(turn, call // members, calls // members)
            own = {
                name: self._block(name, tensor, call % counts[name])
                for name, tensor in tensors.items()
            }
            logits.append(functional_call(self, own, (self._images(images, call),)))
        for norm, turn in zip(norms, turns, strict=True):
            norm.turn = turn
        return torch.cat(logits, 1)

    def _count(self, name: str, tensor: Tensor) -> int:
        size = self.rows[name]
        if size == 0:
            return tensor.numel()
        return len(tensor) // size

    def _block(self, name: str, tensor: Tensor, index: int) -> Tensor:
        """A view, so that running statistics move in place."""
        size = self.rows[name]
        if size == 0:
            return tensor[index] if tensor.dim() else tensor
        return tensor[index * size : (index + 1) * size]

    def _images(self, images: Tensor, call: int) -> Tensor:
        """The images of a call, where all calls do not share them."""
        shared = images.shape[1] == self.channels
        start = 0 if shared else call * self.channels
        return images[:, start : start + self.channels]


def _part(turn: tuple[int, int, int], sample: int, samples: int) -> tuple[int, int, int]:
    """The turn of one of the samples that a pass computes, in units of which they have one each."""
    start, stop, total = turn
    first, width = start * samples, stop - start
    return first + sample * width, first + (sample + 1) * width, total * samples


def one_by_one(model: nn.Module, channels: int) -> None:
    """Let `model` take samples one at a time, in place."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    rows = {name: len(tensor) if tensor.dim() else 0 for name, tensor in tensors.items()}
    cls = type(model)
    model.__class__ = type(cls.__name__, (OneByOne, cls), {"__module__": cls.__module__})
    vars(model).update(rows=rows, channels=channels)


def undivided(model: nn.Module) -> nn.Module:
    """`model` with its own forward pass, in place."""
    if isinstance(model, OneByOne):
        model.__class__ = type(model).__mro__[2]
    return model


def samples_apart(model: nn.Module) -> bool:
    """Whether samples go through `model` one at a time."""
    return isinstance(model, OneByOne)
