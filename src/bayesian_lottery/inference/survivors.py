"""Survivors: what a mask leaves of a model's weights, and the forward pass with any values of them.

The currency of every inference is a matrix (S, n). A row is a network, and its n entries are the
weights that survive and the biases, of all convolutions and linear layers in network order. Whoever
makes the rows (a variational posterior, an ensemble, a Markov chain), `Survivors.logits` predicts
with them. Norms and embeddings are in no row; there is one of each for all rows, in `others`.

Layers get ordinary weights, zero where pruned. Only linear layers that are sparse enough multiply
by their survivors alone (see `products`).
"""

import copy
from collections.abc import Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from bayesian_lottery.inference import packs
from bayesian_lottery.inference.places import Places, placed
from bayesian_lottery.inference.products import Pattern, pay
from bayesian_lottery.inference.repeats import Norms
from bayesian_lottery.models import classes_of, prunable, shapes_for
from bayesian_lottery.models.layers import (
    Conv2d,
    Linear,
    Tokens,
    forward_replaced,
    linear,
    linear_apart,
    unfold_samples,
)
from bayesian_lottery.models.one_by_one import samples_apart
from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.masks import Mask

State = dict[str, Tensor]


def variables(model: nn.Module) -> State:
    """The weights and biases that have a value in each row, in network order."""
    layers = ((n, m) for n, m in model.named_modules() if isinstance(m, (Conv2d, Linear)))
    return {f"{name}.{own}": p for name, m in layers for own, p in m.named_parameters()}


def count(layer: Tensor) -> int:
    """How many of a layer's weights a mask keeps."""
    return int(layer.sum())


