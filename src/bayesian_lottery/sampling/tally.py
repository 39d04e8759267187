"""What is known of a chain's transitions, in memory that does not grow with them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass
class Account:
    """The account of a chain: of warm-up, of the draws, of the part since the last row of the
    history, and the `STATISTICS` of the draws that are kept."""

    warmup: Tally = field(default_factory=Tally)
    draws: Tally = field(default_factory=Tally)
    part: Tally = field(default_factory=Tally)
    kept: dict[str, list[float]] = field(default_factory=lambda: {n: [] for n in STATISTICS})

    @classmethod
    def of(cls, state: Mapping) -> "Account":
        """From what `state` gave."""
        tallies = {name: Tally(**state[name]) for name in ("warmup", "draws", "part")}
        return cls(**tallies, kept=state["kept"])

    def state(self) -> dict:
        """All of it, as JSON."""
        tallies = {name: vars(getattr(self, name)) for name in ("warmup", "draws", "part")}
        return {**tallies, "kept": self.kept}

    def keep(self, told: Mapping[str, float]) -> None:
        """Note the statistics of a draw that is kept."""
        for name in STATISTICS:
            self.kept[name].append(told[name])

    def statistics(self) -> dict[str, list[float]]:
        """Those of the kept draws that every draw has."""
        return {n: values for n, values in self.kept.items() if all(map(math.isfinite, values))}

    def row(self, images: int) -> dict[str, float]:
        """The part's means, for the history; the next part begins."""
        part, self.part = self.part, Tally()
        return {"loss": part.potential / part.count / images, **part.rates()}

    def summary(self) -> dict[str, float | None]:
        """What the metrics tell of the chain; of warm-up its gradients only."""
        drawn, warm = self.draws, self.warmup
        return {
            "taken": drawn.count,
            "warmup": warm.count,
            "warmup_gradients": warm.gradients,
            **drawn.rates(),
            "gradients": drawn.gradients + warm.gradients,
            "depth_capped": drawn.capped / drawn.count,
            "bfmi": drawn.bfmi,
        }

    def words(self) -> str:
        """What the log says of the part."""
        part = self.part
        if not part.count:
            return ""
        potential, acceptance = part.potential / part.count, part.acceptance / part.count
        return f", potential {potential:.1f}, acceptance {acceptance:.2f}"
