"""Training: the loop, from the first step to the last, resumable at any of them."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from bayesian_lottery.data.decoded import Images, Split
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import packs
from bayesian_lottery.inference.networks import Network, Training
from bayesian_lottery.meter import Meter
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import checkpoints, devices, evaluation, shifts
from bayesian_lottery.training.batches import Batches, divide
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.curricula import Curriculum
from bayesian_lottery.training.engine import Engine, Plan, keep_freed_memory
from bayesian_lottery.training.moving import mover_of
from bayesian_lottery.training.remasking import remask
from bayesian_lottery.training.targets import Labels, Targets

LABELS = Labels()


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


TOTALS = ("loss", "train_nll", "kl", "train_accuracy")  # of an epoch's steps, in the history


def train(
    networks: Sequence[Network],
    images: Images,
    settings: Mapping,
    streams: Sequence[Sequence[object]],
    checkpointing: Checkpointing | None = None,
    others: Mapping[str, Path] = MappingProxyType({}),
    targets: Targets = LABELS,
    watch: Callable[[int], None] | None = None,
    until: int | None = None,
) -> list[Record]:
    """Train `networks` in place by `settings`, side by side, and measure each every epoch.

    Every random number of a network comes from the streams that its entry of `streams` names, so
    the same call on the same device gives the same result, whether or not it was interrupted. A
    network among others gets the result that it would have had alone, up to rounding.

    Args:
        networks: where to start from, on the device of `images`; of one architecture.
        images: the data set.
        settings: the nodes' settings, as `study.node_settings` gives them.
        streams: of each network, the coordinates that name its random streams.
        checkpointing: save every so often, on SIGUSR1, and on SIGTERM before stopping.
        others: decoded data sets that predictions are to tell from this one, by name.
        targets: what the networks are trained towards.
        watch: called after every epoch, with its number; it may end training by an exception.
        until: the step after which to break off, without the tests of the end; None is the last.

    Returns:
        A record of each network.

    Raises:
        Diverged: a loss or metric is NaN or infinite; says the epoch and the learning rate.
        Stopped: SIGTERM came; the checkpoint is on disk.
    """
    device = images.mean.device
    if device.type == "cpu":
        keep_freed_memory()
    curriculum = Curriculum.of(settings["curriculum"])
    training, validation = divide(images, settings)
    batches = Batches(images, training, curriculum.batch_size, settings["augment"], streams)
    whole = curriculum.epochs * batches.per_epoch
    steps = whole if until is None else until

    plan = Plan(**settings.get("compute", {}))
    side_by_side = packs.pack(networks)
    engine = Engine(side_by_side, images.image_shape, plan, targets.log_likelihoods)
    mover = mover_of(networks[0], images, settings, streams[0], steps)
    testers = [Engine(network, images.image_shape, plan) for network in networks]
    sampling = [generator(*stream, "weights", device=device) for stream in streams]
    build, decay = curriculum.build_optimizer, curriculum.weight_decay
    optimizer = side_by_side.optimizer(Training(build, decay, len(training), whole, sampling))
    heat = side_by_side.objective.heat / len(training)

    totals = torch.zeros(len(TOTALS), len(networks), dtype=torch.float64, device=device)
    records, first_step = [Record() for _ in networks], 0
    state = checkpoints.State(
        side_by_side.tensors(),
        optimizer,
        {"augmentation": batches.generators, "weights": sampling},
        moving=side_by_side if mover else None,
    )
    if checkpointing and (restored := state.restore(checkpointing, totals)):
        first_step, saved, totals = restored
        records = [Record(**record) for record in saved]
        for record in records:
            record.resumed_at_steps.append(first_step)
        print(f"resuming at step {first_step} of {steps}", flush=True)

    for network in networks:
        network.template.train()
    saved_at = clock = time.perf_counter()
    meter, pace = Meter("step", steps, first_step), devices.Pace(device)
    with checkpoints.listening() as requests:
        for step in range(first_step, steps):
            rate = curriculum.learning_rate_at(step, batches.per_epoch)
            rate = side_by_side.rate(rate, step, whole)
            noise = side_by_side.noise(side_by_side.objective.samples, *sampling)
            inputs, labels = batches.at(step)
            beside = targets.beside_labels(inputs, step)
            totals += take_step(engine, optimizer, rate, inputs, labels, noise, heat, *beside)
            if mover and mover.due(step + 1):
                remask(side_by_side, optimizer, mover.mask(step + 1))
                engine = Engine(side_by_side, images.image_shape, plan, targets.log_likelihoods)
            for network in networks:
                network.after_step(step + 1, whole)
            if step + 1 == whole and until is None:
                for network, stream in zip(networks, streams, strict=True):
                    network.finish(partial(batches.as_they_are, stream))
            pace.step()

            epoch, index = divmod(step + 1, batches.per_epoch)
            if index == 0:
                means = (totals / batches.per_epoch).T.tolist()
                totals.zero_()
                _share(records, time.perf_counter() - clock)
                for each in zip(records, testers, streams, means, strict=True):
                    _end_epoch(*each, epoch, rate, images, validation, settings, checkpointing)
                if watch:
                    watch(epoch)
                if mover:
                    records[0].history[-1]["survivors"] = masks.survivors(networks[0].mask)
                clock = time.perf_counter()
            if evaluation.due_at_step(settings, step + 1):
                _share(records, time.perf_counter() - clock)
                for one in zip(records, testers, streams, strict=True):
                    _test(*one, step + 1, images, validation, settings)
                clock = time.perf_counter()
            meter.show(step + 1, partial(_state, records[0].history))

            due = checkpointing and time.perf_counter() - saved_at >= checkpointing.seconds
            if checkpointing and (due or requests.save):
                _share(records, time.perf_counter() - clock)
                state.save(checkpointing, step + 1, list(map(vars, records)), totals)
                requests.save = False
                saved_at = clock = time.perf_counter()
            if requests.stop:
                raise checkpoints.Stopped(f"stopped after step {step + 1} of {steps}")
    meter.close()
    if until is not None:
        return records

    for record, tester, stream in zip(records, testers, streams, strict=True):
        clock = time.perf_counter()
        if steps == 0:  # a branch that is tested as it starts
            tests = evaluation.measure(tester, images, validation, settings, stream, 0)
            record.history.append({"epoch": 0, **tests})
        record.passes, record.predictions = evaluation.final(tester, images, settings, stream)
        record.shifts = shifts.measure(tester, images, settings, stream, others)
        record.sampling = tester.network.sampling()
        record.seconds_evaluation += time.perf_counter() - clock
    return records


def take_step(
    engine: Engine,
    optimizer: torch.optim.Optimizer,
    rate: float,
    inputs: Tensor,
    labels: Tensor,
    noise: Tensor,
    heat: float,
    *beside: Tensor,
) -> Tensor:
    """One step of the optimiser; what it adds to each network's `TOTALS`, (4, networks)."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    network = engine.network
    logits, nll, divergence = engine.gradients(
        inputs, labels, noise, network.objective.likelihood, heat, *beside
    )
    optimizer.step()
    optimizer.zero_grad()
    hits = logits.softmax(-1).mean(0).argmax(-1) == labels
    hits = hits.view(network.members, -1).float().mean(1)
    return torch.stack([nll + heat * divergence, nll, divergence, hits])


