"""A training step as one function: the numbers of its images and the learning rate in, totals out.

The CPU reads nothing of what a step computes, so that a GPU can hold all of it as one graph (see
`capture`): index, augmentation, noise, forward, backward, optimiser and metrics.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from bayesian_lottery.training.batches import Batches
from bayesian_lottery.training.capture import Recording
from bayesian_lottery.training.engine import Engine
from bayesian_lottery.training.targets import Targets

TOTALS = ("loss", "train_nll", "kl", "train_accuracy")  # what a step returns of each network
UNRECORDED = 3  # steps before one is recorded: by then libraries have chosen their algorithms


class Step:
    """Takes the steps of a network, or of several side by side.

    With `compute.capture` a step on a GPU is recorded and replayed; where that cannot be, a line of
    the log says why.

    Args:
        engine: of the network.
        optimizer: of its parameters.
        batches: the images of each step.
        targets: what the network is trained towards.
        streams: the generators of weight samples, one a network.
        images: how many there are to train on; the KL term is divided by it.
    """

    def __init__(
        self,
        engine: Engine,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        targets: Targets,
        streams: Sequence[torch.Generator],
        images: int,
    ):
        self.engine, self.optimizer, self.batches = engine, optimizer, batches
        self.targets, self.streams = targets, streams
        self.heat = engine.network.factors / images
        self.recorded = engine.plan.capture and engine.device.type == "cuda"
        self.unrecorded = UNRECORDED
        self.recording: Recording | None = None
        if self.recorded and (obstacle := self._obstacle()):
            self.recorded = False
            print(f"compute.capture: steps are not recorded, since {obstacle}", flush=True)

    def __call__(self, number: int, rate: float) -> Tensor:
        """Take step `number`; what it adds to each network's `TOTALS`, (4, networks)."""
        rows = self.batches.rows(number)
        if not self.recorded:
            return self.take(rows, rate, number)
        # A tensor, as a graph needs it, also in the steps before: else these would round otherwise.
        inputs = rows, torch.full((), rate, device=self.engine.device)
        if self.unrecorded > 0:
            self.unrecorded -= 1
            return self.take(*inputs)
        if self.recording is None:
            for group in self.optimizer.param_groups:
                group["capturable"] = True
            self.recording = Recording(self.take, inputs, self._generators())
        return self.recording(*inputs)

    def take(self, rows: Tensor, rate: float | Tensor, number: int = 0) -> Tensor:
        """The step itself.

        Args:
            rows: the numbers of its images, (networks, B), where the images are.
            rate: the learning rate.
            number: of the step, which some targets ask for.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        inputs, labels = self.batches.of(rows)
        beside = self.targets.beside_labels(inputs, number)
        network = self.engine.network
        noise = network.noise(network.objective.samples, *self.streams)
        totals = leave_gradients(self.engine, inputs, labels, noise, self.heat, *beside)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return totals

    def forget(self) -> None:
        """Record anew: tensors of the network or of the optimiser were replaced by others."""
        self.recording = None

    def _generators(self) -> list[torch.Generator]:
        return [*self.streams, *self.batches.generators]

    def _obstacle(self) -> str:
        """Why steps cannot be recorded; "" if they can."""
        if not self.batches.on_device:
            return "the data set is in main memory"
        if self.engine.network.reads_draws:
            return "bayesian.estimator draws by seeds that the CPU reads"
        if not getattr(self.targets, "alike", False):
            return "what the objective teaches may differ from step to step"
        if not type(self.optimizer).__module__.startswith("torch."):
            return "the inference has an optimiser of its own"
        return ""


def leave_gradients(
    engine: Engine,
    inputs: Tensor,
    labels: Tensor,
    noise: Tensor,
    heat: float | Tensor,
    *beside: Tensor,
) -> Tensor:
    """Leave a step's gradients with the parameters; what it adds to each network's `TOTALS`."""
    network = engine.network
    logits, nll, divergence = engine.gradients(
        inputs, labels, noise, network.objective.likelihood, heat, *beside
    )
    hits = logits.softmax(-1).mean(0).argmax(-1) == labels
    hits = hits.view(network.members, -1).float().mean(1)
    penalty, kl = (part.reshape(len(nll), -1).sum(1) for part in (heat * divergence, divergence))
    return torch.stack([nll + penalty, nll, kl, hits])
