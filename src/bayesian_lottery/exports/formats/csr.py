"""Sparse layers as compressed sparse rows (CSR), multiplied by their survivors alone.

A convolution is a product with the patches that it sees (im2col). A layer is CSR where that takes
fewer bytes; the others, such as a classifier that is not pruned, are dense. All S draws share the
indices. Files: of a sparse layer `{weight}.ends` (O,) int32, where rows end, `{weight}.columns`
(n,) int16 or int32, and `{weight}.values` (S, n) float32; of other tensors as `dense` has them.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import sources
from bayesian_lottery.exports.sources import Content, Exported, Source
from bayesian_lottery.files import read_tensors
from bayesian_lottery.inference.products import Layout
from bayesian_lottery.inference.survivors import State
from bayesian_lottery.models.layers import Conv2d, Linear, unfold_samples
from bayesian_lottery.models.one_by_one import samples_apart

SHORT = torch.iinfo(torch.int16).max


def check(source: Source) -> None:
    """Raise `InputError` where torch has no sparse products, or a model takes draws apart."""
    if not torch.backends.mkl.is_available():
        raise InputError("csr: torch's sparse products need MKL, and this torch is built without.")
    if source.samples > 1 and samples_apart(source.template()):
        raise InputError(
            "csr: it multiplies all weight samples at once, and this model takes them one at a "
            "time; export its mean."
        )


def make(source: Source) -> Content:
    """The draws, sparse where that is smaller."""
    data, template = dict(source.stacked), source.template()
    for name, kept in source.mask.items():
        rows = kept.flatten(1)
        column = torch.int16 if rows.shape[1] <= SHORT + 1 else torch.int32
        sparse: State = {
            f"{name}.ends": rows.sum(1).cumsum(0).int(),
            f"{name}.columns": rows.nonzero()[:, 1].to(column),
            f"{name}.values": data[name].view(source.samples, -1)[:, rows.flatten()],
        }
        smaller = sum(part.nbytes for part in sparse.values()) < data[name].nbytes
        if smaller and _takes(template.get_submodule(name.rpartition(".")[0])):
            del data[name]
            data |= sparse
    return Content(data, {}, sum(tensor.nbytes for tensor in data.values()))


def _takes(layer: nn.Module) -> bool:
    """Whether a layer is a product of its weights with patches of its input."""
    plain = isinstance(layer, Conv2d) and layer.groups == 1 and layer.padding_mode == "zeros"
    return isinstance(layer, Linear) or (plain and not isinstance(layer.padding, str))


def load(path: Path, source: Source | None = None) -> Exported:
    """The networks, their sparse layers by CSR products."""
    data, metadata = read_tensors(path)
    template, classes = sources.template_of(metadata), len(metadata["classes"])
    for name in (part.removesuffix(".values") for part in data if part.endswith(".values")):
        layer = template.get_submodule(name.rpartition(".")[0])
        if not _is_sound(data, name, layer.get_parameter("weight")):
            raise InputError(f"{path}: {name} is no sparse matrix of the model's layer.")
        layer.forward = _product(layer, data, name)
    others = {name: data[name] for name in data if name in template.state_dict()}
    sources.filled(template, others)
    return Exported(lambda images: unfold_samples(template(images), classes), metadata)


def _is_sound(data: State, name: str, weight: Tensor) -> bool:
    """Whether rows and columns are those of a matrix of the layer's weight (O, ...): torch checks
    no index when it multiplies."""
    parts = [data.get(f"{name}.{part}") for part in ("ends", "columns", "values")]
    if any(part is None for part in parts):
        return False
    ends, columns, values = (part for part in parts if part is not None)
    width, entries = weight[0].numel(), values.shape[-1]
    steps = torch.cat([ends.new_zeros(1), ends]).diff()
    inside = bool(((columns >= 0) & (columns < width)).all())
    whole = len(ends) == len(weight) and len(columns) == entries == int(ends[-1])
    return inside and whole and bool((steps >= 0).all())


def _product(layer: nn.Module, data: State, name: str) -> Callable[[Tensor], Tensor]:
    """A layer's forward pass by the CSR weights `name`."""
    assert isinstance(layer, (Conv2d, Linear))
    width = layer.weight[0].numel()
    values = data[f"{name}.values"]
    ends, columns = data[f"{name}.ends"], data[f"{name}.columns"].int()
    layout = Layout((len(ends), width), ends, columns)
    multiply = partial(_multiply, layout, values, {})
    if isinstance(layer, Conv2d):
        return partial(_convolve, layer, multiply)
    return partial(_map, layer, multiply)


def _multiply(layout: Layout, values: Tensor, made: dict, inputs: Tensor) -> Tensor:
    """(N, S·O) of inputs (N, I), shared by the draws, or (N, S·I)."""
    shared = inputs.shape[1] == layout.shape[1]
    if shared not in made:
        made[shared] = layout.matrix(values, shared)
    return (made[shared] @ inputs.T).T


def _map(layer: Linear, multiply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    outputs = multiply(x.flatten(0, -2))
    if layer.bias is not None:
        outputs = outputs + layer.bias
    return outputs.view(*x.shape[:-1], -1)


def _convolve(layer: Conv2d, multiply: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    kernel, dilation, padding, stride = (
        tuple(map(int, each))
        for each in (layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    )
    patches = F.unfold(x, kernel, dilation, padding, stride)
    outputs = multiply(patches.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1))
    if layer.bias is not None:
        outputs = outputs + layer.bias
    shape = [
        (x.shape[2 + d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1
        for d in (0, 1)
    ]
    return outputs.transpose(1, 2).unflatten(2, shape)
