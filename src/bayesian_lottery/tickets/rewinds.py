"""Rewinds: what the survivors of a level start from.

torch is imported only by the type checker, so that the workflow can read the names quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]


def reset(initial: State, trained: State | None) -> State:
    """Iterative magnitude pruning: all (sigma, biases and norms too) back to the initial values."""
    return initial


def keep(initial: State, trained: State | None) -> State:
    """Learning-rate rewinding: everything keeps its trained value, only the schedule restarts.

    At level 0 there is nothing to keep, and the network starts from its initial values.
    """
    return initial if trained is None else trained


@dataclass(frozen=True)
class Rewind:
    """What the survivors of a level start from.

    Attributes:
        words: what legends and sentences call it.
        start: from the network's initial state, and the trained state of `origin` (None without
            one), to the state that training starts from.
        origin: whose trained weights it takes: of the level "previous", of the "dense" network, or
            of none.
    """

    words: str
    start: Callable[[State, State | None], State]
    origin: str | None = None


REWINDS: dict[str, Rewind] = {
    "imp": Rewind("reset", reset),
    "lrr": Rewind("learning-rate rewinding", keep, origin="previous"),
}
