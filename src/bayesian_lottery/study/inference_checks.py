"""Checks of what inferences need of the models and data that they train; each error is one
sentence."""

import math
from collections.abc import Iterable, Mapping

from bayesian_lottery import models
from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.inference import kinds
from bayesian_lottery.inference.monte_carlo import Exact
from bayesian_lottery.inference.schedules import Drawing
from bayesian_lottery.study import choices
from bayesian_lottery.study.choices import Training
from bayesian_lottery.study.datasets import Images, Undecoded, steps_of
from bayesian_lottery.study.nodes import Node


def check(config: Mapping, nodes: Iterable[Node], known: Mapping[str, Images | Undecoded]) -> None:
    """Check that the inferences of `nodes` fit their models and data sets.

    Only for options that are of a model's layers this imports torch.

    Args:
        known: what is known of the data sets that they train on, by name.

    Raises:
        InputError: names the key, its value, and what is allowed.
    """
    for model, training in dict.fromkeys((n.model, choices.trained(config, n)) for n in nodes):
        images = known[training.dataset]
        _check_layers(config, training.inference, model, images)
        _check_classifier(config, training.inference, model, images)
        _check_held_out(config, training, images)
        _check_steps(config, training, images)
        _check_exact(config, training, images)


def key_of(config: Mapping, inference: str) -> str:
    """The key of the configuration that has an inference's options."""
    own = inference in config.get("inferences", {})
    return f"inferences.{inference}" if own else choices.kind_name(config, inference)


def check_range(config: Mapping, inference: str) -> None:
    """Refuse a range of factors that ends before it begins."""
    given = choices.options(config, inference)
    low, high = given.get("lowest_heat", 0.0), given.get("highest_heat", 1.0)
    if low > high:
        raise InputError(
            f"{key_of(config, inference)}.highest_heat: {high:g} must be at least lowest_heat, "
            f"{low:g}."
        )


def _check_held_out(config: Mapping, training: Training, images: Images | Undecoded) -> None:
    """Refuse data of which a class of the mean size has no held-out image for an inference that
    needs them."""
    if not choices.kind(config, training.inference).held_out:
        return
    held_out = config["datasets"][training.dataset]["validation"]
    a_class = images.train / images.classes if images.train and images.classes else math.inf
    if not held_out or held_out * a_class <= 0.5:
        raise InputError(
            f"datasets.{training.dataset}.validation: {held_out:g} holds out no images, and the "
            f"inference {training.inference!r} selects by them; give a larger share."
        )


def _check_steps(config: Mapping, training: Training, images: Images | Undecoded) -> None:
    """Refuse a training that leaves too few steps to draw from, as far as these are known."""
    own = choices.kind(config, training.inference).options
    if not (training.train and issubclass(own, Drawing) and isinstance(images, Images)):
        return
    steps = steps_of(config["curricula"][training.curriculum], images.train)
    options = own(**choices.options(config, training.inference))
    try:
        options.check(key_of(config, training.inference), steps)
    except InputError as error:
        where = f"on {training.dataset}, with the curriculum {training.curriculum}"
        raise InputError(f"{str(error).removesuffix('.')} ({where}).") from None


def _check_exact(config: Mapping, training: Training, images: Images | Undecoded) -> None:
    """Refuse an exact sampler of fewer draws than epochs, or of images that cannot be chosen."""
    own = choices.kind(config, training.inference).options
    if not issubclass(own, Exact):
        return
    key = key_of(config, training.inference)
    options = own(**choices.options(config, training.inference))
    if training.train:
        options.check(key, config["curricula"][training.curriculum]["epochs"])
    if options.images and images.classes and options.images < images.classes:
        raise InputError(
            f"{key}.images: {options.images} is fewer than the {images.classes} classes of "
            f"{training.dataset}; give more, or 0 for all images."
        )
    # Of some classes the number is a guess, and else true but for rounding in each class.
    whole = "classes" not in config["datasets"][training.dataset]
    if whole and isinstance(images, Images) and options.images > images.train + images.classes:
        raise InputError(
            f"{key}.images: {options.images} is more than the {images.train} training images of "
            f"{training.dataset}; give fewer, or 0 for all."
        )


def _check_layers(config: Mapping, inference: str, name: str, images: Images | Undecoded) -> None:
    """Refuse factors of layers that a model does not have."""
    heats = choices.options(config, inference).get("heats", {})
    if not (heats and images.shape):
        return
    known = models.layer_names(choices.model(config, name), images.shape)
    for layer in heats:
        if layer not in known:
            raise choice(f"{key_of(config, inference)}.heats, a layer of {name}", layer, known)


def _check_classifier(
    config: Mapping, inference: str, name: str, images: Images | Undecoded
) -> None:
    """Refuse a covariance of the classifier's weights and biases where they are too many."""
    if choices.options(config, inference).get("hessian") != "last_layer":
        return
    if images.shape and images.classes:
        size = models.classifier_size(choices.model(config, name), images.shape, images.classes)
        kinds.check_classifier(f"{key_of(config, inference)}.hessian", size)
