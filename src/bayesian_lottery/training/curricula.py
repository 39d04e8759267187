"""Curricula: how long, how fast and with which optimiser a node is trained."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Curriculum:
    """One entry of the configuration's `curricula`; epochs count from 1 in milestones.

    The learning rate rises linearly over the first `warmup_epochs`, step by step, and is multiplied
    by `gamma` once each milestone's number of epochs is done.
    """

    epochs: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    milestones: tuple[int, ...]
    gamma: float
    warmup_epochs: int
    momentum: float

    @classmethod
    def of(cls, settings: dict) -> "Curriculum":
        """As a node's settings have it."""
        return cls(**{**settings, "milestones": tuple(settings["milestones"])})

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of optimisation step `step` (from 0)."""
        epochs_done = step // steps_per_epoch
        rate = self.learning_rate * self.gamma ** sum(epochs_done >= m for m in self.milestones)
        warmup_steps = self.warmup_epochs * steps_per_epoch
        return rate * (step + 1) / warmup_steps if step < warmup_steps else rate

    def build_optimizer(self, groups: list[dict]) -> torch.optim.Optimizer:
        """Adam (coupled weight decay, as in the paper) or SGD over parameter groups.

        Each group brings its own `weight_decay`.
        """
        if self.optimizer == "adam":
            return torch.optim.Adam(groups, lr=self.learning_rate, fused=True)
        return torch.optim.SGD(groups, lr=self.learning_rate, momentum=self.momentum, fused=True)
