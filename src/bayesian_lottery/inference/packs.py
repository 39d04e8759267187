"""K networks of one architecture that train side by side, as a batch of models.

To the engine a pack is one network with K times the channels, whose layers work in K groups: where
a single small network leaves a device idle, K of them take little longer. Each has its own mask,
images, labels and noise, and gets the gradients that it would have had alone, up to rounding.

Images, labels and logits of a pack are those of its networks, one network's after the other's, and
so are the survivors in a row. A kind of inference that can be packed has `together`, which makes
one network of several; others train alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bayesian_lottery.errors import InputError

if TYPE_CHECKING:
    from bayesian_lottery.inference.networks import Network


def pack(networks: Sequence[Network]) -> Network:
    """`networks`, all of one architecture, inference and options, side by side.

    Raises:
        InputError: they are several, and of an inference that trains one at a time.
    """
    first = networks[0]
    if len(networks) == 1:
        return first
    if not hasattr(first, "together"):
        raise InputError(
            f"networks_per_job: {type(first).__name__} trains one network at a time, not "
            f"{len(networks)} side by side."
        )
    return first.together(networks)


def stack(tensors: Sequence[Tensor], features: int = 0) -> Tensor:
    """The networks' tensors side by side in the dimension `features`; theirs become views of it.

    It is a parameter if they are.
    """
    parts = [tensor.detach() for tensor in tensors]
    if parts[0].ndim == 0:
        whole = torch.stack(parts)
        views = whole.unbind()
    else:
        whole = torch.cat(parts, features)
        views = whole.split([part.shape[features] for part in parts], features)
    for tensor, view in zip(tensors, views, strict=True):
        tensor.data = view
    return nn.Parameter(whole) if isinstance(tensors[0], nn.Parameter) else whole


def deal_gradients(pack: Network, networks: Sequence[Network]) -> None:
    """Give each of a pack's `networks` its part of the gradients, which leave the pack."""
    if len(networks) == 1:
        return
    wholes = pack.tensors()
    for network in networks:
        for name, tensor in network.tensors().items():
            if (grad := wholes[name].grad) is not None:
                grad = grad.contiguous()  # as the pack's tensors are; it may be part of another
                first = grad.storage_offset() + tensor.storage_offset()
                tensor.grad = grad.as_strided(tensor.shape, tensor.stride(), first)
    for whole in wholes.values():
        whole.grad = None


def side_by_side(images: Tensor, members: int, samples: int) -> Tensor:
    """(K·B, C, H, W) to (B, S·K·C, H, W), channels-last."""
    pixels = images.unflatten(0, (members, -1)).permute(1, 3, 4, 0, 2)  # (B, H, W, K, C)
    return pixels.flatten(3).repeat(1, 1, 1, samples).movedim(-1, 1)
