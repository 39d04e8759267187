"""What a run measures of each network: its history, its tests, and the time that it took."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from bayesian_lottery.data.decoded import Images, Split
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import kinds
from bayesian_lottery.inference.networks import Network
from bayesian_lottery.training import devices, evaluation, shifts
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.draws import Draws
from bayesian_lottery.training.engine import Engine, Plan
from bayesian_lottery.training.steps import TOTALS


class Diverged(InputError):
    """The loss or a test metric became NaN or infinite."""


@dataclass
class Record:
    """What a run has measured so far."""

    history: list[dict] = field(default_factory=list)
    seconds_training: float = 0.0
    seconds_evaluation: float = 0.0
    resumed_at_steps: list[int] = field(default_factory=list)
    passes: dict[str, list[float] | None] = field(default_factory=dict)
    by_step: list[dict] = field(default_factory=list)  # tests between those of the epochs
    shifts: dict[str, list[dict]] = field(default_factory=dict)  # see `shifts.measure`
    predictions: Tensor | None = None  # class probabilities of the test images, at the end
    sampling: dict[str, float | None] = field(default_factory=dict)  # see `Network.sampling`
    draws: Draws | None = None  # of a sampler
    population: list[dict] = field(default_factory=list)  # what trained it when; see `population`


class Records:
    """The records of networks that train side by side, and the tests that fill them.

    Args:
        networks: what is tested.
        images, validation: the data set, and those of its images that are held out.
        settings: the nodes'.
        streams: of each network, the coordinates that name its random streams.
        plan: how predictions are computed.
        checkpointing: whose file goes if training diverges, since it would only do so again.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        images: Images,
        validation: Split,
        settings: Mapping,
        streams: Sequence[Sequence[object]],
        plan: Plan,
        checkpointing: Checkpointing | None = None,
    ):
        self.images, self.validation, self.settings = images, validation, settings
        self.checkpointing = checkpointing
        self.testers = [Engine(network, images.image_shape, plan) for network in networks]
        self.streams, self.all = streams, [Record() for _ in networks]
        self.clock = time.perf_counter()

    def resume(self, saved: Sequence[dict], step: int) -> None:
        """Go on from the records of a checkpoint that was written after `step` steps."""
        self.all = [Record(**record) for record in saved]
        for record in self.all:
            record.resumed_at_steps.append(step)

    def start_clock(self) -> None:
        """Training goes on."""
        self.clock = time.perf_counter()

    @contextlib.contextmanager
    def training_paused(self) -> Iterator[None]:
        """What is done within the block takes none of the time of training, which all share."""
        seconds = time.perf_counter() - self.clock
        for record in self.all:
            record.seconds_training += seconds / len(self.all)
        yield
        self.start_clock()

    def end_epoch(
        self, epoch: int, rate: float, means: Sequence[Sequence[float]], **more: float
    ) -> None:
        """Add a row to each network's history: its means of `TOTALS`, and tests where due.

        Args:
            epoch: from 1.
            rate: the last learning rate.
            means: of each network, over the epoch's steps.
            more: what else there is in the row.

        Raises:
            Diverged: one of them is NaN or infinite.
        """
        for record, tester, stream, own in zip(*self._each, means, strict=True):
            clock = time.perf_counter()
            row: dict = {"epoch": epoch, "learning_rate": rate}
            row |= dict(zip(TOTALS, own, strict=True)) | tester.network.sampling()
            if evaluation.due(self.settings, epoch):
                row |= evaluation.measure(
                    tester, self.images, self.validation, self.settings, stream, epoch
                )
            self._refuse_divergence(row, stream)
            record.seconds_evaluation += time.perf_counter() - clock
            row["seconds"] = record.seconds_training + record.seconds_evaluation
            row["peak_memory_bytes"] = devices.peak_memory(self.images.mean.device)
            record.history.append(row | more)

    def test(self, step: int) -> None:
        """Add a test after `step` steps to each record, as `evaluation.every_steps` asks."""
        for record, tester, stream in zip(*self._each, strict=True):
            clock = time.perf_counter()
            values = evaluation.measure_at_step(
                tester, self.images, self.validation, self.settings, stream, step
            )
            record.seconds_evaluation += time.perf_counter() - clock
            record.by_step.append({"step": step, **values})

    def end(self, others: Mapping[str, Path], trained: bool) -> None:
        """Add the tests of the end.

        Args:
            others: decoded data sets that predictions are to tell from this one, by name.
            trained: False of a branch that is tested as it starts, and has no epoch.
        """
        images, settings = self.images, self.settings
        for record, tester, stream in zip(*self._each, strict=True):
            clock = time.perf_counter()
            if not trained:
                tests = evaluation.measure(tester, images, self.validation, settings, stream, 0)
                record.history.append({"epoch": 0, **tests})
            record.passes, record.predictions = evaluation.final(tester, images, settings, stream)
            record.shifts = shifts.measure(tester, images, settings, stream, others)
            record.sampling = tester.network.sampling()
            if kinds.kind_of(settings).draws:
                record.draws = evaluation.by_draw(tester, images, settings, stream)
            record.seconds_evaluation += time.perf_counter() - clock

    def state(self) -> str:
        """What the log says of the last epoch beside its steps."""
        history = self.all[0].history
        if not history:
            return ""
        row = history[-1]
        state = f", epoch {row['epoch']}, loss {row['loss']:.4f}"
        if "test_accuracy" in row:
            state += f", test accuracy {row['test_accuracy']:.4f}"
        return state

    @property
    def _each(self) -> tuple[list[Record], list[Engine], Sequence[Sequence[object]]]:
        return self.all, self.testers, self.streams

    def _refuse_divergence(self, row: dict, stream: Sequence[object]) -> None:
        bad = [name for name, v in row.items() if v is not None and not math.isfinite(v)]
        if bad:
            if self.checkpointing:
                self.checkpointing.path.unlink(missing_ok=True)
            raise Diverged(
                f"training diverged: {', '.join(bad)} not finite in epoch {row['epoch']} "
                f"at learning rate {row['learning_rate']:g} ({' '.join(map(str, stream))})."
            )
