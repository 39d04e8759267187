"""Layers that carry samples in place of torch's, and the proof that a module's code lets them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesian_lottery.errors import InputError
from bayesian_lottery.imports import reason
from bayesian_lottery.models.layers import (
    BatchNorm2d,
    BatchNormAct2d,
    Conv2d,
    LayerNorm,
    Linear,
    SelfAttention,
)

# What plain layers become, by their whole name: libraries need not be there. Batch norm of
# (B, C) and (B, C, L) is computed as that of (B, C, H, W).
LAYERS: Mapping[str, type[nn.Module]] = {
    "torch.nn.modules.conv.Conv2d": Conv2d,
    "torch.nn.modules.linear.Linear": Linear,
    "torch.nn.modules.batchnorm.BatchNorm1d": BatchNorm2d,
    "torch.nn.modules.batchnorm.BatchNorm2d": BatchNorm2d,
    "torch.nn.modules.normalization.LayerNorm": LayerNorm,
    "timm.layers.linear.Linear": Linear,
    "timm.layers.norm.LayerNorm": LayerNorm,
    "timm.layers.norm_act.BatchNormAct2d": BatchNormAct2d,
}
SAMPLES = 2  # of the proof
TOLERANCE = 1e-9  # of the largest value, in float64


def known(layer: nn.Module) -> type[nn.Module] | None:
    """What a layer becomes; None where it stays what it is."""
    cls = LAYERS.get(f"{type(layer).__module__}.{type(layer).__qualname__}")
    if isinstance(layer, nn.LayerNorm) and (layer.bias is None or len(layer.normalized_shape) > 1):
        return None
    return cls


def replace_layers(model: nn.Module) -> None:
    """Make layers of `layers` of plain ones, in place; parameters stay the same objects."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.MultiheadAttention):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, SelfAttention(layer))
    for layer in model.modules():
        if cls := known(layer):
            layer.__class__ = cls


def plain_name(model: nn.Module, name: str) -> str:
    """The name in the user's own module of a parameter or buffer of its model."""
    layer, _, own = name.rpartition(".")
    attention, _, projection = layer.rpartition(".")
    if projection == "in_proj" and isinstance(model.get_submodule(attention), SelfAttention):
        return f"{attention}.in_proj_{own}".lstrip(".")
    return name


@torch.no_grad()
def carries(code: str, model: nn.Module, images: Tensor) -> str:
    """Why `model` cannot carry samples in the channel dimension; "" if it can.

    It can where all parameters are those of layers that do, and where the logits and running
    statistics of several random weights at once are those of one after the other, in float64, in
    training mode and in evaluation mode.

    Raises:
        InputError: it fails with other weights than its own.
    """
    for name, layer in model.named_modules():
        own = layer.named_parameters(recurse=False)
        if next(own, None) and not isinstance(layer, (Conv2d, Linear, BatchNorm2d, LayerNorm)):
            return f"{name or 'the model'} ({type(layer).__name__}) has parameters of its own"
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, (Conv2d, Linear))]
    sampled = {f"{n}.{p}": v for n, m in layers for p, v in m.named_parameters(recurse=False)}
    stream = torch.Generator().manual_seed(0)
    together = {name: _noisy(value, SAMPLES, stream) for name, value in sampled.items()}
    shared = {n: _noisy(p, 1, stream) for n, p in model.named_parameters() if n not in sampled}
    draws = [{name: value.chunk(SAMPLES)[i] for name, value in together.items()}
             for i in range(SAMPLES)]  # fmt: skip

    def run(weights: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        return functional_call(model, {**shared, **weights, **buffers}, (images,)), buffers

    for training in (True, False):
        model.train(training)
        try:
            alone = [run(draw) for draw in draws]
        except (Exception, SystemExit) as error:
            raise InputError(
                f"models: {code} fails with other weights than its initial ones ({reason(error)})."
            ) from error
        try:
            output, buffers = run(together)
        except (Exception, SystemExit):
            return "its code does not take them side by side"
        expected = torch.cat([logits for logits, _ in alone], 1)
        if output.shape != expected.shape or not equal(expected, output):
            return "its code mixes channels outside of its layers"
        for name, buffer in buffers.items():
            mean = torch.stack([own[name].double() for _, own in alone]).mean(0)
            if not equal(mean, buffer):
                return f"{name} comes out different"
    return ""


def _noisy(tensor: Tensor, samples: int, stream: torch.Generator) -> Tensor:
    """Random weights, one after the other in dimension 0."""
    noise = torch.empty(samples, *tensor.shape).uniform_(-1, 1, generator=stream)
    scale = tensor[0].numel() ** -0.5
    return noise.to(tensor.dtype).mul_(scale).add_(tensor).flatten(0, 1)


def equal(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are the same but for rounding in float64."""
    return bool((first - second).abs().max() <= TOLERANCE * first.abs().max().clamp_min(1))
