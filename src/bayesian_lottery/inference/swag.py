"""SWAG: a normal posterior from the moments of the iterates of ordinary training.

Maddox et al. 2019, A simple baseline for Bayesian uncertainty in deep learning.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bayesian_lottery.inference.draws import DrawingNetwork, place
from bayesian_lottery.inference.monte_carlo import Swag
from bayesian_lottery.inference.networks import Batches, Training
from bayesian_lottery.inference.survivors import State


class SwagNetwork(DrawingNetwork):
    """An ordinary network, until training ends with a normal posterior around its late iterates.

    The mean and the variance of each weight are those of iterates of the last share of training,
    evenly spaced (algorithm 1; the variance is the unbiased one). With a rank, half of the
    covariance is that diagonal and half the low-rank part of the last iterates' deviations from the
    mean of their time (equation 1). Draws from it predict, the same ones ever after.
    """

    @classmethod
    def of(cls, template: nn.Module, options: Mapping) -> "SwagNetwork":
        """From the options of `monte_carlo.Swag`."""
        return cls(template, Swag(**options))

    def __init__(self, template: nn.Module, options: Swag):
        self.options = options
        super().__init__(template, options.draws)

    def _forget(self, room: int) -> None:
        super()._forget(room)
        self.deviations = self.draws.new_zeros(self.options.rank if room else 0, len(self.mean))

    def tensors(self) -> State:
        return {**super().tensors(), "sampling.deviations": self.deviations}

    def optimizer(self, training: Training) -> torch.optim.Optimizer:
        self.options.check("swag", training.steps)
        (self.generator,) = training.generators
        return super().optimizer(training)

    def rate(self, given: float, step: int, steps: int) -> float:
        own = self.options.learning_rate
        return given if own is None or step < self.options.first(steps) else own

    def after_step(self, step: int, steps: int) -> None:
        first = self.options.first(steps)
        if step <= first:
            return
        index = place(step - first, steps - first, self.options.iterates)
        if index is None:
            return
        self.average()
        if self.options.rank:
            self.deviations[index % self.options.rank] = self.point() - self.mean

    def finish(self, batches: Batches) -> None:
        std, deviations = self.std(), self.deviations[: int(self.count)]
        for index in range(self.keep):
            self.keep_draw(index, self.mean + self._departure(std, deviations))
        super().finish(batches)

    def _departure(self, std: Tensor, deviations: Tensor) -> Tensor:
        """A draw from the posterior (m,), less its mean."""
        diagonal = std * self._normal(std)
        rank = len(deviations)
        if not rank:
            return diagonal
        low_rank = self._normal(deviations[:, 0]) @ deviations / max(rank - 1, 1) ** 0.5
        return (diagonal + low_rank) / 2**0.5

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(
            like.shape, generator=self.generator, device=like.device, dtype=like.dtype
        )

    def sampling(self) -> dict[str, float | None]:
        return {**super().sampling(), "iterates": int(self.count)}
