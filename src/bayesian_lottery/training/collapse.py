"""Collapse of a network: layers that a mask empties, and inputs that reach no output any more."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesian_lottery.errors import few
from bayesian_lottery.models.layers import Conv2d, LayerNorm, Linear
from bayesian_lottery.tickets.masks import Mask


def emptied(mask: Mask) -> list[str]:
    """The layers that keep no weight."""
    return [name for name, layer in mask.items() if not layer.any()]


@torch.no_grad()
def connected(template: nn.Module, mask: Mask, image_shape: tuple[int, int, int]) -> bool:
    """Whether a path over kept weights leads from the image to a logit, over any connection.

    A one goes through the network at every pixel, and what reaches a unit makes it a one. Biases
    and what else is added are left out: they reach the output from nowhere.
    """
    tensors = {**dict(template.named_parameters()), **dict(template.named_buffers())}
    device = next(iter(mask.values())).device  # a network in training has no weights of its own
    ones = {
        name: torch.full(tensor.shape, name.endswith(("weight", "running_var")) * 1.0).to(device)
        for name, tensor in tensors.items()
    }
    kept = {name: layer.float() for name, layer in mask.items()}
    image = torch.ones(1, *image_shape, device=device)
    trains = template.training
    with _reaching(template.eval()):
        reached = functional_call(template, ones | kept, (image,))
    template.train(trains)
    return bool((reached > 0).any())


@contextmanager
def _reaching(template: nn.Module) -> Iterator[None]:
    """Within the block layers say whether units are reached, and layer norms change nothing."""

    def reach(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return (output > 0).to(output)

    def keep(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return inputs[0]

    hooks = [
        module.register_forward_hook(keep if isinstance(module, LayerNorm) else reach)
        for module in template.modules()
        if isinstance(module, (Conv2d, Linear, LayerNorm))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def sentence(level: int, mask: Mask, whole: bool) -> str | None:
    """What has collapsed at a level, in a sentence; None if nothing has. `whole`: connected."""
    layers = emptied(mask)
    said = [f"empties {few(layers)}"] if layers else []
    said += [] if whole else ["leaves no path from input to output"]
    return f"collapse at level {level}: the mask {' and '.join(said)}." if said else None
