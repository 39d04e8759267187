"""Deterministic networks."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bayesian_lottery.inference import packs
from bayesian_lottery.inference.networks import (
    Network,
    Objective,
    Weights,
    check_shapes,
    prunable_of,
    take,
    take_others,
    trained,
)
from bayesian_lottery.inference.survivors import State, Survivors
from bayesian_lottery.tickets.masks import Mask


class DeterministicNetwork(Network):
    """An ordinary network. Its saved state is the plain model's."""

    objective = Objective()

    @classmethod
    def of(cls, template: nn.Module, options: Mapping) -> "DeterministicNetwork":
        """As `Kind.code` is called; the kind has no options."""
        return cls(template)

    @classmethod
    def together(cls, networks: Sequence["DeterministicNetwork"]) -> "DeterministicNetwork":
        """Networks side by side; theirs become parts of it."""
        pack = copy.copy(networks[0])
        pack.survivors = Survivors.together([network.survivors for network in networks])
        pack.weight = packs.stack([network.weight for network in networks])
        return pack

    def __init__(self, template: nn.Module):
        state = {name: tensor.detach() for name, tensor in template.state_dict().items()}
        self.names = list(state)
        self.survivors = Survivors(template)
        self.weight: Tensor = nn.Parameter(self.survivors.collect(state))

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        check_shapes("weights", state, self.state())
        self.survivors.keep(mask)
        take(self.weight, self.survivors, {name: state[name] for name in self.survivors.shapes})
        take_others(self.survivors, state)

    def state(self) -> State:
        found = {**self.survivors.named(self.weight.detach()), **self.survivors.others}
        return {name: found[name].detach().clone() for name in self.names}

    def tensors(self) -> State:
        return {"weight": self.weight, **self.survivors.others}

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        return [{"params": trained(self.tensors()), "weight_decay": weight_decay}]

    def weights(self) -> Weights:
        return (self.weight,)

    def noise(self, samples: int, *generators: torch.Generator) -> Tensor:
        return torch.empty(1, 0)

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        return self.survivors.logits(images, weights[0][None])

    def divergence(self, weights: Weights) -> Tensor:
        return weights[0].new_zeros(self.members)

    def moments(self) -> dict[str, State]:
        return {"weight": prunable_of(self.survivors, self.weight.detach())}

    def draw(self, generator: torch.Generator) -> State:
        return self.state()

    def born(self, name: str) -> dict[str, float]:
        return {"weight": 0.0}

    def gradients(self) -> State:
        return prunable_of(self.survivors, self.weight.grad)
