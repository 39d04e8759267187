"""Estimators of a step's gradient in which each image has a perturbation of its own.

A plain weight sample perturbs all images of a batch alike, so that their gradients' errors are
correlated and averaging over the batch does not average them away. The estimators here draw
perturbations that are uncorrelated between images, each with the distribution, or an approximation
of it, that the image's activations have under the posterior:

- `flipout` (Wen et al., "Flipout: efficient pseudo-independent weight perturbations on
  mini-batches", 2018) flips the signs of one weight perturbation, image by image. For each image
  alone it is a weight sample like any other, in every layer.
- `local_reparameterisation` (Kingma et al., "Variational dropout and the local reparameterization
  trick", 2015) draws the outputs of a layer instead of its weights. For a layer that sees an image
  once, as those of a perceptron do, these have exactly the distribution that weight samples give
  them. A convolution, or a linear layer over tokens, uses its weights at many positions: each
  position's output then has the right distribution, but positions are drawn independently, where
  weight samples make them covary. Further layers mix positions, so that there it approximates.

Hence the mean of the loss and of its gradient are those of weight samples (the estimator is
unbiased) where each image's loss depends on that image's activations alone, for Flipout with every
layer and for local reparameterisation with perceptrons. Batch norm in training couples the images
of a batch, and makes approximations of both.

Every sample's draws come from a generator seeded for it, so that a pass can be repeated, and does
not depend on which samples share it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from bayesian_lottery.models.layers import Conv2d, forward_replaced

Generators = Sequence[torch.Generator]
Variables = tuple[Tensor, Tensor | None]  # of a layer: weight and bias


def seeds(samples: int, generator: torch.Generator) -> Tensor:
    """What makes `samples` samples here: (S, 1) int64 seeds, on the CPU, where they are needed."""
    highest = torch.iinfo(torch.int64).max
    drawn = torch.randint(highest, (samples, 1), generator=generator, device=generator.device)
    return drawn.cpu()


def outputs(
    estimator: str,
    template: nn.Module,
    images: Tensor,
    mean: Mapping[str, Tensor],
    std: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    noise: Tensor,
) -> Tensor:
    """What `template` gives for images (B, C, H, W): (B, S·K), with samples as in `models.layers`.

    Args:
        estimator: a key of `ESTIMATORS`.
        template: the plain model, of which only the forward pass is used.
        images: (B, C, H, W) float.
        mean, std: every variable's, by name, in its own shape.
        others: `template`'s other parameters and its buffers, by name.
        noise: S of the rows that `seeds` gave.
    """
    device = images.device
    generators = [torch.Generator(device).manual_seed(seed) for seed in noise.flatten().tolist()]
    perturbation = ESTIMATORS[estimator]

    def forward(name: str, layer: nn.Module, x: Tensor) -> Tensor:
        means, stds = (
            (values[f"{name}.weight"], values.get(f"{name}.bias")) for values in (mean, std)
        )
        inputs = _apart(layer, x)
        apart = _affine(layer, inputs, means) + perturbation(layer, inputs, stds, generators)
        return _together(layer, apart)

    layers = {name.rpartition(".")[0] for name in mean}
    with forward_replaced(template, {name: partial(forward, name) for name in layers}):
        return functional_call(template, dict(others), (images,))


def local_reparameterisation(
    layer: nn.Module, inputs: Tensor, std: Variables, generators: Generators
) -> Tensor:
    """Independent normal values with the variances that weight samples give the outputs.

    Args:
        layer: a `Conv2d` or `Linear`.
        inputs: (S, B, ..., I), or (1, B, ..., I) if the samples share them.
        std: of the weight (O, I, ...) and the bias (O,).
        generators: one a sample.

    Returns:
        (S, B, ..., O).
    """
    weight, bias = std
    squares = (weight.square(), None if bias is None else bias.square())
    variance = _affine(layer, inputs.square(), squares)
    # The square root has no gradient at 0, the variance where all weights are pruned.
    some = variance > 0
    scale = torch.where(some, variance, 1).sqrt() * some
    noise = [_normal(scale[0], generator) for generator in generators]
    return scale * torch.stack(noise)


def flipout(layer: nn.Module, inputs: Tensor, std: Variables, generators: Generators) -> Tensor:
    """A weight perturbation a sample, its rows' and columns' signs flipped at random by image.

    Arguments and result are those of `local_reparameterisation`. An image's signs are the same at
    all of its positions, so that it sees one network.
    """
    weight, bias = std
    outputs = []
    shared = inputs.expand(len(generators), *inputs.shape[1:])
    for sample, generator in zip(shared, generators, strict=True):
        drawn = (
            weight * _normal(weight, generator),
            None if bias is None else bias * _normal(bias, generator),
        )
        flipped = sample * _signs(sample, sample.shape[-1], generator)
        output = _affine(layer, flipped[None], drawn)[0]
        outputs.append(output * _signs(output, output.shape[-1], generator))
    return torch.stack(outputs)


ESTIMATORS: Mapping[str, Callable[[nn.Module, Tensor, Variables, Generators], Tensor]] = {
    "local_reparameterisation": local_reparameterisation,
    "flipout": flipout,
}


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _signs(like: Tensor, channels: int, generator: torch.Generator) -> Tensor:
    """1 or -1 for each image and channel, (B, 1, ..., 1, channels)."""
    shape = (len(like), *[1] * (like.dim() - 2), channels)
    coins = torch.randint(2, shape, generator=generator, device=like.device)
    return (2 * coins - 1).to(like.dtype)


def _apart(layer: nn.Module, x: Tensor) -> Tensor:
    """(S, B, ..., I) from a layer's input as in `models.layers`; S = 1 if the samples share it."""
    if getattr(layer, "apart", False):
        return x
    x = x.movedim(1, -1) if isinstance(layer, Conv2d) else x
    width = layer.in_channels if isinstance(layer, Conv2d) else layer.in_features
    return x.unflatten(-1, (-1, width)).movedim(-2, 0)


def _together(layer: nn.Module, outputs: Tensor) -> Tensor:
    """The layer's output as in `models.layers`, from (S, B, ..., O)."""
    if getattr(layer, "apart", False):
        return outputs
    outputs = outputs.movedim(0, -2).flatten(-2)
    return outputs.movedim(-1, 1) if isinstance(layer, Conv2d) else outputs


def _affine(layer: nn.Module, inputs: Tensor, variables: Variables) -> Tensor:
    """(S, B, ..., O) of `layer`, with the same weight and bias for all of (S, B, ..., I)."""
    if not isinstance(layer, Conv2d):
        return F.linear(inputs, *variables)
    x = inputs.flatten(0, 1).movedim(-1, 1)
    output = layer.convolve(x, *variables, layer.groups)
    return output.movedim(1, -1).unflatten(0, inputs.shape[:2])
