"""Monte Carlo dropout: an ordinary network whose units are dropped at random.

Gal and Ghahramani 2016, Dropout as a Bayesian approximation, section 3: in training and in
prediction alike, each input unit of a layer is dropped with probability p, that is, all weights
which start from it are 0, and the others are divided by 1 - p. So a draw is a network, here a row
of survivors, and is the same for all images of a batch (Graham et al. 2015, Efficient batchwise
dropout training using submatrices); another training step draws others. A unit is an input channel
of a convolution and an input feature of a linear layer; the first layer's, the pixels, stay.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bayesian_lottery.inference.deterministic import DeterministicNetwork
from bayesian_lottery.inference.networks import Objective, Weights, prunable_of
from bayesian_lottery.inference.survivors import State
from bayesian_lottery.models.layers import Conv2d

ALWAYS = 0  # the number of the unit that is never dropped: of biases, and of the first layer


class DropoutNetwork(DeterministicNetwork):
    """Its saved state is the plain model's. `noise` is what each survivor is multiplied by."""

    @classmethod
    def of(cls, template: nn.Module, options: Mapping) -> "DropoutNetwork":
        """From the options of `kinds.Dropout`."""
        return cls(template, options["rate"], options["samples"])

    @classmethod
    def together(cls, networks):
        pack = super().together(networks)
        pack.parts = list(networks)
        return pack

    def __init__(self, template: nn.Module, rate: float, samples: int = 1):
        super().__init__(template)
        self.dropped, self.objective = rate, Objective(samples=samples)
        self.parts: Sequence[DropoutNetwork] = [self]
        self._dense = units(template, self.survivors.shapes)
        self._count = 1 + max(int(each.max()) for each in self._dense.values())
        self._placed = self._units = torch.empty(0)

    def noise(self, samples: int, *generators: torch.Generator) -> Tensor:
        each = zip(self.parts, generators, strict=True)
        return torch.cat([part._factors(samples, generator) for part, generator in each], 1)

    def _factors(self, samples: int, generator: torch.Generator) -> Tensor:
        """(S, n): 0 where a survivor's unit is dropped, else 1 / (1 - rate)."""
        if self._placed is not self.survivors.columns:  # a mask that has moved makes others
            self._placed = self.survivors.columns
            self._units = self.survivors.collect(self._dense).long()
        uniform = torch.rand(samples, self._count, generator=generator, device=generator.device)
        factors = (uniform >= self.dropped).to(self.weight) / (1 - self.dropped)
        factors[:, ALWAYS] = 1
        return factors[:, self._units]

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        return self.survivors.logits(images, weights[0] * noise)

    def moments(self) -> dict[str, State]:
        weight = prunable_of(self.survivors, self.weight.detach())
        return {"weight": weight, "mean": weight}

    def draw(self, generator: torch.Generator) -> State:
        row = self.weight.detach() * self.noise(1, generator)[0]
        others = {name: tensor.detach().clone() for name, tensor in self.survivors.others.items()}
        return others | self.survivors.named(row)


def units(template: nn.Module, shapes: Mapping[str, torch.Size]) -> State:
    """The number of the unit that each entry of each variable starts from.

    Args:
        template: the model.
        shapes: the variables', in network order.
    """
    first, numbered, found = next(iter(shapes)).rpartition(".")[0], ALWAYS + 1, {}
    for name, shape in shapes.items():
        path, _, own = name.rpartition(".")
        if own != "weight" or path == first:
            found[name] = torch.full(shape, ALWAYS)
            continue
        layer = template.get_submodule(path)
        groups = layer.groups if isinstance(layer, Conv2d) else 1
        # Weights of a grouped convolution start from the channels of their own group.
        group = torch.arange(shape[0]) // (shape[0] // groups) * shape[1]
        number = numbered + group[:, None] + torch.arange(shape[1])
        found[name] = number.reshape(*number.shape, *[1] * (len(shape) - 2)).expand(shape)
        numbered += groups * shape[1]
    return found