class Survivors:
    """A model under a mask, and where each survivor belongs.

    Args:
        template: the model, whose forward pass is used. Its own values of the variables are given
            up, so that nothing can take them by mistake: they move to the device "meta".
        sparse: whether sparse products may be used.

    Attributes:
        shapes: the variables' shapes, by name; in a pack, dimension 0 counts all members'.
        counts: how many entries of a row each variable has.
        sizes: how many each network has, n of one alone.
        mask: of the prunable ones among them.
        others: the template's other parameters and its buffers, by name.
        norms: its batch norms, unless it takes samples one at a time or has none.
        members: how many networks lie side by side (see `packs`), the entries of one after the
            other's.
    """

    def __init__(self, template: nn.Module, sparse: bool = True):
        own = variables(template)
        named = [*template.named_parameters(), *template.named_buffers()]
        self.template, self.members = template, 1
        self.sparse = sparse and not samples_apart(template)  # products take all samples at once
        self.others: State = {name: tensor for name, tensor in named if name not in own}
        self.norms = None if samples_apart(template) else Norms.of(template, self.others)
        self.shapes = {name: tensor.shape for name, tensor in own.items()}
        self.like = next(iter(own.values())).new_empty(0)
        for name in own:
            layer, variable = _owner(template, name)
            setattr(layer, variable, nn.Parameter(own[name].detach().to("meta")))
        self.keep(masks.ones(prunable(template)))

    def __len__(self) -> int:
        """The number of entries of a row, n."""
        return sum(self.counts)

    @property
    def layers(self) -> list[str]:
        """The names of the layers that have variables, in network order."""
        return list(dict.fromkeys(name.rpartition(".")[0] for name in self.shapes))

    def layer_counts(self) -> list[int]:
        """How many entries of a row each of `layers` has; in a pack, of one network after the
        other."""
        names = [name.rpartition(".")[0] for name in self.shapes]
        found: list[int] = []
        for first in range(0, len(self.counts), len(names)):
            own = dict.fromkeys(names, 0)
            for name, entries in zip(names, self.counts[first : first + len(names)], strict=True):
                own[name] += entries
            found += own.values()
        return found

    def keep(self, mask: Mask) -> None:
        """Let the survivors be those of `mask`."""
        masks.check(mask, shapes_for(self.template, mask))
        device = self.like.device
        self.mask = {name: layer.to(device) for name, layer in mask.items()}
        self.counts, self.patterns, columns = [], {}, []
        for name, shape in self.shapes.items():
            size, start = shape.numel(), len(self)
            kept = count(mask[name]) if name in mask else size
            if kept < size:
                layer = mask[name].flatten().cpu()
                columns.append(torch.where(layer, layer.cumsum(0) + (start - 1), -1))
            else:
                columns.append(torch.arange(start, start + size))
            linear_layer = isinstance(_owner(self.template, name)[0], Linear)
            if self.sparse and linear_layer and pay(size, kept, device):
                self.patterns[name] = Pattern(mask[name])
            self.counts.append(kept)
        self.sizes = [len(self)]
        self._place(columns)

    def _place(self, columns: Sequence[Tensor]) -> None:
        """Note each variable's `columns`: the place in a row of its every entry, -1 if pruned."""
        total, device = len(self), self.like.device
        columns = [torch.where(column < 0, total, column) for column in columns]
        by_name = zip(self.shapes, columns, strict=True)
        dense = torch.cat([column for name, column in by_name if name not in self.patterns])
        self.columns = torch.cat(columns).to(device)
        self.places: Places | None = None
        if self.members > 1 or total < len(self.columns):
            self.places = Places(dense, total, device, every=not self.patterns)

    @classmethod
    def together(cls, parts: Sequence["Survivors"]) -> "Survivors":
        """Those of several networks of one architecture, whose `others` become views of a pack's.

        A row of the pack is a row of the first, then one of the second, and so on.
        """
        pack = copy.copy(parts[0])
        pack.members, pack.patterns = len(parts), {}
        pack.sizes = [len(part) for part in parts]
        pack.counts = [entries for part in parts for entries in part.counts]
        pack.shapes = {
            name: torch.Size([len(parts) * shape[0], *shape[1:]])
            for name, shape in parts[0].shapes.items()
        }
        pack.mask = {n: torch.cat([part.mask[n] for part in parts]) for n in parts[0].mask}
        others: State = {}
        for name in pack.others:
            features = -1 if isinstance(_owner(pack.template, name)[0], Tokens) else 0
            others[name] = packs.stack([part.others[name] for part in parts], features)
        pack.others = others
        pack.norms = None if samples_apart(pack.template) else Norms.of(pack.template, others)
        start, columns = 0, []
        for part in parts:
            own = torch.where(part.columns < len(part), part.columns + start, -1).cpu()
            columns.append(own.split([shape.numel() for shape in part.shapes.values()]))
            start += len(part)
        pack._place([torch.cat(column) for column in zip(*columns, strict=True)])
        return pack

    def collect(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The row (n,) of one network's variables, from tensors of their names and shapes."""
        flat = torch.cat([tensors[name].flatten() for name in self.shapes]).to(self.like)
        # The pruned ones meet in a last column. A scatter, since its shape depends on no value.
        row = flat.new_zeros(len(self) + 1)
        return row.scatter_(0, self.columns, flat)[:-1].clone()

    def named(self, row: Tensor, fill: float = 0.0) -> State:
        """The variables' tensors of a row (n,), with `fill` where they are pruned."""
        values = F.pad(row, (0, 1), value=fill)[self.columns]
        parts = values.split([shape.numel() for shape in self.shapes.values()])
        return {n: part.view(s) for part, (n, s) in zip(parts, self.shapes.items(), strict=True)}

    def weights(self, rows: Tensor) -> State:
        """The tensors (S·O, ...) of rows (S, n), as `models.layers` takes them, 0 where pruned.

        Those that have a pattern are not among them.
        """
        if self.places is not None:
            rows = placed(rows, self.places)
        shapes = {name: s for name, s in self.shapes.items() if name not in self.patterns}
        parts = rows.split([shape.numel() for shape in shapes.values()], dim=1)
        # Views for one row; copies for more.
        return {
            name: part.reshape(-1, *shape[1:])
            for part, (name, shape) in zip(parts, shapes.items(), strict=True)
        }

    def logits(self, images: Tensor, rows: Tensor) -> Tensor:
        """Logits (S, B, K) of float images (B, C, H, W) by each of the networks `rows` (S, n).

        A pack's images and logits are those of its networks, one network's after the other's.
        """
        tensors = {**self.others, **self.weights(rows)}
        products = {}
        if self.patterns:
            values = dict(zip(self.shapes, rows.split(self.counts, dim=1), strict=True))
            for name, pattern in self.patterns.items():
                products[name.rpartition(".")[0]] = partial(_multiply, pattern, values[name])
        if self.members > 1:
            images = packs.side_by_side(images, self.members, len(rows))
        norms = self.norms if len(rows) > 1 else None
        repeated = norms.repeated(self.others, len(rows)) if norms else {}
        with forward_replaced(self.template, products):
            output = functional_call(self.template, tensors | repeated, (images,))
        if norms:
            norms.settle(self.others, repeated, len(rows))
        return self.unfold(output)

    def unfold(self, output: Tensor) -> Tensor:
        """Logits (S, B, K) from the template's output (B, S·K)."""
        logits = unfold_samples(output, classes_of(self.template))
        return logits.unflatten(0, (-1, self.members)).flatten(1, 2) if self.members > 1 else logits


def _owner(template: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The layer that has a parameter or buffer, and the parameter's name there."""
    path, _, own = name.rpartition(".")
    return template.get_submodule(path), own


def _multiply(pattern: Pattern, values: Tensor, layer: nn.Module, x: Tensor) -> Tensor:
    """What a linear layer with the surviving weights `values` (S, n) makes of its input."""
    assert isinstance(layer, Linear)
    if not pattern.suits(x):
        return (linear_apart if layer.apart else linear)(x, pattern.dense(values), layer.bias)
    if not layer.apart:
        return pattern.linear(x, values, layer.bias)
    output = pattern.linear(x.movedim(0, -2).flatten(-2), values, layer.bias)
    return output.unflatten(-1, (len(values), -1)).movedim(-2, 0)
