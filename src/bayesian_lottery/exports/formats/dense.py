"""All weights, zeros where pruned: what the others are compared with, and what "dense" means."""

from pathlib import Path

from bayesian_lottery.exports import sources
from bayesian_lottery.exports.sources import Content, Exported, Source
from bayesian_lottery.files import read_tensors


def check(source: Source) -> None:
    """Every network fits."""


def make(source: Source) -> Content:
    """The draws' parameters and buffers, stacked (see `models.layers`)."""
    state = source.stacked
    return Content(state, {}, sum(tensor.nbytes for tensor in state.values()))


def load(path: Path, source: Source | None = None) -> Exported:
    """The networks, by PyTorch's dense layers."""
    state, metadata = read_tensors(path)
    return Exported(sources.predictor(metadata, state), metadata)
