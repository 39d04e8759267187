"""Sampling in the place of training: a chain's draws, one after the other, resumable at any."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from bayesian_lottery.data.decoded import Images
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import kinds, packs
from bayesian_lottery.inference.chains import ChainNetwork
from bayesian_lottery.inference.draws import place
from bayesian_lottery.inference.monte_carlo import Exact
from bayesian_lottery.inference.networks import Network
from bayesian_lottery.inference.priors import prior_of
from bayesian_lottery.meter import Meter
from bayesian_lottery.sampling.posterior import assemble, choose, start
from bayesian_lottery.sampling.saving import restore, save
from bayesian_lottery.sampling.tally import Account, Tally
from bayesian_lottery.sampling.warmup import SAMPLING, schedule
from bayesian_lottery.training import checkpoints, devices, evaluation
from bayesian_lottery.training.batches import divide
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.engine import Plan
from bayesian_lottery.training.loop import LABELS
from bayesian_lottery.training.records import Diverged, Record, Records
from bayesian_lottery.training.targets import Targets

STUCK = 0.001  # mean acceptance at or below which a chain has not moved


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
    """As `training.loop.train`, for one network, by a chain over its survivors.

    The likelihood is of all training images as they are, or of some (`Exact.images`). The
    curriculum's epochs divide warm-up and draws into parts of a row of the history each; nothing
    else of it counts.

    Raises:
        InputError: there are several networks, or something other than the labels is learnt, or
            the potential is not finite at the start.
        Diverged: warm-up, or all that came after it, went nowhere.
        Stopped: SIGTERM came; the checkpoint is on disk.
    """
    packs.pack(networks)
    (network,), (stream,) = networks, streams
    assert isinstance(network, ChainNetwork)
    kind = kinds.kind_name(settings)
    if targets is not LABELS and type(targets) is not type(LABELS):
        raise InputError(f"objective: {kind} samples what labels say, and learns nothing else.")
    if until is not None:
        raise InputError(f"rewind: {kind} has no early weights to go back to; use imp.")
    options: Exact = kinds.KINDS[kind].options(**kinds.options_of(settings))
    epochs = settings["curriculum"]["epochs"]
    options.check(kind, epochs)
    total = options.warmup + options.draws if epochs else 0

    training, validation = divide(images, settings)
    plan = Plan(**settings.get("compute", {}))
    records = Records(networks, images, validation, settings, streams, plan, checkpointing)
    network.begin()
    prior = prior_of(options, network.survivors)
    chosen = choose(training, options.images, images, kind)
    sampler, data, weights = assemble(network, prior, chosen, images, options, stream)
    position = start(network, prior, options, stream)
    chain = sampler.start(position, data)
    if not math.isfinite(chain.point.logdensity):
        raise InputError(
            f"{kind}: the potential is {-float(chain.point.logdensity)} where the chain starts; "
            "images, weights and prior must give a finite one."
        )

    stages, account, first = schedule(options.warmup), Account(), 0
    if checkpointing and (restored := restore(checkpointing, network, chain)):
        first, chain, progress = restored
        account = Account.of(progress["account"])
        records.resume([progress["record"]], first)
        print(f"resuming at draw {first} of {total}", flush=True)
    records.start_clock()
    saved_at, meter = time.perf_counter(), Meter("draw", total, first)
    with checkpoints.listening() as requests:
        for number in range(first, total):
            done, warm = number + 1, number < options.warmup
            told = {"step_size": float(chain.step_size)}
            stage = stages[number] if warm else SAMPLING
            chain, info = sampler.next(chain, number, stage, done == options.warmup, data)
            told |= {name: float(value) for name, value in info._asdict().items()}
            told["potential"] = -float(chain.point.logdensity)
            tally = account.warmup if warm else account.draws
            for each in (tally, account.part):
                each.add(told)
            network.weight.data.copy_(torch.from_numpy(np.array(weights(chain.point.position))))
            if not warm:
                network.average()
                slot = place(done - options.warmup, options.draws, options.keep)
                if slot is not None:
                    network.keep_draw(slot, network.point())
                    account.keep(told)
            if done in (options.warmup, total):
                moved = bool((chain.point.position != position).any())
                _refuse_stuck(tally, moved, stream, checkpointing)
            if done == total:
                network.finish(lambda: iter(()))

            if (part := place(done, total, epochs)) is not None:
                with records.training_paused():
                    row = {"epoch": part + 1, "draw": done, **account.row(len(chosen))}
                    _end_part(records, row)
                    if watch:
                        watch(part + 1)
            meter.show(done, account.words)

            due = checkpointing and time.perf_counter() - saved_at >= checkpointing.seconds
            if checkpointing and (due or requests.save):
                with records.training_paused():
                    progress = {"record": vars(records.all[0]), "account": account.state()}
                    save(checkpointing, done, network, chain, progress)
                requests.save = False
                saved_at = time.perf_counter()
            if requests.stop:
                raise checkpoints.Stopped(f"stopped after draw {done} of {total}")
    meter.close()
    records.end(others, trained=total > 0)
    if total:
        (record,) = records.all
        record.sampling |= account.summary() | {"temperature": options.temperature}
        kept = account.statistics().items()
        statistics = {name: torch.tensor(each, dtype=torch.float64) for name, each in kept}
        assert record.draws
        record.draws = replace(record.draws, statistics=statistics)
    return records.all


def _end_part(records: Records, row: dict) -> None:
    """Add a row to the history, with metrics where they are due."""
    (record,), (tester,), (stream,) = records.all, records.testers, records.streams
    clock = time.perf_counter()
    row |= tester.network.sampling()
    if evaluation.due(records.settings, row["epoch"]):
        row |= evaluation.measure(
            tester, records.images, records.validation, records.settings, stream, row["epoch"]
        )
    record.seconds_evaluation += time.perf_counter() - clock
    row["seconds"] = record.seconds_training + record.seconds_evaluation
    row["peak_memory_bytes"] = devices.peak_memory(records.images.mean.device)
    record.history.append(row)


def _refuse_stuck(
    tally: Tally, moved: bool, stream: Sequence[object], checkpointing: Checkpointing | None
) -> None:
    """Raise `Diverged` if all transitions diverged, next to none was accepted, or none `moved`."""
    if not moved or tally.diverging == tally.count or tally.acceptance <= STUCK * tally.count:
        if checkpointing:
            checkpointing.path.unlink(missing_ok=True)  # resuming would only go nowhere again
        raise Diverged(
            f"the chain went nowhere: of {tally.count} transitions {tally.diverging} diverged, at "
            f"a mean acceptance of {tally.acceptance / tally.count:.2g} and step size of "
            f"{tally.step_size / tally.count:.2g} ({' '.join(map(str, stream))})."
        )
