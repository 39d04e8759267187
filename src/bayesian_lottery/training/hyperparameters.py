"""What a population tunes: ranges of hyperparameters, and how a member explores them.

Jaderberg et al. 2017, Population based training of neural networks, section 4.1.1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

PERTURBATIONS = (0.8, 1.2)


@dataclass(frozen=True)
class Hyperparameters:
    """What a member is trained by.

    heats: the factor on each layer's KL.
    learning_rate: a factor on the curriculum's.
    initial_std: a factor on the option's, which counts before the first step alone.
    """

    heats: dict[str, float]
    learning_rate: float
    initial_std: float


@dataclass(frozen=True)
class Range:
    """A log-uniform distribution."""

    low: float
    high: float

    def draw(self, stream: torch.Generator) -> float:
        part = _uniform(stream)
        return self.low * (self.high / self.low) ** part

    def explore(self, value: float, resample: float, stream: torch.Generator) -> float:
        """`value` drawn anew, with probability `resample`, or else a fifth lower or higher, and
        in the range."""
        if _uniform(stream) < resample:
            return self.draw(stream)
        factor = PERTURBATIONS[_uniform(stream) < 0.5]
        return min(max(value * factor, self.low), self.high)


@dataclass(frozen=True)
class Space:
    """The ranges of all hyperparameters; one of a single value is not tuned.

    layers: the layers whose KL has a factor.
    resample: the probability that one is drawn anew, where a member explores.
    """

    layers: Sequence[str]
    heat: Range
    learning_rate: Range
    initial_std: Range
    resample: float

    @classmethod
    def of(cls, options: Mapping, layers: Sequence[str]) -> "Space":
        """From the options of `kinds.Tuned`."""
        rates, stds = options["rates"], options["stds"]
        heat = Range(options["lowest_heat"], options["highest_heat"])
        return cls(
            layers, heat, Range(1 / rates, rates), Range(1 / stds, stds), options["resample"]
        )

    def draw(self, stream: torch.Generator) -> Hyperparameters:
        """Where a member starts."""
        heats = {name: self.heat.draw(stream) for name in self.layers}
        return Hyperparameters(
            heats, self.learning_rate.draw(stream), self.initial_std.draw(stream)
        )

    def explore(self, values: Hyperparameters, stream: torch.Generator) -> Hyperparameters:
        """Others near `values`, each changed by itself; the initial deviation lies behind."""

        def near(range: Range, value: float) -> float:
            return range.explore(value, self.resample, stream)

        heats = {name: near(self.heat, value) for name, value in values.heats.items()}
        rate = near(self.learning_rate, values.learning_rate)
        return Hyperparameters(heats, rate, values.initial_std)


def _uniform(stream: torch.Generator) -> float:
    return torch.rand((), generator=stream, dtype=torch.float64).item()
