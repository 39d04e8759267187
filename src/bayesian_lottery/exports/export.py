"""A trained node's compact network as one file, written only if it predicts as the whole one."""

import copy
from pathlib import Path

import torch
from torch import Tensor

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import compact
from bayesian_lottery.files import read_tensors, write_tensors
from bayesian_lottery.inference import kinds
from bayesian_lottery.inference.networks import Network, State
from bayesian_lottery.randomness import generator
from bayesian_lottery.study import node_metrics
from bayesian_lottery.training.engine import multiply_adds

TOLERANCE = 1e-5  # of the largest logit: biases that constants went into are float32


def export(
    folder: Path,
    data_file: Path,
    output: Path,
    multiple: int = 8,
    images: int = 256,
    samples: int = 10,
) -> dict:
    """Write the compact network of a trained node to `output`, for `compact.load`.

    Args:
        folder: the node's, with `metrics.json` and `weights.safetensors`.
        data_file: the decoded data set that it was trained on.
        output: the file to write.
        multiple: see `compact.cut`.
        images: how many test images to compare predictions on.
        samples: how many weight samples to compare, of a Bayesian network.

    Returns:
        The file's metadata; docs/sparse.md explains them.

    Raises:
        InputError: a file is missing, truncated or of another network or data set, or predictions
            differ; nothing is written.
    """
    known = decoded.load(data_file)
    node, settings = read_node(folder, known.name)
    weights = folder / "weights.safetensors"
    state, _ = read_tensors(weights)
    kind, options = kinds.kind_name(settings), kinds.options_of(settings)
    if kinds.KINDS[kind].own_draws:
        raise InputError(
            f"{folder}: {settings['inference']} predicts by draws, and no compact network holds "
            "them; `tickets.load(...).module()` gives their mean."
        )
    template = models.build(models.of(settings), known.image_shape, len(known.classes)).double()
    smaller = copy.deepcopy(template)
    whole = compact.network_of(weights, template, in_double(state), kind, options)

    state, kept = compact.cut(template, state, multiple)
    widths = compact.widths_of(template, state)
    compact.narrow(smaller, widths)
    small = compact.network_of(weights, smaller, in_double(state), kind, options)
    tested = decoded.normalise(known.test.images[:images], known.mean, known.std).double()
    drawn = samples if kinds.KINDS[kind].stochastic else 1
    check = compare(whole, small, kept, tested, drawn)

    both = (template, smaller)
    metadata = {
        "model": settings["model"],
        "inference": kind,
        "options": dict(options),
        "widths": widths,
        "image_shape": known.image_shape,
        "classes": known.classes,
        "mean": known.mean.tolist(),
        "std": known.std.tolist(),
        "node": node,
        "units": [compact.units_in(template), sum(map(len, kept))],
        "parameters": [sum(p.numel() for p in model.parameters()) for model in both],
        "multiply_adds": [multiply_adds(model, known.image_shape) for model in both],
        "check": check,
    }
    write_tensors(output, state, metadata)
    return metadata


def read_node(folder: Path, dataset: str) -> tuple[dict, dict]:
    """A trained node's coordinates and settings, from its `metrics.json`.

    Raises:
        InputError: there is none, `node_metrics` refuses it, or it is of another data set than
            `dataset`.
    """
    path = folder / "metrics.json"
    metrics = node_metrics.read(path)
    settings = metrics["settings"]
    if settings["dataset"] != dataset:
        raise InputError(
            f"{path}: the node was trained on {settings['dataset']}, not on {dataset}."
        )
    return metrics["node"], settings


def in_double(state: State) -> State:
    """The state with its floating-point tensors in float64."""
    return {k: v.double() if v.is_floating_point() else v for k, v in state.items()}


@torch.inference_mode()
def compare(
    whole: Network, small: Network, kept: compact.Kept, images: Tensor, samples: int
) -> dict:
    """Check that two networks' logits are the same.

    Args:
        whole, small: a network and what `compact.cut` makes of it, in evaluation mode.
        kept: as `compact.cut` gives it.
        images: (B, C, H, W) float, in the networks' precision.
        samples: how many weight samples to compare, of the same noise.

    Returns:
        The number of images and of samples, and the largest difference between logits.

    Raises:
        InputError: they differ by more than `TOLERANCE`, in units of the largest logit, or of 1.
    """
    stream, differences, scale = generator("export"), [], 1.0
    for _ in range(samples):  # one by one, to need little memory
        noise = whole.noise(1, stream)
        expected = whole.logits(images, whole.weights(), noise)
        found = small.logits(images, small.weights(), compact.noise_for(whole, kept, noise))
        differences.append((found - expected).abs().max())
        scale = max(scale, expected.abs().max().item())
    difference = torch.stack(differences).max().item()
    if not difference <= TOLERANCE * scale:  # so written that NaN is refused
        raise InputError(
            f"compact network: its logits differ from the whole network's by up to {difference:g}, "
            f"where the largest is {scale:g}; nothing was written."
        )
    return {"images": len(images), "samples": samples, "largest_difference": difference}
