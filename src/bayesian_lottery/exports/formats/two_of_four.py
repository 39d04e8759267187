"""2:4 sparse linear layers, PyTorch's semi-structured tensors, on GPUs that multiply by them.

Of every four weights along the input two are kept, as the pattern `2of4` prunes. Files, in float16:
of a linear layer `{weight}.values` (O, I/2) and `{weight}.places`, PyTorch's 2-bit indices (as its
CUTLASS tensors have them), one after the other for each draw in `{weight}.…{draw}`; of other
tensors as `dense` has them. Convolutions have no such product in PyTorch and stay dense.
"""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.sparse import _semi_structured_conversions as conversions
from torch.sparse import to_sparse_semi_structured

from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import sources
from bayesian_lottery.exports.sources import Content, Exported, Source
from bayesian_lottery.files import read_tensors
from bayesian_lottery.inference.survivors import State, variables
from bayesian_lottery.models.layers import Linear

ROWS, COLUMNS = 32, 64  # float16 matrices have multiples of these (PyTorch's own limits)
CAPABILITY = (8, 0)


def check(source: Source) -> None:
    """Raise `InputError` unless there is a 2:4 linear layer, and a GPU that multiplies by it."""
    if not suited(source):
        raise InputError(
            "2of4: no linear layer keeps two of every four weights along its input, with "
            f"outputs in multiples of {ROWS} and inputs of {COLUMNS}; prune with the pattern 2of4."
        )
    _check_device()


def _check_device() -> None:
    capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    if capability is None or capability < CAPABILITY:
        there = (
            "this machine has none"
            if capability is None
            else f"it has {capability[0]}.{capability[1]}"
        )
        raise InputError(
            "2of4: PyTorch's semi-structured tensors need a GPU of compute capability 8.0 or more, "
            f"and {there}."
        )


def suited(source: Source) -> list[str]:
    """The weights of linear layers that are 2:4 and have sizes that PyTorch takes."""
    template = source.template()
    layers = {name: template.get_submodule(name.rpartition(".")[0]) for name in source.mask}
    return [
        name
        for name, kept in source.mask.items()
        if isinstance(layers[name], Linear) and fits(kept) and is_two_of_four(kept)
    ]


def fits(kept: Tensor) -> bool:
    """Whether a matrix (O, I) has sizes that PyTorch takes."""
    return kept.shape[0] % ROWS == 0 and kept.shape[1] % COLUMNS == 0


def is_two_of_four(kept: Tensor) -> bool:
    """Whether at most two of every four neighbours in a row of (O, I) bool are kept."""
    return kept.shape[1] % 4 == 0 and bool((kept.unflatten(1, (-1, 4)).sum(2) <= 2).all())


def make(source: Source) -> Content:
    """The draws, 2:4 where they are, in float16."""
    data: State = {}
    names = suited(source)
    for draw, state in enumerate(source.draws):
        for name in names:
            values, places = conversions.sparse_semi_structured_from_dense_cutlass(
                state[name].half()
            )
            data |= {f"{name}.values{draw}": values, f"{name}.places{draw}": places}
    others = {name: tensor for name, tensor in source.stacked.items() if name not in names}
    data |= {n: t.half() if t.is_floating_point() else t for n, t in others.items()}
    return Content(data, {"layers": names}, sum(tensor.nbytes for tensor in data.values()))


def matrices(data: State, name: str, samples: int) -> list[Tensor]:
    """The dense matrix (O, I) of each draw of a file's 2:4 layer, float16."""
    return [
        conversions.sparse_semi_structured_to_dense_cutlass(
            data[f"{name}.values{draw}"], data[f"{name}.places{draw}"]
        )
        for draw in range(samples)
    ]


def load(path: Path, source: Source | None = None) -> Exported:
    """The networks, on a GPU; draws go through it one by one.

    Raises:
        InputError: there is no such GPU, or the file is missing or damaged.
    """
    _check_device()
    data, metadata = read_tensors(path)
    samples, layers = metadata["samples"], metadata["layers"]
    sparse = {name: matrices(data, name, samples) for name in layers}
    stacked = {name: tensor for name, tensor in data.items() if not _is_part(name, layers)}
    networks = []
    for draw in range(samples):
        template = sources.template_of(metadata)
        state = sources.unstack(stacked, variables(template), samples, draw)
        state |= {name: drawn[draw] for name, drawn in sparse.items()}
        networks.append(_on_gpu(sources.filled(template, state), layers))

    def logits(images: Tensor) -> Tensor:
        inputs = images.half().cuda()
        return torch.stack([network(inputs) for network in networks]).float().cpu()

    return Exported(logits, metadata)


def _is_part(name: str, layers: list[str]) -> bool:
    return any(name.startswith((f"{each}.values", f"{each}.places")) for each in layers)


def _on_gpu(model: nn.Module, layers: list[str]) -> nn.Module:
    """A model there, the layers' weights as semi-structured tensors."""
    model = model.cuda()
    for name in layers:
        layer = model.get_submodule(name.rpartition(".")[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tensors' being new
            sparse = to_sparse_semi_structured(layer.get_parameter("weight").detach())
        layer.weight = nn.Parameter(sparse, requires_grad=False)
    return model
