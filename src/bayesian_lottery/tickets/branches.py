"""Branches: experiments beside a trunk, which change the ticket of one of its levels.

A branch changes its level's mask by one of `MASKS`, its weights by one of `WEIGHTS`, and what
trains it, or on what. Functions go from tickets to a new ticket; nothing is changed. A pool is a
branch that trains nothing: it averages the predictions of other nodes.
torch is imported only where numbers are drawn, so that the workflow can read the names quickly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from bayesian_lottery.imports import named
from bayesian_lottery.tickets import masks, moves, objectives

if TYPE_CHECKING:
    import torch
    from torch import Tensor

State = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Ticket:
    """A mask and the plain model's weights, not yet masked: parameters and buffers by name."""

    mask: masks.Mask
    weights: State


def reinitialise(ticket: Ticket, stream: torch.Generator) -> Ticket:
    """The same mask with prunable weights drawn anew, as the model draws them (Kaiming uniform).

    All else keeps its values: biases, norms, and a classifier that the mask does not cover.
    """
    import torch

    drawn = {}
    for name in ticket.mask:
        weight = ticket.weights[name]
        bound = weight[0].numel() ** -0.5  # Kaiming's with a = sqrt 5: 1 / sqrt(fan_in)
        drawn[name] = torch.empty_like(weight).uniform_(-bound, bound, generator=stream)
    return replace(ticket, weights={**ticket.weights, **drawn})


def redraw_magnitudes(ticket: Ticket, stream: torch.Generator) -> Ticket:
    """The same mask and signs, with magnitudes of prunable weights drawn as the model draws them.

    Zhou et al. 2019, Deconstructing lottery tickets, section 4: signs are what matters.
    """
    drawn = reinitialise(ticket, stream).weights
    signed = {name: drawn[name].copysign(ticket.weights[name]) for name in ticket.mask}
    return replace(ticket, weights={**ticket.weights, **signed})


def keep_weights(ticket: Ticket, stream: torch.Generator) -> Ticket:
    """The ticket itself."""
    return ticket


@dataclass(frozen=True)
class Weights:
    """Where a branch's weights come from.

    Attributes:
        change: from the ticket, its mask changed already, and a random stream to a ticket.
        trained: whether the ticket's weights are those trained at the level, not initial ones.
        prior: "module:object", called with the ticket, the options of the inference that trains it
            and a stream, which gives weights in the place of some.
    """

    change: Callable[[Ticket, torch.Generator], Ticket] = keep_weights
    trained: bool = False
    prior: str | None = None


def kept(mask: masks.Mask, stream: torch.Generator) -> masks.Mask:
    """The mask itself."""
    return mask


def scatter(mask: masks.Mask, stream: torch.Generator) -> masks.Mask:
    """As many survivors at random places, each layer's density as sparse training begins with it
    (`moves.erdos_renyi`): nothing but the count is the ticket's."""
    sizes = {name: layer.numel() for name, layer in mask.items()}
    shares = moves.erdos_renyi({name: layer.shape for name, layer in mask.items()})
    return masks.random(mask, masks.allocate(sizes, shares, masks.survivors(mask)), stream)


# What a branch does with the mask of its level: from it and a random stream to another one. The
# survivors carry the values of their own places.
MASKS: dict[str, Callable[[masks.Mask, torch.Generator], masks.Mask]] = {
    "kept": kept,
    "shuffle_global": masks.shuffle_global,
    "shuffle_even": masks.shuffle_even,
    "shuffle_layerwise": masks.shuffle_layerwise,
    "random": scatter,
}

# What a branch trains in place of the level's network: "module:object", called with the model, the
# shape of the images, the classes, how many weights the ticket has, whether its mask covers the
# classifier, and a seed. It gives another network, dense and with weights of its own.
NETWORKS: dict[str, str] = {"narrow": "bayesian_lottery.models.narrow:build"}

WEIGHTS: dict[str, Weights] = {
    "initial": Weights(),
    "reinitialised": Weights(reinitialise),
    "signs": Weights(redraw_magnitudes),
    "trained": Weights(trained=True),
    "prior": Weights(prior="bayesian_lottery.inference.priors:draw"),
}


