"""Population-based training: the loop of a node whose hyperparameters are tuned as it trains.

Jaderberg et al. 2017, Population based training of neural networks. Every `ready` epochs the worst
members copy one of the best, with all of its state and that of its optimiser, and change their
hyperparameters. Who is best, held-out images say, by NLL. What comes of it is the member that is
best in the end; its history is that of its state, whoever trained that, and costs are those of the
whole population.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor

from bayesian_lottery.data.decoded import Images
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.networks import Network
from bayesian_lottery.inference.variational import BayesianNetwork
from bayesian_lottery.meter import Meter
from bayesian_lottery.training import checkpoints, devices, evaluation, loop
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.engine import Plan, keep_freed_memory
from bayesian_lottery.training.loop import LABELS
from bayesian_lottery.training.population import Member, Population
from bayesian_lottery.training.records import Diverged, Record, Records
from bayesian_lottery.training.steps import TOTALS
from bayesian_lottery.training.targets import Targets


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
    """As `loop.train`, of one network, which becomes the best member of a population.

    Where training is watched, or breaks off early, the network is the member that is best then.

    Raises:
        InputError: there are several networks, or no images to select by.
        Diverged: of all members the loss or a metric is NaN or infinite.
        Stopped: as `loop.train`.
    """
    if settings["curriculum"]["epochs"] == 0:  # a branch that is tested as it starts
        return loop.train(networks, images, settings, streams, checkpointing, others, targets)
    if len(networks) > 1:
        raise InputError(
            f"networks_per_job: a population trains for one node at a time, not for {len(networks)}"
            " side by side."
        )
    (network,), (stream,) = cast(Sequence[BayesianNetwork], networks), streams
    if images.mean.device.type == "cpu":
        keep_freed_memory()
    population = Population(network, images, settings, stream, targets)
    if not len(population.data[1]):
        raise InputError(
            f"datasets.{images.name}.validation: {settings['validation']:g} holds out no images, "
            "and a population is selected by them; give a larger share."
        )
    plan = Plan(**settings.get("compute", {}))
    records = Records([network], *population.data, settings, [stream], plan)
    records.all = [_train(population, network, checkpointing, watch, until)]
    if until is None:
        records.end(others, trained=True)
    return records.all


def _train(
    population: Population,
    network: BayesianNetwork,
    checkpointing: Checkpointing | None,
    watch: Callable[[int], None] | None,
    until: int | None,
) -> Record:
    """Train the population, and let `network` be its best member; the record of that one."""
    settings, members, per_epoch = population.settings, population.members, population.per_epoch
    device, epochs = population.data[0].mean.device, population.curriculum.epochs
    steps, first_step = epochs * per_epoch if until is None else until, 0
    whole = Record()  # of all members: times, and where training was resumed
    totals = torch.zeros(len(TOTALS), len(members), dtype=torch.float64, device=device)
    state = checkpoints.State(population.tensors(), population.optimizer, population.generators())
    if checkpointing and (restored := state.restore(checkpointing, totals)):
        first_step, (first, *told), totals = restored
        whole = Record(**first)
        whole.resumed_at_steps.append(first_step)
        population.take(told)
        print(f"resuming at step {first_step} of {steps}", flush=True)

    for member in members:
        member.network.template.train()
    saved_at = clock = time.perf_counter()
    meter, pace = Meter("step", steps, first_step), devices.Pace(device)
    with checkpoints.listening() as requests:
        for step in range(first_step, steps):
            totals += population.step(step)
            pace.step()
            epoch, index = divmod(step + 1, per_epoch)
            if index == 0 or evaluation.due_at_step(settings, step + 1):
                whole.seconds_training += time.perf_counter() - clock
                clock = time.perf_counter()
                if index == 0:
                    _end_epoch(population, whole, totals, epoch)
                    totals.zero_()
                if evaluation.due_at_step(settings, step + 1):
                    for member in members:
                        member.records.test(step + 1)
                if watch and index == 0:
                    _become_best(network, population, step + 1, checkpointing)
                    watch(epoch)
                if index == 0 and epoch % population.options["ready"] == 0 and epoch < epochs:
                    _select(population, step + 1, checkpointing)
                    population.evolve(epoch)
                whole.seconds_evaluation += time.perf_counter() - clock
                clock = time.perf_counter()
            meter.show(step + 1, members[0].records.state)

            due = checkpointing and time.perf_counter() - saved_at >= checkpointing.seconds
            if checkpointing and (due or requests.save):
                whole.seconds_training += time.perf_counter() - clock
                records = [vars(whole), *(member.told() for member in members)]
                state.save(checkpointing, step + 1, records, totals)
                requests.save = False
                saved_at = clock = time.perf_counter()
            if requests.stop:
                raise checkpoints.Stopped(f"stopped after step {step + 1} of {steps}")
    meter.close()
    best = _become_best(network, population, steps, checkpointing)
    times = {name: getattr(whole, name) for name in ("seconds_training", "seconds_evaluation")}
    return replace(best, **times, resumed_at_steps=whole.resumed_at_steps)


def _end_epoch(population: Population, whole: Record, totals: Tensor, epoch: int) -> None:
    """Add a row to each member's history, with its factors; note whose training has diverged."""
    started = time.perf_counter()
    means = (totals / population.per_epoch).T.tolist()
    rates = population.rates(epoch * population.per_epoch - 1)
    for member, mean, rate in zip(population.members, means, rates, strict=True):
        record = member.record
        record.seconds_training = whole.seconds_training
        record.seconds_evaluation = whole.seconds_evaluation + time.perf_counter() - started
        heats = {f"heat_{layer}": factor for layer, factor in member.values.heats.items()}
        try:
            member.records.end_epoch(epoch, rate, [mean], **heats)
        except Diverged:
            member.lost = True


def _select(population: Population, step: int, checkpointing: Checkpointing | None) -> Member:
    """Measure every member's NLL on held-out images; gives the best one.

    Raises:
        Diverged: of all members.
    """
    settings, (images, validation) = population.settings, population.data
    for member in population.members:
        stream = (*member.stream, "held out", step)
        (tester,) = member.records.testers
        predictions = evaluation.one_pass(tester, images, validation, settings, stream)
        nll = evaluation.judge(predictions, images, validation, settings)["nll"]
        member.nll = math.inf if nll is None or member.lost or not math.isfinite(nll) else nll
    best = population.ranked()[0]
    if math.isinf(best.nll):
        if checkpointing:
            checkpointing.path.unlink(missing_ok=True)  # resuming would only diverge again
        raise Diverged(
            f"training diverged: all {len(population.members)} members of the population have lost "
            f"finite numbers by step {step} ({' '.join(map(str, population.stream))})."
        )
    return best


def _become_best(
    network: BayesianNetwork,
    population: Population,
    step: int,
    checkpointing: Checkpointing | None,
) -> Record:
    """Let `network` be the member that is best now; the record of that one."""
    best = _select(population, step, checkpointing)
    network.load(best.network.state(), best.network.mask)
    network.heat_layers(best.values.heats)
    return best.record
