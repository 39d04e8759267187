"""Which steps of a training draw weights, and that there are enough of them.

The workflow imports this module through `monte_carlo`; it needs no torch.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from bayesian_lottery.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """Which of a training's steps draw, and how large they are; steps count from 1.

    steps: of the whole training.
    burn_in: the share of training, or of each cycle, before draws.
    cycles: of the step size; 0 is none.
    """

    steps: int
    burn_in: float
    cycles: int

    @property
    def length(self) -> int:
        """Steps of a cycle; the last one may have fewer."""
        return math.ceil(self.steps / self.cycles) if self.cycles else self.steps

    @property
    def first(self) -> int:
        """Steps of a cycle before draws."""
        return int(self.burn_in * self.length)

    @property
    def drawing(self) -> int:
        """How many steps draw."""
        whole, last = divmod(self.steps, max(self.length, 1))
        return whole * (self.length - self.first) + max(last - self.first, 0)

    def index(self, step: int) -> int | None:
        """Which of the steps that draw it is, from 1; None if it does not."""
        whole, within = divmod(step - 1, self.length)
        drawn = within + 1 - self.first
        return whole * (self.length - self.first) + drawn if drawn > 0 else None

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by (Zhang et al. 2020, equation 1)."""
        if not self.cycles:
            return 1.0
        return (math.cos(math.pi * ((step - 1) % self.length) / self.length) + 1) / 2

    def explores(self, step: int) -> bool:
        """Whether the step is one without noise, as before the draws of a cycle (section 3)."""
        return self.cycles > 0 and self.index(step) is None


class Drawing(ABC):
    """What the options of kinds have in common that draw from the steps of a training."""

    @abstractmethod
    def check(self, key: str, steps: int) -> None:
        """Raise an `InputError` unless so many steps, if any, leave enough to draw from.

        Args:
            key: of the options, with which the sentence begins.
        """


def check_points(key: str, value: float, steps: int, points: int) -> None:
    """Raise an `InputError` unless the value of `key` leaves so many of the steps, if any, that
    their draws have a spread."""
    if points < 2 and steps:
        raise InputError(
            f"{key}: {value:g} leaves {points} of {steps} steps of training to draw from; two at "
            "least are needed."
        )
