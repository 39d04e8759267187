"""`draws.safetensors`: what a sampler keeps of every draw, from which chains are compared.

Weights have symmetries, so that two chains may agree in all that they predict and nowhere in their
weights. What is kept is therefore of predictions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_tensors, write_tensors

IMAGES = 256  # test images, the first ones, whose predictions are kept draw by draw


@dataclass(frozen=True)
class Draws:
    """A chain of D draws, each a network.

    Attributes:
        probabilities: (D, T, K) float16, each draw's class probabilities of T test images.
        log_likelihood: (D,) float64, each draw's sum over all test images, in nats.
        statistics: (D,) each, by name, what else the sampler tells of a draw.
    """

    probabilities: Tensor
    log_likelihood: Tensor
    statistics: Mapping[str, Tensor] = field(default_factory=dict)


def write(path: str | Path, draws: Draws, node: Mapping) -> None:
    """Write the draws of the node of these coordinates.

    Raises:
        InputError: they are not of one number of draws, or not all finite.
    """
    _check(path, draws)
    tensors = {
        "probabilities": draws.probabilities.half(),
        "log_likelihood": draws.log_likelihood.double(),
        **draws.statistics,
    }
    write_tensors(path, tensors, {"node": dict(node)})


def read(path: str | Path) -> Draws:
    """Read what `write` wrote.

    Raises:
        InputError: the file is missing, damaged or holds no draws.
    """
    tensors, _ = read_tensors(path)
    try:
        draws = Draws(tensors.pop("probabilities"), tensors.pop("log_likelihood"), tensors)
    except KeyError as missing:
        raise InputError(f"{path}: no draws of a sampler, it lacks the tensor {missing}.") from None
    _check(path, draws)
    return draws


def _check(path: str | Path, draws: Draws) -> None:
    count = len(draws.log_likelihood)
    shapes = {"log_likelihood": (count,), **dict.fromkeys(draws.statistics, (count,))}
    for name, tensor in {"log_likelihood": draws.log_likelihood, **draws.statistics}.items():
        if tuple(tensor.shape) != shapes[name]:
            raise InputError(f"{path}: {name} has shape {tuple(tensor.shape)}, not ({count},).")
    if draws.probabilities.ndim != 3 or len(draws.probabilities) != count or count == 0:
        shape = tuple(draws.probabilities.shape)
        raise InputError(
            f"{path}: probabilities have shape {shape}; they must be of {count} draws, images and "
            "classes, and of one draw at least."
        )
    for name, values in vars(draws).items():
        if isinstance(values, torch.Tensor) and not values.isfinite().all():
            raise InputError(f"{path}: {name} is NaN or infinite in some draw.")
