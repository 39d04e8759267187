"""A network in training: what an inference knows of its survivors, and how it predicts.

Every kind of inference is a `Network`. The two here own vectors over the survivors of a mask (see
`survivors`): the weights of a deterministic network; mean and log sigma of a Bayesian one. Noise,
gradients, the optimiser's state and checkpoints are of the same length. Saved states have the
dense tensors of the plain model, or of torch-blue's.

A step calls `weights` once, `noise` once, and `logits` as often as it takes, each time with some of
the noise's rows: `engine` decides how many.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.inference import bayesian, estimators, packs
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.inference.survivors import State, Survivors
from bayesian_lottery.tickets.masks import Mask

Weights = tuple[Tensor, ...]

ESTIMATORS = ("weights", *estimators.ESTIMATORS)


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


class Network(Protocol):
    """What the training loop needs of a network; all that a kind of inference has to be.

    One that can train beside others of its kind has `together`, too (see `packs`).
    """

    survivors: Survivors
    objective: Objective

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
        """KL of each network's posterior from the prior, in nats, (networks,)."""

    def moments(self) -> dict[str, State]:
        """What scorers rank: of each name that the kind offers the tensors, by prunable weight."""

    def gradients(self) -> State:
        """The gradients that the last step left, by prunable weight: of it, or of its mean."""


def build(kind: str, template: nn.Module, options: Mapping | None = None) -> Network:
    """The network of a kind of inference that starts from `template`'s weights.

    Args:
        kind: a key of `kinds.KINDS`.
        template: a model of `models.build`; used for the forward pass from now on.
        options: the kind's.
    """
    return KINDS[kind].load()(template, options or {})


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
        _refuse_non_finite(name, state[name])
        tensor.data.copy_(state[name])


def _refuse_non_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise InputError(f"weights: {name} has surviving values that are NaN or infinite.")


def _trained(tensors: Mapping[str, Tensor]) -> list[nn.Parameter]:
    return [tensor for tensor in tensors.values() if isinstance(tensor, nn.Parameter)]


def prunable_of(survivors: Survivors, row: Tensor | None) -> State:
    """The prunable weights' tensors of a row (n,), 0 where pruned; none of None."""
    tensors = {} if row is None else survivors.named(row)
    return {name: tensors[name] for name in survivors.mask if name in tensors}


class DeterministicNetwork:
    """An ordinary network. Its saved state is the plain model's."""

    objective = Objective()

    @classmethod
    def of(cls, template: nn.Module, options: Mapping) -> "DeterministicNetwork":
        return cls(template)

    @classmethod
    def together(cls, networks: Sequence["DeterministicNetwork"]) -> "DeterministicNetwork":
        """Networks side by side; theirs become parts of it."""
        pack = copy.copy(networks[0])
        pack.survivors = Survivors.together([network.survivors for network in networks])
        pack.weight = packs.stack([network.weight for network in networks])
        return pack

    def __init__(self, template: nn.Module):
        state = {name: tensor.detach() for name, tensor in template.state_dict().items()}
        self.names = list(state)
        self.survivors = Survivors(template)
        self.weight: Tensor = nn.Parameter(self.survivors.collect(state))

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        check_shapes("weights", state, self.state())
        self.survivors.keep(mask)
        take(self.weight, self.survivors, {name: state[name] for name in self.survivors.shapes})
        take_others(self.survivors, state)

    def state(self) -> State:
        found = {**self.survivors.named(self.weight.detach()), **self.survivors.others}
        return {name: found[name].detach().clone() for name in self.names}

    def tensors(self) -> State:
        return {"weight": self.weight, **self.survivors.others}

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        return [{"params": _trained(self.tensors()), "weight_decay": weight_decay}]

    def weights(self) -> Weights:
        return (self.weight,)

    def noise(self, samples: int, *generators: torch.Generator) -> Tensor:
        return torch.empty(1, 0)

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        return self.survivors.logits(images, weights[0][None])

    def divergence(self, weights: Weights) -> Tensor:
        return weights[0].new_zeros(self.survivors.members)

    def moments(self) -> dict[str, State]:
        return {"weight": prunable_of(self.survivors, self.weight.detach())}

    def gradients(self) -> State:
        return prunable_of(self.survivors, self.weight.grad)


