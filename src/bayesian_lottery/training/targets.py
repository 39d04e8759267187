"""What networks are trained towards: the labels, or a teacher's predictions beside them.

The loop asks for the targets of each step, the engine for each weight sample's log-likelihood of
them. Nothing here changes from step to step, so a resumed run sees the same targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bayesian_lottery.imports import named
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets.objectives import OBJECTIVES
from bayesian_lottery.training.engine import Engine, log_likelihoods
from bayesian_lottery.training.metrics import Predictions


class Targets(Protocol):
    """What networks side by side are trained towards.

    Attributes:
        alike: whether what is beside the labels depends on the images alone, and not on the step.
            One that lacks it is taken for one that does.
    """

    alike: bool = False

    def beside_labels(self, images: Tensor, step: int) -> tuple[Tensor, ...]:
        """What there is beside the labels of a step's images (B, C, H, W), for all networks."""

    def log_likelihoods(self, logits: Tensor, labels: Tensor, *beside: Tensor) -> Tensor:
        """(S, B) of each sample and image, from logits (S, B, classes) and labels (B,)."""


@dataclass(frozen=True)
class Teacher:
    """A trained network whose predictions are learnt.

    Attributes:
        engine: the network's, in evaluation mode.
        samples: the weight samples that its predictive distribution averages.
        stream: the coordinates that name the random streams of the network that learns.
    """

    engine: Engine
    samples: int
    stream: Sequence[object]

    def log_probabilities(self, images: Tensor, step: int) -> Tensor:
        """Of its predictive distribution, (B, classes), without a graph; new draws every step."""
        stream = generator(*self.stream, "teacher", step, device=self.engine.device)
        noise = self.engine.network.noise(self.samples, stream)
        return Predictions.of(self.engine.logits(images, noise)).log_probabilities


class Labels:
    """The labels alone."""

    alike = True

    def __init__(self, options: Mapping | None = None, teachers: Sequence[Teacher] = ()):
        pass

    def beside_labels(self, images: Tensor, step: int) -> tuple[Tensor, ...]:
        return ()

    def log_likelihoods(self, logits: Tensor, labels: Tensor, *beside: Tensor) -> Tensor:
        return log_likelihoods(logits, labels)


class Distilled:
    """The labels, and soft predictions of a teacher on the same images.

    Hinton, Vinyals and Dean 2015, Distilling the knowledge in a neural network, section 2: with q
    the teacher's and p the network's distribution at temperature T, an image's log-likelihood is

        (1 - weight) log p_1(label) + weight T^2 sum_c q_c log p_c,

    where T^2 keeps the gradients' scale. q is softmax(log(predictive distribution) / T), which for
    a deterministic teacher is the softmax of its logits over T. Of a Bayesian network each weight
    sample has such a log-likelihood, and its option `likelihood` says how they make the data term.
    """

    def __init__(self, options: Mapping, teachers: Sequence[Teacher]):
        self.temperature, self.weight = options["temperature"], options["weight"]
        self.teachers = teachers

    def beside_labels(self, images: Tensor, step: int) -> tuple[Tensor, ...]:
        batches = zip(self.teachers, images.chunk(len(self.teachers)), strict=True)
        soft = torch.cat([teacher.log_probabilities(batch, step) for teacher, batch in batches])
        return ((soft / self.temperature).softmax(-1),)

    def log_likelihoods(self, logits: Tensor, labels: Tensor, *beside: Tensor) -> Tensor:
        (soft,) = beside
        own = (logits / self.temperature).log_softmax(-1)
        taught = self.temperature**2 * (soft * own).sum(-1)
        return torch.lerp(log_likelihoods(logits, labels), taught, self.weight)


def build(settings: Mapping, teachers: Sequence[Teacher]) -> Targets:
    """What nodes of `settings` are trained towards."""
    told = settings["objective"]
    options = {name: value for name, value in told.items() if name != "kind"}
    return named(OBJECTIVES[told["kind"]].code)(options, teachers)
