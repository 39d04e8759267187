"""Tickets: what a run starts from. Functions from tickets to a new ticket; nothing is changed.

A trunk's level starts by one of `REWINDS`; a branch, an experiment beside the trunk, by one of
`BRANCHES`. To add either, write its function and register it. torch is imported only where numbers
are drawn, so that the workflow can read the names quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bayesian_lottery import masks

if TYPE_CHECKING:
    import torch
    from torch import Tensor

State = Mapping[str, "Tensor"]


def reset(initial: State, previous: State | None) -> State:
    """Iterative magnitude pruning: all (sigma, biases and norms too) back to the initial values."""
    return initial


def keep(initial: State, previous: State | None) -> State:
    """Learning-rate rewinding: everything keeps its trained value, only the schedule restarts.

    At level 0 there is nothing to keep, and the network starts from its initial values.
    """
    return initial if previous is None else previous


REWINDS: Mapping[str, Callable[[State, State | None], State]] = {"imp": reset, "lrr": keep}


@dataclass(frozen=True)
class Ticket:
    """A mask and the plain model's weights, not yet masked: parameters and buffers by name."""

    mask: masks.Mask
    weights: State


def reinitialise(ticket: Ticket, stream: torch.Generator) -> Ticket:
    """The same mask with prunable weights drawn anew, as the model draws them (Kaiming uniform).

    The classifier, biases and norms keep their values.
    """
    import torch

    drawn = {}
    for name in ticket.mask:
        weight = ticket.weights[name]
        bound = weight[0].numel() ** -0.5  # Kaiming's with a = sqrt 5: 1 / sqrt(fan_in)
        drawn[name] = torch.empty_like(weight).uniform_(-bound, bound, generator=stream)
    return replace(ticket, weights={**ticket.weights, **drawn})


def shuffle(how: Callable[[masks.Mask, torch.Generator], masks.Mask]) -> Callable:
    """A branch that shuffles the mask by `how`; the survivors carry their own initial values."""

    def branch(ticket: Ticket, stream: torch.Generator) -> Ticket:
        return replace(ticket, mask=how(ticket.mask, stream))

    return branch


def unchanged(ticket: Ticket, stream: torch.Generator) -> Ticket:
    """The ticket itself: transplanting changes the network around it, not the ticket."""
    return ticket


@dataclass(frozen=True)
class Branch:
    """An experiment that starts from one level of a trunk.

    ticket: from the level's ticket and a random stream to the ticket to train.
    weights: which of the trunk's weights are the ticket's, "initial" ones or those "trained" at the
        level.
    inference: how the network is trained; None as the trunk's.
    of: the inference of the trunks that it starts from; None for any.
    """

    ticket: Callable[[Ticket, torch.Generator], Ticket]
    weights: str = "initial"
    inference: str | None = None
    of: str | None = None


BRANCHES: Mapping[str, Branch] = {
    "reinit": Branch(reinitialise),
    "shuffle_global": Branch(shuffle(masks.shuffle_global)),
    "shuffle_even": Branch(shuffle(masks.shuffle_even)),
    "shuffle_layerwise": Branch(shuffle(masks.shuffle_layerwise)),
    "transplant_initial": Branch(unchanged, inference="bayesian", of="deterministic"),
    "transplant_trained": Branch(unchanged, "trained", inference="bayesian", of="deterministic"),
}