class BayesianNetwork:
    """Mean-field normal posteriors over every weight and bias of the linear and conv layers.

    Its saved state is that of torch-blue's module, in which a pruned weight has (mu, sigma) =
    (0, 0), log sigma = -inf.

    With an estimator other than "weights" (see `estimators`), `noise` and `logits` follow it while
    `template` is in training mode, and sample weights while it is in evaluation mode. `antithetic`
    makes weight samples in pairs of opposite noise.
    """

    @classmethod
    def of(cls, template: nn.Module, options: Mapping) -> "BayesianNetwork":
        """From the options of `kinds.Variational`."""
        own = ("initial_std", "prior_std", "estimator", "antithetic")
        objective = Objective(**{k: options[k] for k in vars(Objective()) if k in options})
        return cls(template, objective, **{k: options[k] for k in own if k in options})

    @classmethod
    def together(cls, networks: Sequence["BayesianNetwork"]) -> "BayesianNetwork":
        """Networks side by side; theirs become parts of it.

        Raises:
            InputError: their estimator trains one network at a time.
        """
        pack = copy.copy(networks[0])
        if pack.estimator != "weights":
            raise InputError(
                f"bayesian.estimator: {pack.estimator!r} trains one network at a time, not "
                f"{len(networks)} side by side."
            )
        pack.survivors = Survivors.together([network.survivors for network in networks])
        pack.mean = packs.stack([network.mean for network in networks])
        pack.log_std = packs.stack([network.log_std for network in networks])
        return pack

    def __init__(
        self,
        template: nn.Module,
        objective: Objective,
        initial_std: float,
        prior_std: float,
        estimator: str = "weights",
        antithetic: bool = False,
    ):
        if estimator not in ESTIMATORS:
            raise choice("bayesian.estimator", estimator, ESTIMATORS)
        module = bayesian.convert(template, initial_std, prior_std)
        self.names = list(module.state_dict())
        self.objective = objective
        self.estimator = estimator
        self.prior_std = prior_std
        self.antithetic = antithetic
        self.survivors = Survivors(template, sparse=estimator == "weights")
        mean, log_std = _posteriors(module.state_dict(), self.survivors)
        self.mean: Tensor = nn.Parameter(self.survivors.collect(mean))
        self.log_std: Tensor = nn.Parameter(self.survivors.collect(log_std))

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        check_shapes("weights", state, self.state())
        self.survivors.keep(mask)
        mean, log_std = _posteriors(state, self.survivors)
        take(self.mean, self.survivors, mean)
        take(self.log_std, self.survivors, log_std)
        take_others(self.survivors, state)

    def state(self) -> State:
        mean = self.survivors.named(self.mean.detach())
        log_std = self.survivors.named(self.log_std.detach(), fill=-torch.inf)
        found = dict(self.survivors.others)
        for name in mean:
            names = bayesian.parameter_names(name)
            found |= dict(zip(names, (mean[name], log_std[name]), strict=True))
        return {name: found[name].detach().clone() for name in self.names}

    def tensors(self) -> State:
        return {"mean": self.mean, "log_std": self.log_std, **self.survivors.others}

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        # Decay would pull log sigma towards 0, that is sigma towards 1.
        return [
            {
                "params": [self.mean, *_trained(self.survivors.others)],
                "weight_decay": weight_decay,
            },
            {"params": [self.log_std], "weight_decay": 0.0},
        ]

    def weights(self) -> Weights:
        """Mean, sigma and log sigma of the survivors, each (n,)."""
        return self.mean, self.log_std.exp(), self.log_std

    def _samples_weights(self) -> bool:
        return self.estimator == "weights" or not self.survivors.template.training

    def noise(self, samples: int, *generators: torch.Generator) -> Tensor:
        if not self._samples_weights():
            return estimators.seeds(samples, *generators)
        drawn = (samples + 1) // 2 if self.antithetic else samples
        device, dtype = self.mean.device, self.mean.dtype
        parts = [
            torch.randn(drawn, n, generator=each, device=device, dtype=dtype)
            for n, each in zip(self.survivors.sizes, generators, strict=True)
        ]
        noise = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        return torch.cat([noise, -noise])[:samples] if self.antithetic else noise

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        mean, std, _ = weights
        if self._samples_weights():
            return self.survivors.logits(images, bayesian.sample(mean, std, noise))
        means, stds = (self.survivors.weights(row[None]) for row in (mean, std))
        template, others = self.survivors.template, self.survivors.others
        output = estimators.outputs(self.estimator, template, images, means, stds, others, noise)
        return self.survivors.unfold(output)

    def divergence(self, weights: Weights) -> Tensor:
        mean, std, log_std = (row.split(self.survivors.sizes) for row in weights)
        each = zip(mean, std, log_std, strict=True)
        return torch.stack([bayesian.divergence(*rows, self.prior_std) for rows in each])

    def moments(self) -> dict[str, State]:
        return {
            "mean": prunable_of(self.survivors, self.mean.detach()),
            "std": prunable_of(self.survivors, self.log_std.detach().exp()),
        }

    def gradients(self) -> State:
        return prunable_of(self.survivors, self.mean.grad)


def _posteriors(state: Mapping[str, Tensor], survivors: Survivors) -> tuple[State, State]:
    """Mean and log sigma of every variable, by the plain model's name, in torch-blue's state."""
    names = {name: bayesian.parameter_names(name) for name in survivors.shapes}
    mean = {name: state[mean].detach() for name, (mean, _) in names.items()}
    return mean, {name: state[log_std].detach() for name, (_, log_std) in names.items()}
