"""A user's module made into a model of this package: its layers, what is refused, what is proved.

Plain layers become those of `layers`, which carry weight samples in the channel dimension. Whether
the module's own code lets them is proved on random weights (`carrying`); where it does not, samples
go through the module one at a time (`one_by_one`).
"""

import torch
from torch import Tensor, nn

from bayesian_lottery import imports
from bayesian_lottery.errors import InputError, few
from bayesian_lottery.models import Definition
from bayesian_lottery.models.carrying import carries, equal, replace_layers
from bayesian_lottery.models.layers import Conv2d, Linear
from bayesian_lottery.models.one_by_one import one_by_one
from bayesian_lottery.models.refusals import check_logits, outputs, refuse, watch

BATCH = 4  # images of the proof


def build(definition: Definition, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The model of a definition, as `models.build` gives it.

    Raises:
        InputError: it cannot be built, does not take such images, or cannot be trained here; names
            the layer.
    """
    code = definition.code
    model = plain(definition, image_shape, classes)
    refuse(code, model)
    stream = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, *image_shape, generator=stream, dtype=torch.float64)
    model.double()  # and back: exact, and a large model fits memory
    called = watch(code, model, images)
    expected = outputs(code, model, images)
    check_logits(code, model, images, expected)
    replace_layers(model)
    _compare(code, expected, outputs(code, model, images))

    linear = [name for name in called if type(model.get_submodule(name)) is Linear]
    classifier = _classifier(definition, model, linear, classes, expected)
    notes = _left(model)
    obstacle = carries(code, model, images)
    model.float().train()
    if obstacle:
        notes.append(f"weight samples go through it one at a time, for {obstacle}")
        one_by_one(model, image_shape[0])
    vars(model).update(classifier_name=classifier, notes=notes)
    return model


def plain(definition: Definition, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The user's own module, in training mode, its layers as they are.

    Raises:
        InputError: it cannot be built.
    """
    make = imports.load("models", definition.code)
    if not callable(make):
        raise InputError(f"models: {definition.code} cannot be called.")
    given = definition.given(image_shape, classes)
    try:
        model = make(**given)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"models: {definition.code} cannot be built with {few(map(str, given))} "
            f"({imports.reason(error)})."
        ) from error
    if not isinstance(model, nn.Module):
        raise InputError(
            f"models: {definition.code} gives a {type(model).__name__}; it must give a "
            "torch.nn.Module."
        )
    return model.train()


def _compare(code: str, expected: list[Tensor], found: list[Tensor]) -> None:
    """Raise `InputError` unless replaced layers left the outputs as they were."""
    for theirs, ours in zip(expected, found, strict=True):
        if theirs.shape != ours.shape or not equal(theirs, ours):
            raise InputError(
                f"models: {code} computes something else with the layers of this package "
                "(models/layers.py) in place of torch's."
            )


def _classifier(
    definition: Definition, model: nn.Module, linear: list[str], classes: int, expected: list
) -> str:
    """The name of the layer that gives the logits.

    Raises:
        InputError: there is none, or no other layer, or it has another number of outputs.
    """
    code, name = definition.code, definition.classifier or (linear[-1] if linear else None)
    if name is None:
        raise InputError(
            f"models: {code} has no linear layer; name the layer that gives its logits by the key "
            "classifier."
        )
    layers = {n for n, layer in model.named_modules() if isinstance(layer, (Conv2d, Linear))}
    if name not in layers:
        raise InputError(
            f"models: {code} has no convolution or linear layer {name!r} (the key classifier); "
            f"it has {few(sorted(layers))}."
        )
    if layers == {name}:
        raise InputError(
            f"models: {code} has no convolution or linear layer beside {name}, which gives its "
            "logits; there is nothing to prune."
        )
    rows = len(model.get_submodule(name).get_parameter("weight"))
    if rows != classes or tuple(expected[0].shape) != (BATCH, classes):
        raise InputError(
            f"models: {code} gives outputs of shape {tuple(expected[0].shape)} for {BATCH} images "
            f"of {classes} classes, and its classifier {name} has {rows}; both must have "
            f"{classes} (the key classifier names another layer)."
        )
    return name


def _left(model: nn.Module) -> list[str]:
    """What is said of layers that have matrices and can be neither pruned nor sampled."""
    names = [
        name
        for name, layer in model.named_modules()
        if not isinstance(layer, (Conv2d, Linear))
        and any(p.dim() > 1 for n, p in layer.named_parameters(recurse=False) if n == "weight")
    ]
    kinds = dict.fromkeys(type(model.get_submodule(name)).__name__ for name in names)
    return [f"{few(names, 5)} ({few(kinds)}) stay dense and deterministic"] if names else []
