"""Bayesian networks: mean-field variational inference with normal posteriors."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.inference import bayesian, estimators, packs
from bayesian_lottery.inference.networks import (
    Network,
    Objective,
    Weights,
    check_shapes,
    prunable_of,
    take,
    take_others,
    trained,
)
from bayesian_lottery.inference.survivors import State, Survivors
from bayesian_lottery.models.one_by_one import samples_apart
from bayesian_lottery.tickets.masks import Mask

ESTIMATORS = ("weights", *estimators.ESTIMATORS)


class BayesianNetwork(Network):
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
        own = ("initial_std", "prior_std", "estimator", "antithetic", "heats")
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
        if heats := [network.heats for network in networks if network.heats is not None]:
            pack.heats = torch.cat(heats)
        return pack

    def __init__(
        self,
        template: nn.Module,
        objective: Objective,
        initial_std: float,
        prior_std: float,
        estimator: str = "weights",
        antithetic: bool = False,
        heats: Mapping[str, float] | None = None,
    ):
        if estimator not in ESTIMATORS:
            raise choice("bayesian.estimator", estimator, ESTIMATORS)
        if estimator != "weights" and samples_apart(template):
            raise InputError(
                f"bayesian.estimator: {estimator!r} needs a model whose layers carry samples side "
                "by side, and this one takes them one at a time; use 'weights'."
            )
        module = bayesian.convert(template, initial_std, prior_std)
        self.names = list(module.state_dict())
        self.objective = objective
        self.estimator = estimator
        self.reads_draws = estimator != "weights"
        self.prior_std = prior_std
        self.antithetic = antithetic
        self.survivors = Survivors(template, sparse=estimator == "weights")
        mean, log_std = _posteriors(module.state_dict(), self.survivors)
        self.mean: Tensor = nn.Parameter(self.survivors.collect(mean))
        self.log_std: Tensor = nn.Parameter(self.survivors.collect(log_std))
        self.heats: Tensor | None = None
        if heats is not None:
            self.heat_layers(heats)
        # Of a layer's weights all are the same.
        self.initial_log_std = {name: each.flatten()[0].item() for name, each in log_std.items()}

    def heat_layers(self, heats: Mapping[str, float]) -> None:
        """Let each layer's KL have the factor that `heats` names, the others' the objective's.

        Raises:
            InputError: it names a layer that the model does not have.
        """
        layers = self.survivors.layers
        for name in heats:
            if name not in layers:
                raise choice("bayesian.heats, a layer", name, layers)
        factors = [heats.get(name, self.objective.heat) for name in layers]
        self.heats = torch.tensor([factors], dtype=self.mean.dtype, device=self.mean.device)

    @property
    def factors(self) -> float | Tensor:
        return self.objective.heat if self.heats is None else self.heats

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
                "params": [self.mean, *trained(self.survivors.others)],
                "weight_decay": weight_decay,
            },
            {"params": [self.log_std], "weight_decay": 0.0},
        ]

    def weights(self) -> Weights:
        """Mean, sigma and log sigma of the survivors, each (n,)."""
        return self.mean, self.log_std.exp(), self.log_std

    def _samples_weights(self) -> bool:
        return self.estimator == "weights" or not self.template.training

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
        template, others = self.template, self.survivors.others
        output = estimators.outputs(self.estimator, template, images, means, stds, others, noise)
        return self.survivors.unfold(output)

    def divergence(self, weights: Weights) -> Tensor:
        survivors, layered = self.survivors, self.heats is not None
        counts = survivors.layer_counts() if layered else survivors.sizes
        mean, std, log_std = (row.split(counts) for row in weights)
        each = zip(mean, std, log_std, strict=True)
        parts = torch.stack([bayesian.divergence(*rows, self.prior_std) for rows in each])
        return parts.view(self.members, -1) if layered else parts

    def moments(self) -> dict[str, State]:
        return {
            "mean": prunable_of(self.survivors, self.mean.detach()),
            "std": prunable_of(self.survivors, self.log_std.detach().exp()),
        }

    def draw(self, generator: torch.Generator) -> State:
        mean, std, _ = (row.detach() for row in self.weights())
        noise = torch.randn(1, len(mean), generator=generator, device=mean.device, dtype=mean.dtype)
        others = {name: tensor.detach().clone() for name, tensor in self.survivors.others.items()}
        return others | self.survivors.named(bayesian.sample(mean, std, noise)[0])

    def born(self, name: str) -> dict[str, float]:
        return {"mean": 0.0, "log_std": self.initial_log_std[name]}

    def gradients(self) -> State:
        return prunable_of(self.survivors, self.mean.grad)


def _posteriors(state: Mapping[str, Tensor], survivors: Survivors) -> tuple[State, State]:
    """Mean and log sigma of every variable, by the plain model's name, in torch-blue's state."""
    names = {name: bayesian.parameter_names(name) for name in survivors.shapes}
    mean = {name: state[mean].detach() for name, (mean, _) in names.items()}
    return mean, {name: state[log_std].detach() for name, (_, log_std) in names.items()}
