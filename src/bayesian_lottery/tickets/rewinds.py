"""Rewinds: what the survivors of a level start from.

A rewind of a study is an entry of `REWINDS` with options, under a name of its own (`rewinds` in the
configuration). Every entry is a rewind by its own name, too.

torch is imported only by the type checker, so that the workflow can read the names quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.options import Nothing, option

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]

ORIGINS = (None, "previous", "dense", "early")

EARLY_SHARE = 0.01  # of training, where a late rewind names no step; for good


def reset(initial: State, trained: State | None) -> State:
    """Iterative magnitude pruning: all (sigma, biases and norms too) back to the initial values."""
    return initial


def keep(initial: State, trained: State | None) -> State:
    """Everything takes its value in `trained`, and only the schedule restarts.

    At level 0 there is nothing to take, and the network starts from its initial values.
    """
    return initial if trained is None else trained


@dataclass(frozen=True)
class Early:
    """At which step of the dense network's training its weights are taken; one of three."""

    steps: int | None = option(None, "The step, counted from 1.", minimum=1, maximum=10**12)
    epochs: float | None = option(
        None, "The step, in epochs.", exclusiveMinimum=0, maximum=1_000_000
    )
    share: float | None = option(
        None,
        "The step, as a share of training; 0.01 if none is named.",
        exclusiveMinimum=0,
        maximum=1,
    )

    def __post_init__(self):
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) > 1:
            raise InputError(
                f"{given[1]}: {given[0]} says the step already; leave one of the two out."
            )

    def step(self, epochs: int, per_epoch: int) -> int:
        """The step, at least 1, of a training of `epochs` with `per_epoch` steps each.

        Raises:
            InputError: it lies beyond the last.
        """
        last = epochs * per_epoch
        if self.steps is not None:
            step = self.steps
        elif self.epochs is not None:
            step = round(self.epochs * per_epoch)
        else:
            step = round((EARLY_SHARE if self.share is None else self.share) * last)
        if step > last:
            raise InputError(f"step {step} lies beyond {last}, the last step of training.")
        return max(step, 1)


@dataclass(frozen=True)
class Rewind:
    """What the survivors of a level start from.

    Attributes:
        words: what legends and sentences call it.
        start: from the network's initial state, and the state of `origin` (None without one), to
            the state that training starts from.
        origin: whose weights it takes: those trained at the level "previous", those of the trained
            "dense" network, those that the dense network had at an "early" step; or of none.
        options: a class of typed options; with the origin "early" it is `Early`.
    """

    words: str
    start: Callable[[State, State | None], State]
    origin: str | None = None
    options: type = Nothing

    def __post_init__(self):
        if self.origin not in ORIGINS:
            raise choice("Rewind.origin", self.origin, map(str, ORIGINS))


REWINDS: dict[str, Rewind] = {
    "imp": Rewind("reset", reset),
    "lrr": Rewind("learning-rate rewinding", keep, origin="previous"),
    # Frankle et al. 2020, Linear mode connectivity and the lottery ticket hypothesis, section 4.
    "late": Rewind("late rewinding", keep, origin="early", options=Early),
}


def rewinding(settings: Mapping) -> Rewind:
    """The rewind of a level of `settings`; unsaid, the entry has the rewind's name."""
    return REWINDS[settings.get("rewinding", {}).get("kind", settings["rewind"])]


def early(told: Mapping) -> Early:
    """The step that a job is told of, by `kind` and options."""
    return REWINDS[told["kind"]].options(**{k: v for k, v in told.items() if k != "kind"})
