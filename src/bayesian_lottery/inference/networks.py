"""A network in training: parameters under a mask, and a forward pass over weight samples.

Two classes with one interface. Both call the same plain model (`template`), by `functional_call`,
with the weights of the moment: the masked parameters of a deterministic network, masked draws from
the posterior of a Bayesian one. Samples ride in the channel dimension (see `models.layers`).

A step calls `weights` once, `noise` once, and `logits` as often as it takes, each time with some of
the noise's rows: `engine` decides how many.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.inference import bayesian, estimators
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.models import CLASSIFIER, prunable
from bayesian_lottery.models.layers import unfold_samples
from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.masks import Mask

State = dict[str, Tensor]
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
    """What the training loop needs of a network."""

    module: nn.Module
    template: nn.Module
    mask: Mask
    objective: Objective
    members: int  # 1; more in a pack (see `packs`)
    shapes: Mapping[str, torch.Size]  # of what a row of noise is for, by name, in its order

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        """Take `state`'s values, prune to `mask`."""

    def weights(self) -> Weights:
        """The parameters under the mask, ready for any number of `logits`."""

    def noise(self, samples: int, generator: torch.Generator) -> Tensor:
        """What makes `samples` weight samples, a row each; one empty row when deterministic."""

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        """Logits (S, B, K) of float images (B, C, H, W), for the S rows of `noise`."""

    def divergence(self, weights: Weights) -> Tensor:
        """KL of the surviving weights' posterior from the prior, in nats; 0 when deterministic."""

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        """Parameter groups for the optimiser."""

    def state(self) -> State:
        """Copies of all parameters and buffers, pruned weights zero: what is saved."""

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


def _classes(template: nn.Module) -> int:
    classifier = template.get_submodule("classifier")
    assert isinstance(classifier, nn.Linear)  # of every model
    return classifier.out_features


