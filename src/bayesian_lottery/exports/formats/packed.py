"""The smallest file: survivors as int8, and one bit a weight of where they are, both deflated.

A row of weights (an output channel or neuron) has one scale, the largest magnitude / 127. Files: of
a weight `{weight}.kept`, the mask's bits, `{weight}.values`, the survivors of all draws, int8, and
`{weight}.scales` (S·O,) float32; the former two deflated by zlib, whose Huffman code takes less
than a bit for what is rare. Other tensors are as `dense` has them. In memory it is the dense
network.
"""

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import sources
from bayesian_lottery.exports.sources import Content, Exported, Source
from bayesian_lottery.files import read_tensors

LARGEST = 127  # of int8, symmetric


def check(source: Source) -> None:
    """Every network fits."""


def make(source: Source) -> Content:
    """The draws, rounded."""
    data = dict(source.stacked)
    for name, kept in source.mask.items():
        weight = data.pop(name)
        scales = (weight.flatten(1).abs().amax(1) / LARGEST).clamp_min(torch.finfo().tiny)
        levels = (weight.flatten(1) / scales[:, None]).round().clamp(-LARGEST, LARGEST)
        survivors = levels.view(source.samples, -1)[:, kept.flatten()].to(torch.int8)
        data |= {
            f"{name}.kept": _deflated(np.packbits(kept.flatten().numpy())),
            f"{name}.values": _deflated(survivors.numpy()),
            f"{name}.scales": scales,
        }
    return Content(data, {}, sum(tensor.nbytes for tensor in data.values()))


def _deflated(array: np.ndarray) -> Tensor:
    return torch.frombuffer(bytearray(zlib.compress(array.tobytes(), 9)), dtype=torch.uint8)


def _inflated(tensor: Tensor, dtype: type) -> np.ndarray:
    return np.frombuffer(zlib.decompress(tensor.numpy().tobytes()), dtype)


def load(path: Path, source: Source | None = None) -> Exported:
    """The networks, by PyTorch's dense layers.

    Raises:
        InputError: the file is missing, damaged, or none of this format.
    """
    data, metadata = read_tensors(path)
    template = sources.template_of(metadata)
    try:
        for name in [part.removesuffix(".kept") for part in data if part.endswith(".kept")]:
            shape = template.get_parameter(name).shape
            data[name] = _weight(data, name, shape, metadata["samples"])
    except (KeyError, ValueError, RuntimeError, zlib.error) as error:
        raise InputError(f"{path}: not a packed network ({error}).") from None
    names = template.state_dict()
    stacked = {name: tensor for name, tensor in data.items() if name in names}
    return Exported(sources.predictor(metadata, stacked), metadata)


def _weight(data: dict[str, Tensor], name: str, shape: torch.Size, samples: int) -> Tensor:
    """The weight (S·O, ...) of its parts, which leave `data`."""
    bits = np.unpackbits(_inflated(data.pop(f"{name}.kept"), np.uint8), count=shape.numel())
    survivors = torch.from_numpy(_inflated(data.pop(f"{name}.values"), np.int8).copy())
    weight = torch.zeros(samples, shape.numel())
    weight[:, torch.from_numpy(bits).bool()] = survivors.view(samples, -1).float()
    scaled = weight.view(samples * shape[0], -1) * data.pop(f"{name}.scales")[:, None]
    return scaled.view(-1, *shape[1:])
