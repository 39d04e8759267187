"""A narrower form of a model: a small dense network of as many weights as a ticket.

All widths w of the model become max(1, floor(r w)), in transformers the nearest multiple of the
heads below, with the largest r up to 1 by which the weights that a mask covers are no more than the
ticket's survivors.
"""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.models import MODELS, Model, Spec

if TYPE_CHECKING:
    import torch

WIDTHS = ("hidden", "width", "stages", "dim")  # arguments of the package's models
_HALVINGS = 40  # of the interval that r lies in: more than widths can tell apart


def can_be(model: Model) -> bool:
    """Whether there are narrower forms of a model: of the package, with widths to choose."""
    return isinstance(model, str) and any(name in WIDTHS for name in MODELS[model].arguments)


def build(
    model: str,
    image_shape: tuple[int, int, int],
    classes: int,
    weights: int,
    classifier: bool,
    seed: int,
) -> torch.nn.Module:
    """The widest form of a model with at most so many weights, its initial weights drawn by `seed`.

    Args:
        weights: how many, of the layers that a mask covers.
        classifier: whether it covers the classifier.

    Raises:
        InputError: there is none, for even the narrowest has more.
    """
    import torch

    def count(share: float) -> int:
        return sum(sizes(model, image_shape, classes, classifier, share).values())

    check(model, image_shape, classes, weights, classifier)
    low, high = 0.0, 1.0
    if count(high) <= weights:
        low = high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) <= weights else (low, middle)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _made(model, image_shape, classes, low)


def check(
    model: str, image_shape: tuple[int, int, int], classes: int, weights: int, classifier: bool
) -> None:
    """Raise `InputError` if even the narrowest form of a model has more than so many weights.

    Args: as `build` has them. This imports torch.
    """
    least = sum(sizes(model, image_shape, classes, classifier, share=0.0).values())
    if least > weights:
        raise InputError(
            f"model: the narrowest {model} has {least} weights, and the ticket {weights}; "
            "branch from a denser level."
        )


def sizes(
    model: str,
    image_shape: tuple[int, int, int],
    classes: int,
    classifier: bool,
    share: float = 1.0,
) -> dict[str, int]:
    """The numbers of weights that a mask covers, by name, of a model whose widths are scaled."""
    import torch

    with torch.device("meta"):
        shapes = models.prunable(_made(model, image_shape, classes, share), classifier)
    return {name: math.prod(shape) for name, shape in shapes.items()}


def _made(
    model: str, image_shape: tuple[int, int, int], classes: int, share: float
) -> torch.nn.Module:
    spec = narrowed(MODELS[model], share)
    cls = getattr(import_module(f"{models.__name__}.{spec.module}"), spec.cls)
    return cls(image_shape, classes, **spec.arguments)


def narrowed(spec: Spec, share: float) -> Spec:
    """A spec with its widths scaled by `share`."""
    heads = int(str(spec.arguments.get("heads", 1)))
    scaled = {
        name: _scaled(value, share, heads) if name in WIDTHS else value
        for name, value in spec.arguments.items()
    }
    return replace(spec, arguments=scaled)


def _scaled(value: object, share: float, unit: int) -> object:
    if isinstance(value, tuple):
        return tuple(_scaled(each, share, unit) for each in value)
    return max(1, int(share * int(str(value))) // unit) * unit