def check_shapes(what: object, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise `InputError`, naming both shapes, unless `given` has the names and shapes `wanted`."""
    for name in [*wanted, *given]:
        theirs = tuple(given[name].shape) if name in given else "absent"
        ours = tuple(wanted[name].shape) if name in wanted else "absent"
        if theirs != ours:
            raise InputError(f"{what}: {name} has shape {theirs}, the network's has {ours}.")


def _refuse_non_finite(name: str, values: Tensor) -> None:
    if not values.isfinite().all():
        raise InputError(f"weights: {name} has surviving values that are NaN or infinite.")


def _gradients(tensors: Mapping[str, Tensor]) -> State:
    return {name: tensor.grad for name, tensor in tensors.items() if tensor.grad is not None}


def _parameters(tensors: Mapping[str, Tensor]) -> list[nn.Parameter]:
    return [tensor for tensor in tensors.values() if isinstance(tensor, nn.Parameter)]


class DeterministicNetwork:
    """An ordinary network; pruned weights are exactly zero and get no gradient."""

    members = 1
    objective = Objective()
    shapes: Mapping[str, torch.Size] = {}

    @classmethod
    def of(cls, template: nn.Module, options: Mapping) -> "DeterministicNetwork":
        return cls(template)

    def __init__(self, template: nn.Module):
        self.template = self.module = template
        self.tensors = {**dict(template.named_parameters()), **dict(template.named_buffers())}
        self._set_mask(masks.ones(prunable(template)))

    def _set_mask(self, mask: Mask) -> None:
        device = next(self.module.parameters()).device
        self.mask = {name: layer.to(device) for name, layer in mask.items()}

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        check_shapes("weights", state, self.module.state_dict())
        masks.check(mask, prunable(self.template, CLASSIFIER in mask))
        self._set_mask(mask)
        device = next(self.module.parameters()).device
        values = {name: tensor.to(device) for name, tensor in state.items()}
        values = masks.apply(self.mask, values)
        for name, value in values.items():
            _refuse_non_finite(name, value)
        self.module.load_state_dict(values)

    def weights(self) -> Weights:
        return tuple(self.tensors[name] * layer for name, layer in self.mask.items())

    def noise(self, samples: int, generator: torch.Generator) -> Tensor:
        return torch.empty(1, 0)

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        tensors = {**self.tensors, **dict(zip(self.mask, weights, strict=True))}
        output = functional_call(self.template, tensors, (images,))
        return unfold_samples(output, _classes(self.template))

    def divergence(self, weights: Weights) -> Tensor:
        return torch.zeros((), device=weights[0].device)

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        return [{"params": _parameters(self.tensors), "weight_decay": weight_decay}]

    def state(self) -> State:
        return masks.apply(self.mask, {k: v.clone() for k, v in self.module.state_dict().items()})

    def moments(self) -> dict[str, State]:
        state = self.module.state_dict()
        return {"weight": {name: state[name] for name in self.mask}}

    def gradients(self) -> State:
        return _gradients({name: self.tensors[name] for name in self.mask})


class BayesianNetwork:
    """Mean-field normal posteriors over every weight and bias of the linear and conv layers.

    `module` is torch-blue's and owns the parameters. A pruned weight has (mu, sigma) = (0, 0) when
    saved, log sigma = -inf. In memory its log sigma keeps a finite value that the mask hides from
    every sample and from the KL, since -inf has no usable gradient.

    With an estimator other than "weights" (see `estimators`), `noise` and `logits` follow it while
    `template` is in training mode, and sample weights while it is in evaluation mode. `antithetic`
    makes weight samples in pairs of opposite noise.
    """

    members = 1

    @classmethod
    def of(cls, template: nn.Module, options: Mapping) -> "BayesianNetwork":
        """From the options of `kinds.Variational`."""
        own = ("initial_std", "prior_std", "estimator", "antithetic")
        objective = Objective(**{k: options[k] for k in vars(Objective()) if k in options})
        return cls(template, objective, **{k: options[k] for k in own if k in options})

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
        self.template = template
        self.objective = objective
        self.estimator = estimator
        self.module = bayesian.convert(template, initial_std, prior_std)
        self.prior_std = prior_std
        self.antithetic = antithetic
        self.posteriors = bayesian.posteriors(self.module)
        self.shapes: Mapping[str, torch.Size] = {
            name: mean.shape for name, (mean, _) in self.posteriors.items()
        }
        self.others = {**dict(self.module.named_buffers()), **bayesian.unsampled(self.module)}
        self._set_mask(masks.ones(prunable(template)))

    def _set_mask(self, mask: Mask) -> None:
        device = next(self.module.parameters()).device
        self.mask = {name: layer.to(device) for name, layer in mask.items()}
        # 1 and 0 in the weights' type, since a bool would be converted each step. Biases: all 1.
        kept = [
            self.mask[name].flatten().to(mean.dtype)
            if name in self.mask
            else mean.new_ones(mean.numel())
            for name, (mean, _) in self.posteriors.items()
        ]
        self.kept = torch.cat(kept)

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        check_shapes("weights", state, self.module.state_dict())
        masks.check(mask, prunable(self.template, CLASSIFIER in mask))
        self._set_mask(mask)
        values = {name: tensor.to(self.kept.device) for name, tensor in state.items()}
        for name, layer in self.mask.items():
            mean, log_std = bayesian.parameter_names(name)
            values[mean] = torch.where(layer, values[mean], 0)
            values[log_std] = torch.where(layer, values[log_std], 0)
        for name, value in values.items():
            _refuse_non_finite(name, value)
        self.module.load_state_dict(values)

    def weights(self) -> Weights:
        """Mean, sigma and log sigma of all variables, each (n,); the first two 0 where pruned."""
        mean = torch.cat([mean.flatten() for mean, _ in self.posteriors.values()])
        log_std = torch.cat([log_std.flatten() for _, log_std in self.posteriors.values()])
        return mean * self.kept, log_std.exp() * self.kept, log_std

    def _samples_weights(self) -> bool:
        return self.estimator == "weights" or not self.template.training

    def noise(self, samples: int, generator: torch.Generator) -> Tensor:
        if not self._samples_weights():
            return estimators.seeds(samples, generator)
        shape = (samples + 1) // 2 if self.antithetic else samples, self.kept.numel()
        device, dtype = self.kept.device, self.kept.dtype
        noise = torch.randn(shape, generator=generator, device=device, dtype=dtype)
        return torch.cat([noise, -noise])[:samples] if self.antithetic else noise

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        mean, std, _ = weights
        if self._samples_weights():
            draws = bayesian.sample(mean, std, noise, self.shapes)
            output = functional_call(self.template, {**self.others, **draws}, (images,))
        else:
            means, stds = (bayesian.named(row[None], self.shapes) for row in (mean, std))
            output = estimators.outputs(
                self.estimator, self.template, images, means, stds, self.others, noise
            )
        return unfold_samples(output, _classes(self.template))

    def divergence(self, weights: Weights) -> Tensor:
        mean, std, log_std = weights
        return bayesian.divergence(mean, std, log_std, self.kept, self.prior_std)

    def parameter_groups(self, weight_decay: float) -> list[dict]:
        # Decay would pull log sigma towards 0, that is sigma towards 1.
        log_stds = [log_std for _, log_std in self.posteriors.values()]
        decayed = [mean for mean, _ in self.posteriors.values()] + _parameters(self.others)
        return [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": log_stds, "weight_decay": 0.0},
        ]

    def state(self) -> State:
        values = {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
        for name, layer in self.mask.items():
            mean, log_std = bayesian.parameter_names(name)
            values[mean] = torch.where(layer, values[mean], 0)
            values[log_std] = torch.where(layer, values[log_std], -torch.inf)
        return values

    def moments(self) -> dict[str, State]:
        prunable = {name: self.posteriors[name] for name in self.mask}
        return {
            "mean": {name: mean.detach() for name, (mean, _) in prunable.items()},
            "std": {name: log_std.detach().exp() for name, (_, log_std) in prunable.items()},
        }

    def gradients(self) -> State:
        return _gradients({name: self.posteriors[name][0] for name in self.mask})
