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

from bayesian_lottery.masks import Mask
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
    parameters: Mapping[str, tuple[Tensor, Tensor]], mask: Mask, noise: Tensor, samples: int
) -> dict[str, Tensor]:
    """`samples` draws of every variable, mu + sigma x noise, pruned entries exactly zero.

    Args:
        parameters: (mean, log sigma) of each variable, of shape (O, ...).
        mask: the prunable variables' masks.
        noise: standard normal values, (samples x number of all variables' entries,), used up
            variable by variable and within one sample by sample.
        samples: S.

    Returns:
        For each variable a tensor (S x O, ...), samples stacked in the first dimension.
    """
    parts = noise.split([samples * mean.numel() for mean, _ in parameters.values()])
    weights = {}
    for (name, (mean, log_std)), part in zip(parameters.items(), parts, strict=True):
        draws = torch.addcmul(mean, log_std.exp(), part.view(samples, *mean.shape))
        if name in mask:
            draws = draws * mask[name]
        weights[name] = draws.flatten(0, 1)
    return weights


def divergence(
    parameters: Mapping[str, tuple[Tensor, Tensor]], kept: Tensor, prior_std: float
) -> Tensor:
    """KL(q || p) in nats, in closed form, of the kept entries from N(0, `prior_std`^2).

    Args:
        parameters: (mean, log sigma) of each variable, all finite.
        kept: bool, (number of all variables' entries,): False leaves an entry out.
        prior_std: the prior's standard deviation.
    """
    mean = torch.cat([mean.flatten() for mean, _ in parameters.values()])
    log_ratio = torch.cat([log_std.flatten() for _, log_std in parameters.values()])
    log_ratio = log_ratio - math.log(prior_std)
    terms = (2 * log_ratio).exp() + (mean / prior_std).square() - 1 - 2 * log_ratio
    return 0.5 * (terms * kept).sum()