@dataclass(frozen=True)
class Branch:
    """A kind of branch: what it changes of a level's ticket, and of what trains it.

    Attributes:
        mask: a key of `MASKS`.
        weights: a key of `WEIGHTS`.
        inference: what trains it; None as the trunk.
        curriculum: how it is trained; None as the trunk.
        of: the inference of the trunks that it starts from; None for any.
        dataset: what it is trained and tested on; None as the trunk. Where it has another number of
            classes the classifier is drawn anew.
        seed: whose initial weights it takes, those of this seed; None of the trunk's.
        train: whether it is trained; if not, it is tested as it starts.
        objective: what it is trained to do, a name of the configuration; see `objectives`.
        pool: whose predictions it averages: of a branch of this name, or of `SEEDS`; None trains.
        members: how many of them a pool averages.
        network: a key of `NETWORKS`, of another network to train; None for the ticket itself.
    """

    mask: str = "kept"
    weights: str = "initial"
    inference: str | None = None
    curriculum: str | None = None
    of: str | None = None
    dataset: str | None = None
    seed: int | None = None
    train: bool = True
    objective: str = objectives.FIRST
    pool: str | None = None
    members: int | None = None
    network: str | None = None

    @property
    def needs_trained_weights(self) -> bool:
        """Whether it starts from the weights trained at its level."""
        return WEIGHTS[self.weights].trained

    def ticket(
        self, ticket: Ticket, stream: torch.Generator, options: Mapping = MappingProxyType({})
    ) -> Ticket:
        """The ticket to train, from that of the level. The mask is changed first.

        Args:
            ticket: of the level.
            stream: of random numbers.
            options: of the inference that trains it.
        """
        kind = WEIGHTS[self.weights]
        changed = replace(ticket, mask=MASKS[self.mask](ticket.mask, stream))
        changed = kind.change(changed, stream)
        if not kind.prior:
            return changed
        drawn = named(kind.prior)(changed, options, stream)
        return replace(changed, weights={**changed.weights, **drawn})


SEEDS = "seeds"  # what a pool is of that averages its level as each of several seeds trained it

# Pieces that jobs are told of always; those that came later only where they change something.
FIRST = ("mask", "weights", "inference", "curriculum", "of")


def spelled(branch: Branch) -> dict:
    """The pieces of a branch as jobs are told of them."""
    plain = asdict(Branch())
    return {k: v for k, v in asdict(branch).items() if k in FIRST or v != plain[k]}


# The papers' branches. A configuration adds others, under `branch_kinds`.
BRANCHES: dict[str, Branch] = {
    "reinit": Branch(weights="reinitialised"),
    "shuffle_global": Branch(mask="shuffle_global"),
    "shuffle_even": Branch(mask="shuffle_even"),
    "shuffle_layerwise": Branch(mask="shuffle_layerwise"),
    "transplant_initial": Branch(inference="bayesian", of="deterministic"),
    "transplant_trained": Branch(weights="trained", inference="bayesian", of="deterministic"),
}


# What claims call a branch that changes these pieces alone; a data set or a seed, whichever it is.
_ROLES: dict[tuple, str] = {
    (("dataset", True),): "transfer",
    (("dataset", True), ("weights", "reinitialised")): "transferred_mask",
    (("seed", True),): "another_seed",
    (("objective", "distilled"),): "distilled",
    (("weights", "trained"),): "learned",
    (("network", "narrow"),): "small_dense",
}


def role(branch: Branch) -> str | None:
    """What claims call a branch, by the pieces that it changes; None of one that none speaks of."""
    plain = asdict(Branch())
    changed = {
        name: name in ("dataset", "seed") or value
        for name, value in asdict(branch).items()
        if value != plain[name] and name != "of"
    }
    return _ROLES.get(tuple(sorted(changed.items())))


def branch_of(settings: Mapping) -> Branch:
    """The branch of a node of `settings`; of a trunk's node one that changes nothing."""
    if "pieces" in settings:
        return Branch(**settings["pieces"])
    return BRANCHES[settings["branch"]] if settings["branch"] else Branch()
