"""K networks of one architecture that train side by side, as a batch of models.

To the engine a pack is one network with K times the channels, whose layers work in K groups: where
a single small network leaves a device idle, K of them take little longer. Each has its own mask,
images, labels and noise, and gets the gradients that it would have had alone, up to rounding.

Images, labels and logits of a pack are those of its networks, one network's after the other's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import bayesian
from bayesian_lottery.inference.networks import (
    BayesianNetwork,
    DeterministicNetwork,
    Network,
    Weights,
)
from bayesian_lottery.models.layers import Tokens


class DeterministicPack(DeterministicNetwork):
    """Deterministic networks side by side; theirs stay views of the pack's parameters."""

    def __init__(self, networks: Sequence[DeterministicNetwork]):
        self.networks, self.members = networks, len(networks)
        self.template = networks[0].template
        self.module = nn.ModuleList(network.module for network in networks)
        self.tensors = _stack(self.module)
        layers = [network.mask for network in networks]
        self.mask = {name: torch.cat([mask[name] for mask in layers]) for name in layers[0]}

    def noise_from(self, samples: int, generators: Sequence[torch.Generator]) -> Tensor:
        """The noise of all networks, each from a generator of its own."""
        return torch.empty(1, 0)

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        logits = super().logits(_side_by_side(images, self.members, 1), weights, noise)
        return _one_after_the_other(logits, self.members)

    def divergence(self, weights: Weights) -> Tensor:
        return torch.zeros(self.members, device=weights[0].device)


class BayesianPack(BayesianNetwork):
    """Bayesian networks side by side; theirs stay views of the pack's parameters."""

    def __init__(self, networks: Sequence[BayesianNetwork]):
        first = networks[0]
        if len(networks) > 1 and first.estimator != "weights":
            raise InputError(
                f"bayesian.estimator: {first.estimator!r} trains one network at a time, not "
                f"{len(networks)} side by side."
            )
        self.networks, self.members = networks, len(networks)
        self.template, self.estimator = first.template, first.estimator
        self.objective = first.objective
        self.module = nn.ModuleList(network.module for network in networks)
        self.prior_std = first.prior_std
        stacks = _stack(self.module)
        names = {name: bayesian.parameter_names(name) for name in first.posteriors}
        self.posteriors = {
            name: (stacks[mean], stacks[log_std]) for name, (mean, log_std) in names.items()
        }
        self.others = {name: stacks[name] for name in first.others}
        self.shapes = {name: mean.shape for name, (mean, _) in self.posteriors.items()}
        self.sizes = [shape.numel() // self.members for shape in self.shapes.values()]
        self.kept = self._by_layer([network.kept for network in networks])

    def noise_from(self, samples: int, generators: Sequence[torch.Generator]) -> Tensor:
        """The noise of all networks, each from a generator of its own."""
        pairs = zip(self.networks, generators, strict=True)
        drawn = [network.noise(samples, stream) for network, stream in pairs]
        return drawn[0] if self.members == 1 else self._by_layer(drawn)

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        logits = super().logits(_side_by_side(images, self.members, len(noise)), weights, noise)
        return _one_after_the_other(logits, self.members)

    def divergence(self, weights: Weights) -> Tensor:
        """KL of each network, (K,)."""
        mean, std, log_std, kept = (self._by_network(row) for row in (*weights, self.kept))
        rows = zip(mean, std, log_std, kept, strict=True)
        return torch.stack([bayesian.divergence(*row, self.prior_std) for row in rows])

    def _by_layer(self, rows: list[Tensor]) -> Tensor:
        """(..., n) of each network to (..., K·n), a layer of all networks after the other."""
        parts = torch.stack(rows, -2).split(self.sizes, -1)
        return torch.cat([part.flatten(-2) for part in parts], -1)

    def _by_network(self, row: Tensor) -> Tensor:
        """(K·n,), a layer after the other, to (K, n)."""
        parts = row.split([self.members * size for size in self.sizes])
        return torch.cat([part.view(self.members, -1) for part in parts], 1)


Pack = DeterministicPack | BayesianPack
PACKS = {DeterministicNetwork: DeterministicPack, BayesianNetwork: BayesianPack}


def pack(networks: Sequence[Network]) -> Pack:
    """`networks`, all of one architecture, inference and options, side by side."""
    fitting = (pack for one, pack in PACKS.items() if isinstance(networks[0], one))
    return next(fitting)(networks)


def _side_by_side(images: Tensor, members: int, samples: int) -> Tensor:
    """(K·B, C, H, W) to (B, S·K·C, H, W), channels-last; as they are where one network's samples
    share them."""
    if members == 1:
        return images
    pixels = images.unflatten(0, (members, -1)).permute(1, 3, 4, 0, 2)  # (B, H, W, K, C)
    return pixels.flatten(3).repeat(1, 1, 1, samples).movedim(-1, 1)


def _one_after_the_other(logits: Tensor, members: int) -> Tensor:
    """(S·K, B, C) to (S, K·B, C)."""
    return logits.unflatten(0, (-1, members)).flatten(1, 2)


def _stack(modules: nn.ModuleList) -> dict[str, Tensor]:
    """Parameters and buffers of all modules, side by side; theirs become views of these."""
    stacks = {}
    for path, layer in modules[0].named_modules():
        # Through __dict__: torch-blue's __getattr__ would draw a sample of a variable asked for.
        for kind in ("_parameters", "_buffers"):
            for name, first in layer.__dict__[kind].items():
                if first is None:
                    continue
                owners = [module.get_submodule(path).__dict__[kind] for module in modules]
                parts = [owner[name].detach() for owner in owners]
                if first.ndim == 0:
                    stack = torch.stack(parts)
                    views = stack.unbind()
                else:
                    features = -1 if isinstance(layer, Tokens) else 0
                    stack = torch.cat(parts, features)
                    views = stack.chunk(len(parts), features)
                for owner, view in zip(owners, views, strict=True):
                    owner[name].data = view
                stacks[f"{path}.{name}".lstrip(".")] = (
                    nn.Parameter(stack) if kind == "_parameters" else stack
                )
    return stacks
