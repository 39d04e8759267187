"""What is known of a chain's transitions, in memory that does not grow with them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

# What is kept of each draw, besides its weights.
STATISTICS = ("potential", "energy", "acceptance", "step_size", "steps", "gradients", "diverging")


@dataclass
class Tally:
    """Sums over transitions. `energy` is that of the last one, None where there is none."""

    count: int = 0
    potential: float = 0.0
    acceptance: float = 0.0
    step_size: float = 0.0
    gradients: int = 0
    diverging: int = 0
    capped: int = 0
    energy: float | None = None
    mean: float = 0.0
    squares: float = 0.0
    jumps: float = 0.0

    def add(self, told: Mapping[str, float]) -> None:
        """Count a transition."""
        self.count += 1
        for name in ("potential", "acceptance", "step_size"):
            setattr(self, name, getattr(self, name) + told[name])
        for name in ("gradients", "diverging", "capped"):
            setattr(self, name, getattr(self, name) + int(told[name]))
        if math.isfinite(energy := told["energy"]):
            self.jumps += (energy - self.energy) ** 2 if self.energy is not None else 0.0
            step = energy - self.mean
            self.mean += step / self.count
            self.squares += step * (energy - self.mean)
            self.energy = energy

    @property
    def bfmi(self) -> float | None:
        """The estimated Bayesian fraction of missing information (Betancourt 2016): below 0.3 the
        momenta do not reach all energies."""
        return self.jumps / self.squares if self.squares > 0 else None

    def rates(self) -> dict[str, float]:
        """Means over the transitions."""
        return {
            "step_size": self.step_size / self.count,
            "acceptance": self.acceptance / self.count,
            "divergences": self.diverging,
            "gradients": self.gradients,
        }