def _end_epoch(
    record: Record,
    tester: Engine,
    stream: Sequence[object],
    means: list[float],
    epoch: int,
    rate: float,
    images: Images,
    validation: Split,
    settings: Mapping,
    checkpointing: Checkpointing | None,
) -> None:
    """Add a row to a network's history: the epoch's means, and metrics where they are due."""
    clock = time.perf_counter()
    row: dict = {"epoch": epoch, "learning_rate": rate, **dict(zip(TOTALS, means, strict=True))}
    row |= tester.network.sampling()
    if evaluation.due(settings, epoch):
        row |= evaluation.measure(tester, images, validation, settings, stream, epoch)
    _refuse_divergence(row, stream, checkpointing)
    record.seconds_evaluation += time.perf_counter() - clock
    row["seconds"] = record.seconds_training + record.seconds_evaluation
    row["peak_memory_bytes"] = devices.peak_memory(images.mean.device)
    record.history.append(row)


def _test(
    record: Record,
    tester: Engine,
    stream: Sequence[object],
    step: int,
    images: Images,
    validation: Split,
    settings: Mapping,
) -> None:
    """Add a test after `step` to a network's record, as `evaluation.every_steps` asks."""
    clock = time.perf_counter()
    values = evaluation.measure_at_step(tester, images, validation, settings, stream, step)
    record.seconds_evaluation += time.perf_counter() - clock
    record.by_step.append({"step": step, **values})


def _share(records: list[Record], seconds: float) -> None:
    """Add to each record its share of the time that all have trained together."""
    for record in records:
        record.seconds_training += seconds / len(records)


def _refuse_divergence(row: dict, stream, checkpointing: Checkpointing | None) -> None:
    bad = [name for name, value in row.items() if value is not None and not math.isfinite(value)]
    if bad:
        if checkpointing:
            checkpointing.path.unlink(missing_ok=True)  # resuming would only diverge again
        raise Diverged(
            f"training diverged: {', '.join(bad)} not finite in epoch {row['epoch']} "
            f"at learning rate {row['learning_rate']:g} ({' '.join(map(str, stream))})."
        )


def _state(history: list[dict]) -> str:
    """What the log says of the last epoch beside its steps."""
    if not history:
        return ""
    row = history[-1]
    state = f", epoch {row['epoch']}, loss {row['loss']:.4f}"
    if "test_accuracy" in row:
        state += f", test accuracy {row['test_accuracy']:.4f}"
    return state
