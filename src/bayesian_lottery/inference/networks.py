"""A network in training: what an inference knows of its survivors, and how it predicts.

Every kind of inference is a `Network`. It owns vectors over the survivors of a mask (see
`survivors`): `deterministic` the weights, `variational` mean and log sigma. Noise, gradients, the
optimiser's state and checkpoints are of the same length. Saved states have dense tensors, of the
plain model's names or of torch-blue's.

A step calls `weights` once, `noise` once, and `logits` as often as it takes, each time with some of
the noise's rows: `engine` decides how many.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.kinds import named_kind
from bayesian_lottery.inference.survivors import State, Survivors
from bayesian_lottery.tickets.masks import Mask

Weights = tuple[Tensor, ...]
# From nothing to batches of all training images as they are, inputs (B, C, H, W) and labels (B,),
# in one order.
Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Objective:
    """The loss of a training step: data term + heat x KL.

    samples: weight samples a step.
    heat: the factor on the KL term.
    likelihood: see `engine.data_term`.
    """

    samples: int = 1
    heat: float = 0.0
    likelihood: str = "elbo"


@dataclass(frozen=True)
class Training:
    """The training that lies before a network, as `Network.optimizer` is told of it.

    build: the curriculum's optimiser over parameter groups.
    weight_decay: the curriculum's.
    images: how many training images there are.
    steps: how many steps it takes.
    generators: of each network the stream of its noise, in every checkpoint.
    """

    build: Callable[[list[dict]], torch.optim.Optimizer]
    weight_decay: float
    images: int
    steps: int
    generators: Sequence[torch.Generator]


class Network(Protocol):
    """What the training loop needs of a network; all that a kind of inference has to be.

    One that can train beside others of its kind has `together`, too (see `packs`). The methods from
    `optimizer` on have defaults, which an ordinary network keeps.
    """

    survivors: Survivors
    objective: Objective
    reads_draws: bool = False  # whether the CPU reads what `noise` draws for a step

    @property
    def template(self) -> nn.Module:
        """The plain model, whose forward pass is used."""
        return self.survivors.template

    @property
    def factors(self) -> float | Tensor:
        """The factor on the KL term, or those of its parts, of the shape of `divergence`."""
        return self.objective.heat

    @property
    def mask(self) -> Mask:
        return self.survivors.mask

    @property
    def members(self) -> int:
        """How many networks this is, side by side."""
        return self.survivors.members

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        """Take `state`'s values, prune to `mask`. Tensors stay the same objects."""

    def state(self) -> State:
        """Copies of all parameters and buffers, dense, pruned weights zero: what is saved."""

    def tensors(self) -> State:
        """All that training changes, by name, to be read or written: what a checkpoint has."""

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        """Parameter groups for the optimiser."""

    def weights(self) -> Weights:
        """What `logits` makes weights of, computed once for all samples of a step."""

    def noise(self, samples: int, *generators: torch.Generator) -> Tensor:
        """What makes `samples` weight samples, a row each, from a generator for each network."""

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        """Logits (S, B, K) of float images (B, C, H, W), for the S rows of `noise`."""

    def divergence(self, weights: Weights) -> Tensor:
        """KL of each network's posterior from the prior, in nats, (networks,); or (networks, parts)
        where parts of it, such as those of layers, have their own `factors`."""

    def moments(self) -> dict[str, State]:
        """What scorers rank: of each name that the kind offers the tensors, by prunable weight."""

    def draw(self, generator: torch.Generator) -> State:
        """A copy of the plain model's parameters and buffers under the mask, weights drawn once."""

    def born(self, name: str) -> dict[str, float]:
        """Where a weight of the layer's parameter `name` starts that grows in training: the values
        of its entries, by the names in `tensors` of the vectors that have one."""

    def gradients(self) -> State:
        """The gradients that the last step left, by prunable weight: of it, or of its mean."""

    def optimizer(self, training: Training) -> torch.optim.Optimizer:
        """What changes the parameters, made once before the first step or a resumed one.

        It has all state in tensors of a parameter's shape or of none, so that checkpoints hold it.
        """
        return training.build(self.parameter_groups(training.weight_decay))

    def rate(self, given: float, step: int, steps: int) -> float:
        """The learning rate of `step` (from 0) of `steps`, where the curriculum says `given`."""
        return given

    def after_step(self, step: int, steps: int) -> None:
        """Note what is to be noted after so many of `steps` steps, in what `tensors` lists."""
        return  # said, for type checkers take a body without statements for an abstract one

    def finish(self, batches: Batches) -> None:
        """Make of the trained network what predicts, after the last step and before its tests."""
        return

    def sampling(self) -> dict[str, float | None]:
        """What is known of the draws, for every row of the history and the metrics; most often
        nothing. `draws`: how many of them predict; `fitted`: 1 where a posterior does, that was
        fitted to the trained network."""
        return {}


def build(kind: str, template: nn.Module, options: Mapping | None = None) -> Network:
    """The network of a kind of inference that starts from `template`'s weights.

    Args:
        kind: a key of `kinds.KINDS`.
        template: a model of `models.build`; used for the forward pass from now on.
        options: the kind's.

    Raises:
        InputError: there is no such kind.
    """
    return named_kind(kind).load()(template, options or {})


def check_shapes(what: object, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise `InputError`, naming both shapes, unless `given` has the names and shapes `wanted`."""
    for name in [*wanted, *given]:
        theirs = tuple(given[name].shape) if name in given else "absent"
        ours = tuple(wanted[name].shape) if name in wanted else "absent"
        if theirs != ours:
            raise InputError(f"{what}: {name} has shape {theirs}, the network's has {ours}.")


def take(vector: Tensor, survivors: Survivors, tensors: Mapping[str, Tensor]) -> None:
    """Let `vector` be the survivors' values of the variables' tensors.

    Raises:
        InputError: one of them is NaN or infinite.
    """
    row = survivors.collect(tensors)
    for name, part in zip(tensors, row.split(survivors.counts), strict=True):
        _refuse_non_finite(name, part)
    if row.shape == vector.shape:
        vector.data.copy_(row)  # in place, since it may be part of a pack's
    else:
        vector.data = row
    vector.grad = None


def take_others(survivors: Survivors, state: Mapping[str, Tensor]) -> None:
    """Let norms, embeddings and buffers have `state`'s values."""
    for name, tensor in survivors.others.items():
        if name not in state:  # a buffer that is not saved
            continue
        _refuse_non_finite(name, state[name])
        tensor.data.copy_(state[name])


def _refuse_non_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise InputError(f"weights: {name} has surviving values that are NaN or infinite.")


def trained(tensors: Mapping[str, Tensor]) -> list[nn.Parameter]:
    """Those of the tensors that are parameters: what the optimiser changes."""
    return [tensor for tensor in tensors.values() if isinstance(tensor, nn.Parameter)]


def prunable_of(survivors: Survivors, row: Tensor | None) -> State:
    """The prunable weights' tensors of a row (n,), 0 where pruned; none of None."""
    tensors = {} if row is None else survivors.named(row)
    return {name: tensors[name] for name in survivors.mask if name in tensors}
