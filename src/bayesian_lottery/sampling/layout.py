"""What of a network under a mask its logits depend on, and how each layer is multiplied.

A unit without a path to the logits changes nothing, and its weights have no gradient but the
prior's. A unit without a path from the images has one value for all of them. A chain of layers is
therefore computed for its live units alone; the others become constants or nothing.

Only linear layers are cut so. Convolutions are computed whole, with zeros where they are pruned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import nn

from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.survivors import Survivors
from bayesian_lottery.models.layers import Conv2d

# A linear layer of live units is multiplied by its survivors alone up to this density.
SPARSE = 0.06
FORMS = ("auto", "masked", "live", "sparse")


@dataclass(frozen=True)
class Block:
    """Some entries of a linear layer's matrix, between units and inputs that are numbered anew.

    Attributes:
        places: (k,) where each entry is in a row of survivors.
        units, inputs: (k,) its unit and its input, units ascending.
        shape: (units, inputs).
    """

    places: np.ndarray
    units: np.ndarray
    inputs: np.ndarray
    shape: tuple[int, int]

    @property
    def density(self) -> float:
        return len(self.places) / max(1, self.shape[0] * self.shape[1])


@dataclass(frozen=True)
class Linear:
    """A linear layer, cut.

    Attributes:
        name: the layer's.
        live: from live inputs to live units.
        offset: from constant inputs to live units.
        constant: from constant inputs to constant units.
        biases: of live units, the places in a row, and of constant ones; None without biases.
        sparse: whether `live` is multiplied by its survivors alone.
    """

    name: str
    live: Block
    offset: Block
    constant: Block
    biases: tuple[np.ndarray, np.ndarray] | None
    sparse: bool


@dataclass(frozen=True)
class Convolution:
    """A convolution, whole: the places of its survivors in a row, and in its weights.

    Attributes:
        name: the layer's.
        places, entries: (k,) of each survivor.
        shape: (O, I, h, w).
        biases: (O,) places in a row; None without biases.
        stride, padding, dilation, groups: as torch has them.
        pool: the side of the max-pooling after it.
    """

    name: str
    places: np.ndarray
    entries: np.ndarray
    shape: tuple[int, ...]
    biases: np.ndarray | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    pool: int


@dataclass(frozen=True)
class Layout:
    """A chain of layers, ReLU between them.

    Attributes:
        convolutions, linears: in their order.
        inputs: which inputs of the first linear layer are live.
        size: n, the entries of a row.
    """

    convolutions: tuple[Convolution, ...]
    linears: tuple[Linear, ...]
    inputs: np.ndarray
    size: int

    def words(self) -> str:
        """How each layer is computed, for the log."""
        whole = [f"{each.name} whole" for each in self.convolutions]
        cut = [
            f"{each.name} {each.live.shape[0]}x{each.live.shape[1]} "
            f"{'sparse' if each.sparse else 'dense'} ({each.live.density:.1%})"
            for each in self.linears
        ]
        return ", ".join([*whole, *cut])


def layout_of(survivors: Survivors, form: str = "auto") -> Layout:
    """The layout of a network's survivors.

    Args:
        survivors: of a model that is a chain of layers.
        form: of linear layers: "auto" by density; "live", dense without dead units; "masked", dense
            with all units; "sparse".

    Raises:
        InputError: the model is no such chain.
    """
    model = survivors.template
    chain: Mapping[str, int] | None = getattr(model, "chain", None)
    if chain is None:
        raise InputError(f"{type(model).__name__} is no chain of linear layers and convolutions.")
    places = dict(zip(survivors.shapes, _places(survivors), strict=True))
    layers = {name: model.get_submodule(name) for name in chain}
    kept = {
        name: np.asarray(survivors.mask[key].cpu()) if (key := f"{name}.weight") in survivors.mask
        else np.ones(survivors.shapes[key], bool)
        for name in chain
    }  # fmt: skip
    convolutions, linear = [], []
    for name, layer in layers.items():
        biases = places.get(f"{name}.bias")
        if isinstance(layer, Conv2d):
            convolutions.append(
                Convolution(
                    name, places[f"{name}.weight"], np.flatnonzero(kept[name]), kept[name].shape,
                    biases, layer.stride, _pairs(layer), layer.dilation, layer.groups, chain[name],
                )
            )  # fmt: skip
        else:
            linear.append(name)
    needed, varying = _paths([kept[name] for name in linear], whole=form == "masked")
    cut = []
    for index, name in enumerate(linear):
        cut.append(
            _cut(
                name, kept[name], places[f"{name}.weight"], places.get(f"{name}.bias"),
                needed[index : index + 2], varying[index : index + 2], form,
            )
        )  # fmt: skip
    return Layout(tuple(convolutions), tuple(cut), np.flatnonzero(needed[0]), len(survivors))


def _places(survivors: Survivors) -> list[np.ndarray]:
    """Of each variable, where its survivors are in a row."""
    ends = np.cumsum([0, *survivors.counts])
    return [np.arange(*span) for span in pairwise(ends)]


def _pairs(layer: nn.Conv2d) -> tuple[int, ...]:
    assert not isinstance(layer.padding, str)
    return layer.padding


def _paths(masks: list[np.ndarray], whole: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Before the first matrix (O, I) and after each: units with a path to the last, whose own all
    count, and units with one from the first's inputs."""
    needed = [np.ones(len(masks[-1]), bool)]
    for mask in reversed(masks):
        live: np.ndarray = np.any(mask[needed[0]], axis=0)
        needed.insert(0, np.ones_like(live) if whole else live)
    varying = [np.ones(masks[0].shape[1], bool)]
    for mask in masks:
        live = np.any(mask[:, varying[-1]], axis=1)
        varying.append(np.ones_like(live) if whole else live)
    varying[-1][:] = True  # logits are given for each image
    return needed, varying


def _cut(
    name: str,
    mask: np.ndarray,
    places: np.ndarray,
    biases: np.ndarray | None,
    needed: list[np.ndarray],
    varying: list[np.ndarray],
    form: str,
) -> Linear:
    """A linear layer from its mask (O, I); `needed` and `varying` are those of I and O."""
    live = [np.flatnonzero(n & v) for n, v in zip(needed, varying, strict=True)]
    constant = [np.flatnonzero(n & ~v) for n, v in zip(needed, varying, strict=True)]
    numbers = np.full(mask.shape, -1)
    numbers[mask] = places

    def block(units: np.ndarray, inputs: np.ndarray) -> Block:
        part = numbers[np.ix_(units, inputs)]
        rows, columns = np.nonzero(part >= 0)
        return Block(part[rows, columns], rows, columns, part.shape)

    whole = block(live[1], live[0])
    sparse = {"auto": whole.density <= SPARSE, "sparse": True}.get(form, False)
    own = None if biases is None else (biases[live[1]], biases[constant[1]])
    return Linear(
        name, whole, block(live[1], constant[0]), block(constant[1], constant[0]), own,
        sparse and len(whole.places) > 0,
    )  # fmt: skip
