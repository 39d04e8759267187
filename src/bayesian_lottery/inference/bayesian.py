"""Bayesian networks by torch-blue: conversion, masked weight samples, closed-form KL.

Names: `layer.weight` is a weight of the plain model; torch-blue keeps its posterior in
`layer._weight_mean` and `layer._weight_log_std`.
"""

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch_blue import vi
from torch_blue.vi.distributions import MeanFieldNormal
from torch_blue.vi.utils.convert import ban_convert, convert_to_vimodule

from bayesian_lottery.models import layers

Posteriors = dict[str, tuple[Tensor, Tensor]]

# Norms and embeddings stay deterministic: only linear and convolutional layers are Bayesian.
ban_convert([layers.BatchNorm2d, layers.LayerNorm, layers.Tokens])


def convert(template: nn.Module, initial_std: float = 0.01, prior_std: float = 1.0) -> vi.VIModule:
    """A torch-blue copy of `template`: its weights as means, sigma = `initial_std` x Kaiming scale.

    The scale is what torch-blue 1.1.0 computes, 1/sqrt(fan_in) for weights and biases. The prior of
    every weight is N(0, `prior_std`^2). `template` and the global random state stay as they were.
    """
    module = copy.deepcopy(template)
    with torch.random.fork_rng(devices=[]):
        convert_to_vimodule(
            module,
            keep_weights=True,
            variational_distribution=MeanFieldNormal(std=initial_std),
            prior=MeanFieldNormal(std=prior_std),
        )
    return module


def parameter_names(name: str) -> tuple[str, str]:
    """torch-blue's names of the mean and the log sigma of the plain model's parameter `name`."""
    layer, _, variable = name.rpartition(".")
    return f"{layer}._{variable}_mean", f"{layer}._{variable}_log_std"


def posteriors(module: vi.VIModule) -> Posteriors:
    """(mean, log sigma) of every random variable, by the plain model's name, in network order."""
    found = {}
    for path, layer in module.named_modules():
        # Through __dict__: torch-blue's __getattr__ would draw a sample of a variable asked for.
        for variable in layer.__dict__.get("variational_distribution", {}):
            mean = layer._parameters.get(f"_{variable}_mean")
            if mean is not None:
                found[f"{path}.{variable}"] = (mean, layer._parameters[f"_{variable}_log_std"])
    return found


def unsampled(module: vi.VIModule) -> dict[str, Tensor]:
    """The parameters that are no posterior's: norms, tokens, position embeddings."""
    variational = {id(p) for pair in posteriors(module).values() for p in pair}
    return {name: p for name, p in module.named_parameters() if id(p) not in variational}


def sample(
    mean: Tensor, std: Tensor, noise: Tensor, shapes: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """S draws of every variable, mean + std x noise.

    Args:
        mean, std: (n,) of all variables' entries, one variable after the other.
        noise: (S, n) standard normal values, a row for each draw.
        shapes: each variable's shape, (O, ...).

    Returns:
        For each variable a tensor (S x O, ...), draws stacked in the first dimension.
    """
    if len(noise) == 1:  # as a matrix of one row its gradient would be summed over that row
        return named(torch.addcmul(mean, std, noise[0])[None], shapes)
    return named(torch.addcmul(mean, std, noise), shapes)


def named(rows: Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Each variable's entries (S x O, ...) of rows (S, n)."""
    parts = rows.split([shape.numel() for shape in shapes.values()], dim=1)
    # Views for one row; copies for more.
    return {
        name: part.reshape(-1, *shape[1:])
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def divergence(
    mean: Tensor, std: Tensor, log_std: Tensor, kept: Tensor, prior_std: float
) -> Tensor:
    """KL(q || p) in nats, in closed form, of the kept entries from N(0, `prior_std`^2).

    Args:
        mean, std: (n,) 0 where an entry is not kept.
        log_std: (n,) finite everywhere.
        kept: (n,) 1 or 0 in the type of the others: 0 leaves an entry out.
        prior_std: the prior's standard deviation.
    """
    # As inner products: one pass over the memory each, and nothing to allocate.
    squares = (mean.dot(mean) + std.dot(std)) / prior_std**2
    return 0.5 * squares - log_std.dot(kept) + (math.log(prior_std) - 0.5) * kept.sum()
