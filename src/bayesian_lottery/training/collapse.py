"""Collapse of a network: layers that a mask empties, and inputs that reach no output any more."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesian_lottery.errors import InputError, few
from bayesian_lottery.inference.networks import Network
from bayesian_lottery.models.layers import Conv2d, Linear
from bayesian_lottery.tickets.masks import Mask

NORMS = (nn.LayerNorm, nn.GroupNorm)  # of a constant input they make nothing


def emptied(mask: Mask) -> list[str]:
    """The layers that keep no weight."""
    return [name for name, layer in mask.items() if not layer.any()]


def connected(template: nn.Module, mask: Mask, image_shape: tuple[int, int, int]) -> bool | None:
    """Whether a path over kept weights leads from the image to a logit, over any connection.

    A one goes through the network at every pixel, and what reaches a unit makes it a one. Biases
    and what else is added are left out: they reach the output from nowhere. None where this does
    not follow a model, so that even all of its weights seem to connect nothing.
    """
    whole = {name: torch.ones_like(layer) for name, layer in mask.items()}
    trains = template.training
    with _reaching(template.eval()):
        follows = _reached(template, whole, image_shape)
        found = _reached(template, mask, image_shape) if follows else None
    template.train(trains)
    return found


@torch.no_grad()
def _reached(template: nn.Module, mask: Mask, image_shape: tuple[int, int, int]) -> bool:
    device = next(iter(mask.values())).device  # a network in training has no weights of its own
    named = [*template.named_parameters(), *template.named_buffers()]
    ones = {
        name: torch.full(tensor.shape, name.endswith(("weight", "running_var")) * 1.0).to(device)
        for name, tensor in named
        if tensor.is_floating_point()
    }
    kept = {name: layer.float() for name, layer in mask.items()}
    image = torch.ones(1, *image_shape, device=device)
    return bool((functional_call(template, ones | kept, (image,)) > 0).any())


@contextmanager
def _reaching(template: nn.Module) -> Iterator[None]:
    """Within the block layers say whether units are reached, and norms of one input do nothing."""

    def reach(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return (output > 0).to(output)

    def keep(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return inputs[0]

    hooks = [
        module.register_forward_hook(keep if isinstance(module, NORMS) else reach)
        for module in template.modules()
        if isinstance(module, (Conv2d, Linear, *NORMS))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def sentence(level: int, mask: Mask, whole: bool | None) -> str | None:
    """What has collapsed at a level, in a sentence; None if nothing has. `whole`: connected."""
    layers = emptied(mask)
    said = [f"empties {few(layers)}"] if layers else []
    said += ["leaves no path from input to output"] if whole is False else []
    return f"collapse at level {level}: the mask {' and '.join(said)}." if said else None


def skips(level: int, network: Network, image_shape: tuple[int, int, int], choice: str) -> bool:
    """Whether a network is not trained since its mask has collapsed; the log says so.

    Args:
        choice: what the configuration makes of it: "trained", "skipped" or "error".

    Raises:
        InputError: the mask has collapsed, and that is an error.
    """
    whole = connected(network.template, network.mask, image_shape)
    said = sentence(level, network.mask, whole)
    if said and choice == "error":
        raise InputError(
            f"{said} The configuration's 'collapse' makes that an error; with 'skipped' or "
            "'trained' the study goes on."
        )
    skipped = said is not None and choice == "skipped"
    if said:
        print(f"{said} It is {'skipped' if skipped else 'trained nonetheless'}.", flush=True)
    return skipped
