"""Training: the loop, from the first step to the last, resumable at any of them."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from bayesian_lottery import checkpoints, devices, inferences, packs
from bayesian_lottery.checkpoints import Checkpointing
from bayesian_lottery.curricula import Curriculum
from bayesian_lottery.data import Images, Split, augment, hold_out, normalise
from bayesian_lottery.engine import Engine, Plan, keep_freed_memory
from bayesian_lottery.errors import InputError
from bayesian_lottery.metrics import METRICS, Predictions, evaluate
from bayesian_lottery.networks import Network
from bayesian_lottery.randomness import generator


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


def predict(
    engine: Engine,
    images: Images,
    split: Split,
    samples: int,
    batch_size: int,
    stream: torch.Generator,
) -> Predictions:
    """Predictions for `split`, by `samples` weight samples a batch; running norm statistics."""
    network = engine.network
    network.template.eval()
    parts = []
    for batch in split.images.split(batch_size):
        inputs = normalise(batch, images.mean, images.std)
        parts.append(Predictions.of(engine.logits(inputs, network.noise(samples, stream))))
    network.template.train()
    return Predictions.concatenate(parts)


def train(
    networks: Sequence[Network],
    images: Images,
    settings: dict,
    streams: Sequence[Sequence[object]],
    checkpointing: Checkpointing | None = None,
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

    Returns:
        A record of each network.

    Raises:
        Diverged: a loss or metric is NaN or infinite; says the epoch and the learning rate.
        Stopped: SIGTERM came; the checkpoint is on disk.
    """
    device = images.mean.device
    curriculum = Curriculum.of(settings["curriculum"])
    training, validation = hold_out(
        images.train, settings["validation"], generator("hold_out", images.name)
    )
    steps_per_epoch = len(training) // curriculum.batch_size
    if steps_per_epoch == 0:
        raise InputError(
            f"batch_size: {curriculum.batch_size} is more than the {len(training)} training images."
        )
    steps = curriculum.epochs * steps_per_epoch

    if device.type == "cpu":
        keep_freed_memory()
    plan = Plan(**settings.get("compute", {}))
    side_by_side = packs.pack(networks)
    objective = side_by_side.objective
    engine = Engine(side_by_side, images.image_shape, plan)
    testers = [Engine(network, images.image_shape, plan) for network in networks]
    optimizer = curriculum.build_optimizer(side_by_side.parameter_groups(curriculum.weight_decay))
    cropping, sampling = (
        [generator(*stream, name, device=device) for stream in streams]
        for name in ("augmentation", "weights")
    )
    # Rows: loss, NLL, KL, correct.
    totals = torch.zeros(4, len(networks), dtype=torch.float64, device=device)
    records = [Record() for _ in networks]
    streams_of = {"augmentation": cropping, "weights": sampling}
    state = checkpoints.State(side_by_side.module, optimizer, streams_of)
    first_step = 0
    if checkpointing and (found := state.restore(checkpointing, totals)):
        first_step, saved, totals = found
        records = [Record(**record) for record in saved]
        for record in records:
            record.resumed_at_steps.append(first_step)
        print(f"resuming at step {first_step} of {steps}", flush=True)

    for network in networks:
        network.template.train()
    orders = None
    saved_at = clock = time.perf_counter()
    progress, pace = Progress(steps, first_step), devices.Pace(device)
    with checkpoints.listening() as requests:
        for step in range(first_step, steps):
            epoch, index = divmod(step, steps_per_epoch)
            if orders is None or index == 0:
                shuffles = [generator(*stream, "order", epoch) for stream in streams]
                orders = [torch.randperm(len(training), generator=each) for each in shuffles]
                orders = torch.stack(orders).to(device)
            chosen = orders[:, index * curriculum.batch_size : (index + 1) * curriculum.batch_size]
            labels = training.labels[chosen].flatten()
            inputs = torch.cat(
                [
                    augment(training.images[rows], stream, **settings["augment"])
                    for rows, stream in zip(chosen, cropping, strict=True)
                ]
            )
            inputs = normalise(inputs, images.mean, images.std)

            learning_rate = curriculum.learning_rate_at(step, steps_per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            noise = side_by_side.noise(objective.samples, sampling)
            heat = objective.heat / len(training)
            logits, nll, divergence = engine.gradients(
                inputs, labels, noise, objective.likelihood, heat
            )
            optimizer.step()
            optimizer.zero_grad()
            pace.step()

            hits = logits.softmax(-1).mean(0).argmax(-1) == labels
            hits = hits.view(len(networks), -1).float().mean(1)
            totals += torch.stack([nll + heat * divergence, nll, divergence, hits])
            if index + 1 == steps_per_epoch:
                means = (totals / steps_per_epoch).T.tolist()
                totals.zero_()
                _share(records, time.perf_counter() - clock)
                for record, tester, stream, found in zip(
                    records, testers, streams, means, strict=True
                ):
                    clock = time.perf_counter()
                    row = {"epoch": epoch + 1, "learning_rate": learning_rate}
                    names = ("loss", "train_nll", "kl", "train_accuracy")
                    row |= dict(zip(names, found, strict=True))
                    last = epoch + 1 == curriculum.epochs
                    if last or (epoch + 1) % settings["evaluation"]["every"] == 0:
                        row |= _measure(tester, images, validation, settings, stream, epoch + 1)
                    _refuse_divergence(row, stream, checkpointing)
                    record.seconds_evaluation += time.perf_counter() - clock
                    row["seconds"] = record.seconds_training + record.seconds_evaluation
                    row["peak_memory_bytes"] = devices.peak_memory(device)
                    record.history.append(row)
                clock = time.perf_counter()
            progress.show(step + 1, records[0].history)

            due = checkpointing and time.perf_counter() - saved_at >= checkpointing.seconds
            if checkpointing and (due or requests.save):
                _share(records, time.perf_counter() - clock)
                state.save(checkpointing, step + 1, list(map(vars, records)), totals)
                requests.save = False
                saved_at = clock = time.perf_counter()
            if requests.stop:
                raise checkpoints.Stopped(f"stopped after step {step + 1} of {steps}")
    progress.close()

    for record, tester, stream in zip(records, testers, streams, strict=True):
        clock = time.perf_counter()
        record.passes = _repeated_passes(tester, images, settings, stream)
        record.seconds_evaluation += time.perf_counter() - clock
    return records


def _share(records: list[Record], seconds: float) -> None:
    """Add to each record its share of the time that all have trained together."""
    for record in records:
        record.seconds_training += seconds / len(records)


def _measure(
    engine: Engine, images: Images, validation: Split, settings: dict, stream, epoch: int
) -> dict:
    """Metrics of one pass over the test images and, if there are any, the held-out ones."""
    found = {}
    for name, split in {"test": images.test, "validation": validation}.items():
        if len(split):
            values = one_pass(engine, images, split, settings, (*stream, name, epoch))
            found |= {f"{name}_{metric}": value for metric, value in values.items()}
    return found


def one_pass(
    engine: Engine, images: Images, split: Split, settings: dict, stream: Sequence[object]
) -> dict[str, float | None]:
    """All metrics of one stochastic pass over `split`."""
    options, stochastic = settings["evaluation"], inferences.kind_of(settings).stochastic
    predictions = predict(
        engine,
        images,
        split,
        options["samples"] if stochastic else 1,
        options["batch_size"],
        generator(*stream, device=images.mean.device),
    )
    return evaluate(predictions, split.labels, options["bins"], stochastic)


def _repeated_passes(engine: Engine, images: Images, settings: dict, stream) -> dict:
    """Every metric's values over repeated passes with the final weights: its error bar."""
    repeats = settings["evaluation"]["passes"] if inferences.kind_of(settings).stochastic else 1
    found = [
        one_pass(engine, images, images.test, settings, (*stream, "pass", index))
        for index in range(repeats)
    ]
    columns = {metric: [values[metric] for values in found] for metric in METRICS}
    return {metric: None if None in column else column for metric, column in columns.items()}


def summarise(history: list[dict]) -> dict[str, dict | None]:
    """The test metrics at the `peak`, `final` and `selected` epochs.

    peak: the best test accuracy (optimistic: chosen on the test images); final: the last epoch;
    selected: the best validation accuracy, None without held-out images. Ties: the first epoch.
    """
    measured = [row for row in history if "test_accuracy" in row]

    def at(row: dict) -> dict:
        return {"epoch": row["epoch"], **{metric: row[f"test_{metric}"] for metric in METRICS}}

    validated = "validation_accuracy" in measured[-1]
    return {
        "peak": at(max(measured, key=lambda row: row["test_accuracy"])),
        "final": at(measured[-1]),
        "selected": at(max(measured, key=lambda row: row["validation_accuracy"]))
        if validated
        else None,
    }


def _refuse_divergence(row: dict, stream, checkpointing: Checkpointing | None) -> None:
    bad = [name for name, value in row.items() if value is not None and not math.isfinite(value)]
    if bad:
        if checkpointing:
            checkpointing.path.unlink(missing_ok=True)  # resuming would only diverge again
        raise Diverged(
            f"training diverged: {', '.join(bad)} not finite in epoch {row['epoch']} "
            f"at learning rate {row['learning_rate']:g} ({' '.join(map(str, stream))})."
        )


class Progress:
    """A bar in a terminal; elsewhere a line every ten seconds at the most. Both with an ETA."""

    def __init__(self, steps: int, first_step: int):
        self.steps, self.first_step = steps, first_step
        self.started = self.shown = time.perf_counter()
        self.bar = tqdm(total=steps, initial=first_step, unit="step", disable=None)

    def show(self, step: int, history: list[dict]) -> None:
        self.bar.update()
        now = time.perf_counter()
        if not self.bar.disable or (now - self.shown < 10 and step < self.steps):
            return
        self.shown = now
        left = (now - self.started) / (step - self.first_step) * (self.steps - step)
        minutes, seconds = divmod(round(left), 60)
        state = ""
        if history:
            row = history[-1]
            state = f", epoch {row['epoch']}, loss {row['loss']:.4f}"
            if "test_accuracy" in row:
                state += f", test accuracy {row['test_accuracy']:.4f}"
        print(f"step {step}/{self.steps}{state}, {minutes}m{seconds:02}s left", flush=True)

    def close(self) -> None:
        self.bar.close()
