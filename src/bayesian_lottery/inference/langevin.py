"""Stochastic-gradient Markov chain Monte Carlo: SGHMC and SGLD over all that is trained.

The target is exp(-U / T), with the potential U = -sum of log p(y | x, w) over all training images
- log prior(w), and the temperature T. The gradient is that of a batch, as if it were of all images.
There is no correction for its noise nor for the step size: the chain is **biased**, the less the
smaller the step, and how much the measured temperatures tell. There is no preconditioning either,
but that of the prior's scale (see `LangevinNetwork`).
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from bayesian_lottery.inference.draws import DrawingNetwork, place
from bayesian_lottery.inference.monte_carlo import Sghmc, Sgld
from bayesian_lottery.inference.networks import Training, trained
from bayesian_lottery.inference.priors import NORMAL, Family, Prior, prior_of
from bayesian_lottery.inference.survivors import State


class Langevin(torch.optim.Optimizer):
    """Underdamped Langevin dynamics (Chen et al. 2014, equation 15), momenta of unit mass.

    With h = sqrt(learning rate / images) and friction f, momentum r and parameter w:

        r <- (1 - f) r - h grad U(w) + sqrt(2 f T) noise;    w <- w + h r

    At T = 0 that is SGD with momentum 1 - f at this learning rate, on U / images; at f = 1 it is
    SGLD (Welling & Teh 2011, equation 4) at the step size 2 h^2.

    Args:
        parameters: in whose `grad` is the gradient of the mean loss.
        families: of each parameter the prior, in its free coordinates.
        images: how many the likelihood is of.
        temperature, friction: T and f.
        generator: of the noise.

    Attributes:
        quiet: whether the next step has no noise.
        heat: (2,) of the last step, summed over entries: (1 - f/2) r^2, whose mean over entries and
            steps is T for a small h; and w grad U, of which the same is true (the virial theorem).
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        families: Sequence[Family],
        images: int,
        temperature: float,
        friction: float,
        generator: torch.Generator,
    ):
        super().__init__(parameters, {"lr": 0.0})
        self.families, self.images, self.generator = families, images, generator
        self.temperature, self.friction = temperature, friction
        self.quiet = False
        self.heat = torch.zeros(2)

    @torch.no_grad()
    def step(self, closure=None):
        """One step, by the gradients of now."""
        (group,) = self.param_groups
        length, loss = math.sqrt(group["lr"] / self.images), math.sqrt(2 * self.friction)
        heat = []
        for parameter, family in zip(group["params"], self.families, strict=True):
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"]
            slope = _slope(family, parameter, self.temperature)
            if parameter.grad is not None:
                slope = slope.add(parameter.grad, alpha=self.images)
            virial = (parameter * slope).sum()
            momentum.mul_(1 - self.friction).sub_(slope, alpha=length)
            if not self.quiet:
                scale = loss * math.sqrt(self.temperature)
                momentum.add_(_normal(momentum, self.generator), alpha=scale)
            parameter.add_(momentum, alpha=length)
            heat.append(torch.stack([(1 - self.friction / 2) * momentum.square().sum(), virial]))
        self.heat = torch.stack(heat).sum(0)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _slope(family: Family, free: Tensor, temperature: float) -> Tensor:
    """The gradient of what the dynamics temper of a prior's -log density in free coordinates."""
    with torch.enable_grad():
        leaf = free.detach().requires_grad_()
        slope = torch.autograd.grad(family.energy(leaf, torch).sum(), leaf)[0]
    # A bounded prior is flat, hot or cold; its energy is that of the coordinates.
    return temperature * slope if family.bounded else slope


class LangevinNetwork(DrawingNetwork):
    """A chain over the survivors, and over norms and embeddings, whose prior is N(0, 1).

    It moves in the prior's free coordinates, that is for normal priors in weights over the prior's
    scale: where the scale is 2, the step in weights is twice as long. The curriculum gives epochs,
    batch size and learning rate; its optimiser, momentum and weight decay have no part, for the
    friction and the prior take theirs.
    """

    prior: Prior
    clipped = 0  # weights that lay outside of the prior's support

    @classmethod
    def sghmc(cls, template: nn.Module, options: Mapping) -> "LangevinNetwork":
        """From the options of `monte_carlo.Sghmc`."""
        own = Sghmc(**options)
        return cls(template, "sghmc", own, own.friction)

    @classmethod
    def sgld(cls, template: nn.Module, options: Mapping) -> "LangevinNetwork":
        """From the options of `monte_carlo.Sgld`."""
        return cls(template, "sgld", Sgld(**options), friction=1.0)

    def __init__(self, template: nn.Module, kind: str, options: Sgld, friction: float):
        self.kind, self.options, self.friction = kind, options, friction
        super().__init__(template, options.keep)

    def take_row(self, tensors: Mapping[str, Tensor]) -> None:
        super().take_row(tensors)
        self.prior = prior_of(self.options, self.survivors)
        free, self.clipped = self.prior.free(self.weight.detach(), torch)
        self.weight.data.copy_(free)

    def row(self) -> Tensor:
        return self.prior.weights(self.weight, torch)

    def _forget(self, room: int) -> None:
        super()._forget(room)
        self.heat = torch.zeros(2, dtype=torch.float64, device=self.mean.device)

    def tensors(self) -> State:
        return {**super().tensors(), "sampling.heat": self.heat}

    def optimizer(self, training: Training) -> torch.optim.Optimizer:
        self.options.check(self.kind, training.steps)
        if self.clipped:
            print(
                f"{self.clipped} weights lay outside of the prior's support and start within it",
                flush=True,
            )
        super().optimizer(training)  # makes room for draws
        parameters = trained(self.tensors())
        families = [self.prior.family, *(NORMAL for _ in parameters[1:])]
        (noise,) = training.generators
        temperature = self.options.temperature
        self.dynamics = Langevin(
            parameters, families, training.images, temperature, self.friction, noise
        )
        return self.dynamics

    def rate(self, given: float, step: int, steps: int) -> float:
        schedule = self.options.schedule(steps)
        self.dynamics.quiet = schedule.explores(step + 1)
        return given * schedule.factor(step + 1)

    def after_step(self, step: int, steps: int) -> None:
        schedule = self.options.schedule(steps)
        index = schedule.index(step)
        if index is None:
            return
        self.average()
        self.heat += self.dynamics.heat
        kept = place(index, schedule.drawing, self.keep)
        if kept is not None:
            self.keep_draw(kept, self.point())

    def sampling(self) -> dict[str, float | None]:
        """`temperature` is the kinetic one and `configurational_temperature` the virial's, each the
        mean over the steps that draw."""
        count = int(self.count) * len(self.mean)
        names = ("temperature", "configurational_temperature")
        means = (self.heat / count).tolist() if count else [None, None]
        return {**super().sampling(), **dict(zip(names, means, strict=True))}
