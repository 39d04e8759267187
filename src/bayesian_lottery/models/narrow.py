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

    def made(share: float) -> torch.nn.Module:
        spec = narrowed(MODELS[model], share)
        cls = getattr(import_module(f"{models.__name__}.{spec.module}"), spec.cls)
        return cls(image_shape, classes, **spec.arguments)

    def count(share: float) -> int:
        with torch.device("meta"):
            shapes = models.prunable(made(share), classifier).values()
        return sum(map(math.prod, shapes))

    low, high = 0.0, 1.0
    if count(low) > weights:
        raise InputError(
            f"model: the narrowest {model} has {count(low)} weights, and the ticket {weights}; "
            "branch from a denser level."
        )
    if count(high) <= weights:
        low = high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if count(middle) <= weights else (low, middle)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return made(low)


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
