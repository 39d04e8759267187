"""Batch norms for several samples: what they share, repeated once a pass and not in each layer.

A norm whose parameters and running statistics are as long as S samples' channels treats the samples
as it does networks side by side (see `models.layers`): each has its own statistics. Those of all
samples start from the norm's own, which then move to their mean.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayesian_lottery.models.layers import BatchNorm2d

State = dict[str, Tensor]
Index = tuple[Tensor, Tensor]


class Norms:
    """The batch norms of a model that carries samples side by side.

    Args:
        template: the model.
        others: its parameters and buffers, by name; in a pack, those of all members.
    """

    def __init__(self, template: nn.Module, others: State):
        layers = dict(template.named_modules())
        self.layers = {n: each for n, each in layers.items() if isinstance(each, BatchNorm2d)}
        self.parameters, self.statistics = (
            [name for norm in self.layers for own in kinds if (name := f"{norm}.{own}") in others]
            for kinds in (("weight", "bias"), ("running_mean", "running_var"))
        )
        self.indices: dict[tuple[str, int], Index] = {}

    @classmethod
    def of(cls, template: nn.Module, others: State) -> "Norms | None":
        """None of a model without any."""
        norms = cls(template, others)
        return norms if norms.parameters else None

    def repeated(self, others: State, samples: int) -> State:
        """The norms' tensors for so many samples, by name; parameters with their graph.

        Args:
            others: the model's parameters and buffers, by name.
            samples: S.
        """
        with torch.no_grad():
            statistics = self._repeated(others, self.statistics, samples)
        return self._repeated(others, self.parameters, samples) | statistics

    def settle(self, others: State, repeated: State, samples: int) -> None:
        """Let the running statistics be the means of the samples', if a pass has moved them."""
        if not any(layer.moves for layer in self.layers.values()):
            return
        moved = torch.cat([repeated[name] for name in self.statistics])
        own = [others[name] for name in self.statistics]
        _, back = self._index(self.statistics, own, samples)
        means = moved.index_select(0, back).view(samples, -1).mean(0)
        torch._foreach_copy_(own, list(means.split([len(each) for each in own])))

    def _repeated(self, others: State, names: Sequence[str], samples: int) -> State:
        if not names:
            return {}
        own = [others[name] for name in names]
        whole = _Repeated.apply(torch.cat(own), *self._index(names, own, samples), samples)
        parts = whole.split([samples * len(each) for each in own])
        return dict(zip(names, parts, strict=True))

    def _index(self, names: Sequence[str], own: Sequence[Tensor], samples: int) -> Index:
        """Which entry of the joined tensors each repeated one is; and where sample after sample is
        among the repeated ones."""
        key = names[0], samples
        if key not in self.indices:
            device, sizes = own[0].device, [len(each) for each in own]
            numbers = torch.arange(sum(sizes), device=device).split(sizes)
            there = torch.cat([part.repeat(samples) for part in numbers])
            places = torch.arange(samples * sum(sizes), device=device)
            places = places.split([samples * size for size in sizes])
            back = torch.cat([each.view(samples, -1) for each in places], 1).flatten()
            self.indices[key] = there, back
        return self.indices[key]


class _Repeated(torch.autograd.Function):
    @staticmethod
    def forward(ctx, own: Tensor, there: Tensor, back: Tensor, samples: int) -> Tensor:
        ctx.back, ctx.samples = back, samples
        return own.index_select(0, there)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        rows = gradient.index_select(0, ctx.back).view(ctx.samples, -1)
        return rows.sum(0), None, None, None
