"""Bayesian networks by torch-blue: conversion, weight samples, closed-form KL.

Names: `layer.weight` is a weight of the plain model; torch-blue keeps its posterior in
`layer._weight_mean` and `layer._weight_log_std`.
"""

import copy
import math

import torch
from torch import Tensor, nn
from torch_blue import vi
from torch_blue.vi.distributions import MeanFieldNormal
from torch_blue.vi.utils.convert import ban_convert, convert_to_vimodule

from bayesian_lottery.models import layers
from bayesian_lottery.models.one_by_one import undivided

# Norms and embeddings stay deterministic: only linear and convolutional layers are Bayesian.
ban_convert([layers.BatchNorm2d, layers.LayerNorm, layers.Tokens])


def convert(template: nn.Module, initial_std: float = 0.01, prior_std: float = 1.0) -> vi.VIModule:
    """A torch-blue copy of `template`: its weights as means, sigma = `initial_std` x Kaiming scale.

    The scale is what torch-blue 1.1.0 computes, 1/sqrt(fan_in) for weights and biases. The prior of
    every weight is N(0, `prior_std`^2). `template` and the global random state stay as they were.
    """
    module = undivided(copy.deepcopy(template))
    # What other layers have of their own, such as class tokens, is hidden while torch-blue looks.
    layers_of = [m for m in module.modules() if not isinstance(m, (layers.Conv2d, layers.Linear))]
    hidden = [(layer, layer._parameters) for layer in layers_of]
    for layer, _ in hidden:
        layer._parameters = {}
        _ban_names(type(layer))
    with torch.random.fork_rng(devices=[]):
        convert_to_vimodule(
            module,
            keep_weights=True,
            variational_distribution=MeanFieldNormal(std=initial_std),
            prior=MeanFieldNormal(std=prior_std),
        )
    for layer, parameters in hidden:
        layer._parameters = parameters
    return module


def _ban_names(cls: type[nn.Module]) -> None:
    """Let torch-blue take a class for no other one of its name: a user may have a ResNet, too."""
    if not cls.__module__.startswith("torch."):
        ban_convert(cls, "reuse")
        if not cls.__module__.startswith("bayesian_lottery."):
            ban_convert(cls, "replace")


def parameter_names(name: str) -> tuple[str, str]:
    """torch-blue's names of the mean and the log sigma of the plain model's parameter `name`."""
    layer, _, variable = name.rpartition(".")
    return f"{layer}._{variable}_mean", f"{layer}._{variable}_log_std"


def sample(mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """S draws (S, n), mean + std x noise, of entries' mean and std (n,) and noise (S, n)."""
    if len(noise) == 1:  # as a matrix of one row its gradient would be summed over that row
        return torch.addcmul(mean, std, noise[0])[None]
    return torch.addcmul(mean, std, noise)


def divergence(mean: Tensor, std: Tensor, log_std: Tensor, prior_std: float) -> Tensor:
    """KL(q || p) in nats, in closed form, of entries (n,) from N(0, `prior_std`^2)."""
    # As inner products: one pass over the memory each, and nothing to allocate.
    squares = (mean.dot(mean) + std.dot(std)) / prior_std**2
    return 0.5 * squares - log_std.sum() + (math.log(prior_std) - 0.5) * len(mean)
