"""Sampling in the place of training: a chain's draws, one after the other, resumable at any."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from bayesian_lottery.data.decoded import Images, Split
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
from bayesian_lottery.sampling.tally import STATISTICS, Tally
from bayesian_lottery.sampling.warmup import SAMPLING, schedule
from bayesian_lottery.training import checkpoints, devices, evaluation, shifts
from bayesian_lottery.training.batches import divide
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.engine import Engine, Plan
from bayesian_lottery.training.loop import LABELS
from bayesian_lottery.training.records import Diverged, Record
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
    total = options.warmup + options.draws if epochs else 0
    if epochs > total > 0:
        raise InputError(
            f"curricula: {epochs} epochs are more rows of history than the {total} draws of {kind}."
        )

    training, validation = divide(images, settings)
    tester = Engine(network, images.image_shape, Plan(**settings.get("compute", {})))
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

    stages = schedule(options.warmup)
    record, tallies = Record(), {"warmup": Tally(), "draws": Tally(), "part": Tally()}
    kept: dict[str, list[float]] = {name: [] for name in STATISTICS}
    first = 0
    if checkpointing and (restored := restore(checkpointing, network, chain)):
        first, chain, told = restored
        record = Record(**told["record"])
        tallies = {name: Tally(**tally) for name, tally in told["tallies"].items()}
        kept = told["kept"]
        record.resumed_at_steps.append(first)
        print(f"resuming at draw {first} of {total}", flush=True)

    saved_at = clock = time.perf_counter()
    meter = Meter("draw", total, first)
    with checkpoints.listening() as requests:
        for number in range(first, total):
            warm = number < options.warmup
            before = float(chain.step_size)
            stage = stages[number] if warm else SAMPLING
            chain, info = sampler.next(chain, number, stage, number + 1 == options.warmup, data)
            told = {name: float(value) for name, value in info._asdict().items()}
            told |= {"potential": -float(chain.point.logdensity), "step_size": before}
            for name in ("warmup" if warm else "draws", "part"):
                tallies[name].add(told)
            network.weight.data.copy_(torch.from_numpy(np.array(weights(chain.point.position))))
            if not warm:
                network.average()
                slot = place(number + 1 - options.warmup, options.draws, options.keep)
                if slot is not None:
                    network.keep_draw(slot, network.point())
                    for name in STATISTICS:
                        kept[name].append(told[name])
            if number + 1 in (options.warmup, total):
                moved = bool((chain.point.position != position).any())
                _refuse_stuck(tallies["warmup" if warm else "draws"], moved, stream, checkpointing)
            if number + 1 == total:
                network.finish(lambda: iter(()))

            epoch = _epoch(number + 1, total, epochs)
            if epoch:
                record.seconds_training += time.perf_counter() - clock
                row = _row(tallies["part"], epoch, number + 1, len(chosen), network)
                _end_part(record, row, tester, images, validation, settings, stream)
                tallies["part"] = Tally()
                if watch:
                    watch(epoch)
                clock = time.perf_counter()
            meter.show(number + 1, partial(_state, tallies["part"]))

            due = checkpointing and time.perf_counter() - saved_at >= checkpointing.seconds
            if checkpointing and (due or requests.save):
                record.seconds_training += time.perf_counter() - clock
                progress = {
                    "record": vars(record),
                    "tallies": {name: vars(tally) for name, tally in tallies.items()},
                    "kept": kept,
                }
                save(checkpointing, number + 1, network, chain, progress)
                requests.save = False
                saved_at = clock = time.perf_counter()
            if requests.stop:
                raise checkpoints.Stopped(f"stopped after draw {number + 1} of {total}")
    meter.close()

    clock = time.perf_counter()
    if not total:
        tests = evaluation.measure(tester, images, validation, settings, stream, 0)
        record.history.append({"epoch": 0, **tests})
    record.passes, record.predictions = evaluation.final(tester, images, settings, stream)
    record.shifts = shifts.measure(tester, images, settings, stream, others)
    draws = evaluation.by_draw(tester, images, settings, stream)
    if total:
        record.sampling = _summary(tallies, network, options)
        finite = {n: torch.tensor(v, dtype=torch.float64) for n, v in kept.items()}
        finite = {name: values for name, values in finite.items() if values.isfinite().all()}
        draws = replace(draws, statistics=finite)
    record.draws = draws
    record.seconds_evaluation += time.perf_counter() - clock
    return [record]


def _epoch(done: int, total: int, epochs: int) -> int | None:
    """The part that ends with draw `done` of `total`, if one does."""
    slot = place(done, total, epochs)
    return None if slot is None else slot + 1


def _row(part: Tally, epoch: int, draw: int, images: int, network: ChainNetwork) -> dict:
    """A row of the history: the part's means."""
    loss = part.potential / part.count / images
    return {"epoch": epoch, "draw": draw, "loss": loss, **part.rates(), **network.sampling()}


def _end_part(
    record: Record,
    row: dict,
    tester: Engine,
    images: Images,
    validation: Split,
    settings: Mapping,
    stream: Sequence[object],
) -> None:
    """Add a row to the history, with metrics where they are due."""
    clock = time.perf_counter()
    if evaluation.due(settings, row["epoch"]):
        row |= evaluation.measure(tester, images, validation, settings, stream, row["epoch"])
    record.seconds_evaluation += time.perf_counter() - clock
    row["seconds"] = record.seconds_training + record.seconds_evaluation
    row["peak_memory_bytes"] = devices.peak_memory(images.mean.device)
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


def _summary(tallies: Mapping[str, Tally], network: ChainNetwork, options: Exact) -> dict:
    """What the metrics tell of the chain; of warm-up its gradients only."""
    drawn, warm = tallies["draws"], tallies["warmup"]
    return {
        **network.sampling(),
        "taken": drawn.count,
        "warmup": warm.count,
        "warmup_gradients": warm.gradients,
        **drawn.rates(),
        "gradients": drawn.gradients + warm.gradients,
        "depth_capped": drawn.capped / drawn.count,
        "bfmi": drawn.bfmi,
        "temperature": options.temperature,
    }


def _state(part: Tally) -> str:
    """What the log says of the draws since the last row."""
    if not part.count:
        return ""
    potential = part.potential / part.count
    return f", potential {potential:.1f}, acceptance {part.acceptance / part.count:.2f}"
