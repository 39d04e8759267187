"""Tickets: what a level starts from. Functions from states to a new state; nothing is changed."""

from collections.abc import Callable, Mapping

from torch import Tensor

State = dict[str, Tensor]


def reset(initial: Mapping[str, Tensor], previous: Mapping[str, Tensor] | None) -> State:
    """Iterative magnitude pruning: all (sigma, biases and norms too) back to the initial values."""
    return dict(initial)


def keep(initial: Mapping[str, Tensor], previous: Mapping[str, Tensor] | None) -> State:
    """Learning-rate rewinding: everything keeps its trained value, only the schedule restarts.

    At level 0 there is nothing to keep, and the network starts from its initial values.
    """
    return dict(initial if previous is None else previous)


REWINDS: Mapping[str, Callable[..., State]] = {"imp": reset, "lrr": keep}
