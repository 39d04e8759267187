"""Compact dense networks: without the units in which pruning has left no part (see `compact`).

A stochastic network's file holds its posterior, of which as many weight samples as one likes may be
drawn, and not the draws.
"""

import copy
from pathlib import Path

import torch
from torch import Tensor

from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import compact, sources
from bayesian_lottery.exports.sources import Content, Exported, Source
from bayesian_lottery.inference import bayesian
from bayesian_lottery.inference.networks import Network, State
from bayesian_lottery.models.units import groups_of
from bayesian_lottery.randomness import generator
from bayesian_lottery.training.engine import multiply_adds

TOLERANCE = 1e-5  # of the largest logit: biases that constants went into are float32


def check(source: Source) -> None:
    """Raise `InputError` for a model of which it is not known what its units are."""
    groups_of(source.template())


def make(source: Source) -> Content:
    """The compact network, once its logits are the whole one's in float64.

    Raises:
        InputError: they are not.
    """
    template = source.template().double()
    smaller = copy.deepcopy(template)
    whole = source.network(template, in_double(source.state))
    state, kept = compact.cut(template, source.state, source.multiple)
    widths = compact.widths_of(template, state)
    compact.narrow(smaller, widths)
    small = source.network(smaller, in_double(state))
    difference = compare(whole, small, kept, source)
    both, shape = (template, smaller), source.images.image_shape
    told = {
        "widths": widths,
        "units": [compact.units_in(template), sum(map(len, kept))],
        "parameters": [sum(p.numel() for p in model.parameters()) for model in both],
        "multiply_adds": [multiply_adds(model, shape) for model in both],
        "check": {
            "images": len(source.tested()),
            "samples": source.samples,
            "largest_difference": difference,
        },
    }
    return Content(state, told, sum(tensor.nbytes for tensor in state.values()))


def in_double(state: State) -> State:
    """The state with its floating-point tensors in float64."""
    return {k: v.double() if v.is_floating_point() else v for k, v in state.items()}


@torch.inference_mode()
def compare(whole: Network, small: Network, kept: compact.Kept, source: Source) -> float:
    """The largest difference between the logits of a network and of what `compact.cut` makes of it.

    Args:
        whole, small: of float64, in evaluation mode.
        kept: as `compact.cut` gives it.
        source: what it is of; its test images and weight samples are compared.

    Raises:
        InputError: they differ by more than `TOLERANCE`, in units of the largest logit, or of 1.
    """
    images, differences, scale = source.tested().double(), [], 1.0
    for sample in range(source.samples):  # one by one, to need little memory
        noise = whole.noise(1, source.stream(sample))
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
    return difference


def load(path: Path, source: Source | None = None) -> Exported:
    """The network, by dense layers; with weight samples of its own, or those of `source`."""
    network, metadata = compact.load(path)
    streams = [generator("export", sample) for sample in range(metadata.get("samples", 1))]
    if source is None:
        noise = [network.noise(1, stream) for stream in streams]
    else:
        _, kept = compact.cut(source.template(), source.state, source.multiple)
        drawn = [source.whole.noise(1, stream) for stream in streams]
        noise = [compact.noise_for(source.whole, kept, each) for each in drawn]
    draws = [{**network.survivors.others, **_draw(network, each)} for each in noise]
    stacked = sources.stack(draws, network.survivors.shapes)
    return Exported(sources.predictor({"samples": 1, **metadata}, stacked), metadata)


def _draw(network: Network, noise: Tensor) -> State:
    """The variables that `noise` (1, n) makes of a network, as dense tensors."""
    weights = [row.detach() for row in network.weights()]
    row = bayesian.sample(weights[0], weights[1], noise)[0] if noise.shape[1] else weights[0]
    return network.survivors.named(row)
