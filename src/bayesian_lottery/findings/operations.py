"""Counted operations of training: what a network takes, whatever the device."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from bayesian_lottery.files import read_json
from bayesian_lottery.inference.kinds import members_of, options_of
from bayesian_lottery.tickets.searches import search_of

Counts = Mapping[tuple[str, str], Mapping]  # by data set and model, as `costs.by_layer` counts them

_PASSES = 3  # forward, and backward for the weights and for the inputs


def read(files: Iterable[str | Path]) -> dict[tuple[str, str], Mapping]:
    """The counts of models for data sets, as `scripts/count.py` writes them.

    Raises:
        InputError: a file is missing or damaged.
    """
    read = map(read_json, files)
    return {(count["dataset"], count["model"]): count for count in read}


def training_flops(metrics: Mapping, counts: Counts) -> float | None:
    """The floating-point operations of a node's training; None of a pool, or if nothing is counted.

    A multiplication and an addition each count as one. A gradient takes, for each image, three
    times the products of a forward pass; every layer's products count by the share
    of its weights that survive, as on a device that spends nothing on zeros (Evci et al. 2020,
    appendix H), and those of a mask that thins out in training by its mean share. Tests, scoring,
    teachers' predictions, norms and activations are left out.
    """
    settings = metrics["settings"]
    count = counts.get((settings["dataset"], settings["model"]))
    if count is None or "members" in metrics:
        return None
    sizes = count["weights"]  # of the model itself, which a branch may have trained in small
    layers = {each["name"]: each["survivors"] / sizes[each["name"]] for each in metrics["layers"]}
    if found := search_of(settings):
        search, options = found
        layers = {name: search.share(density, options) for name, density in layers.items()}
    products = count["other"] + sum(
        products * layers.get(name, 1) for name, products in count["layers"].items()
    )
    images = sum(size - held(size, settings["validation"]) for size in count["images"])
    if _counted(metrics) is None:
        batch = settings["curriculum"]["batch_size"]
        images -= images % batch
    else:
        images = options_of(settings).get("images") or images
    return 2.0 * _PASSES * products * gradients(metrics) * images


def gradients(metrics: Mapping) -> float | None:
    """How many gradients of the whole training set a node took: those that a sampler has counted,
    or its epochs times weight samples and members of a population. None of a pool, whose members
    took them, unless they have counted."""
    told = _counted(metrics)
    if told is not None or "members" in metrics:
        return told
    settings = metrics["settings"]
    epochs = metrics["cost"]["epochs"]
    return epochs * options_of(settings).get("samples", 1) * members_of(settings)


def _counted(metrics: Mapping) -> float | None:
    return metrics.get("sampling", {}).get("gradients")


def held(images: int, share: float) -> int:
    """How many images of a class are held out, as `data.decoded.hold_out` does."""
    return min(round(share * images), images - 1)
