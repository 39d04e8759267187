"""Training: the loop, from the first step to the last, resumable at any of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch

from bayesian_lottery.data.decoded import Images
from bayesian_lottery.inference import packs
from bayesian_lottery.inference.networks import Network, Training
from bayesian_lottery.meter import Meter
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import checkpoints, devices, evaluation
from bayesian_lottery.training.batches import Batches, divide
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.curricula import Curriculum
from bayesian_lottery.training.engine import Engine, Plan, keep_freed_memory
from bayesian_lottery.training.moving import mover_of
from bayesian_lottery.training.records import Record, Records
from bayesian_lottery.training.remasking import remask
from bayesian_lottery.training.steps import TOTALS, Step
from bayesian_lottery.training.targets import Labels, Targets

LABELS = Labels()


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
    network = packs.pack(networks)
    engine = Engine(network, images.image_shape, plan, targets.log_likelihoods)
    sampling = [generator(*stream, "weights", device=device) for stream in streams]
    build, decay = curriculum.build_optimizer, curriculum.weight_decay
    optimizer = network.optimizer(Training(build, decay, len(training), whole, sampling))
    take_step = Step(engine, optimizer, batches, targets, sampling, len(training))
    mover = mover_of(networks[0], images, settings, streams[0], steps)
    records = Records(networks, images, validation, settings, streams, plan, checkpointing)

    totals = torch.zeros(len(TOTALS), len(networks), dtype=torch.float64, device=device)
    first = 0
    state = checkpoints.State(
        network.tensors(),
        optimizer,
        {"augmentation": batches.generators, "weights": sampling},
        moving=network if mover else None,
    )
    if checkpointing and (restored := state.restore(checkpointing, totals)):
        first, saved, totals = restored
        records.resume(saved, first)
        print(f"resuming at step {first} of {steps}", flush=True)

    for one in networks:
        one.template.train()
    records.start_clock()
    saved_at = time.perf_counter()
    meter, pace = Meter("step", steps, first), devices.Pace(device)
    with checkpoints.listening() as requests:
        for step in range(first, steps):
            rate = curriculum.learning_rate_at(step, batches.per_epoch)
            rate = network.rate(rate, step, whole)
            totals += take_step(step, rate)
            if mover and mover.due(step + 1):
                remask(network, optimizer, mover.mask(step + 1))
                take_step.forget()
            for one in networks:
                one.after_step(step + 1, whole)
            if step + 1 == whole and until is None:
                for one, stream in zip(networks, streams, strict=True):
                    one.finish(partial(batches.as_they_are, stream))
            pace.step()

            epoch, index = divmod(step + 1, batches.per_epoch)
            if index == 0:
                means = (totals / batches.per_epoch).T.tolist()
                totals.zero_()
                with records.training_paused():
                    moved = {"survivors": masks.survivors(networks[0].mask)} if mover else {}
                    records.end_epoch(epoch, rate, means, **moved)
                    if watch:
                        watch(epoch)
            if evaluation.due_at_step(settings, step + 1):
                with records.training_paused():
                    records.test(step + 1)
            meter.show(step + 1, records.state)

            due = checkpointing and time.perf_counter() - saved_at >= checkpointing.seconds
            if checkpointing and (due or requests.save):
                with records.training_paused():
                    state.save(checkpointing, step + 1, list(map(vars, records.all)), totals)
                requests.save = False
                saved_at = time.perf_counter()
            if requests.stop:
                raise checkpoints.Stopped(f"stopped after step {step + 1} of {steps}")
    meter.close()
    if until is None:
        records.end(others, trained=steps > 0)
    return records.all
