"""How fast networks train: by the metrics of the runs that there are, else by published times.

Nothing here needs torch.
"""

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bayesian_lottery.errors import InputError, few
from bayesian_lottery.files import read_json
from bayesian_lottery.inference.kinds import (
    KINDS,
    draws_of,
    kind_name,
    kind_of,
    members_of,
    options_of,
)
from bayesian_lottery.models import MODELS
from bayesian_lottery.models.costs import COSTS
from bayesian_lottery.study.datasets import Images, images_of, steps_of
from bayesian_lottery.tickets.branches import branch_of

START_SECONDS = 10.0  # of a job beside training and tests, where nothing was measured

# Minutes a level, deterministic and Bayesian with 10 samples, on an A100 or H100: 160 epochs of
# CIFAR-10 in batches of 128. Table 1 of Bayesian Lottery Ticket Hypothesis, arXiv 2602.18825.
PUBLISHED = {"resnet20": (12, 33), "vgg11": (13, 72), "vit_tiny": (9, 51)}

# Time and memory of a training step, in those of one with weight samples; docs/variance.md.
ESTIMATORS = {"weights": 1, "local_reparameterisation": 3, "flipout": 3}


class Speed(NamedTuple):
    """How fast a device is: 1e12 floating-point operations a second, and seconds that a training
    step takes besides, however small the network is."""

    tflops: float
    step_seconds: float


CORE = Speed(0.02, 0.002)  # assumed of one core of a processor; docs/cost.md says where it is from


Card = Mapping[str, tuple[float, float]]  # what `PUBLISHED` is, of some device


def card(path: str | Path) -> Card:
    """The minutes a level of a device, by what `benchmarks/gpu_check.py` measured there.

    Raises:
        InputError: the file is missing or damaged, or has not the epochs of any model.
    """
    measured = read_json(path)
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    try:
        for row in measured["epochs"]["rows"]:
            if row.get("deterministic", True) and not row.get("capture"):
                seconds[row["model"]][row["inference"]] = float(row["seconds"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not what gpu_check.py writes ({error!r}).") from None
    minutes = {
        model: (160 / 60 * own["deterministic"], 160 / 60 * own["bayesian"])
        for model, own in seconds.items()
        if {"deterministic", "bayesian"} <= own.keys() and model in COSTS
    }
    if not minutes:
        raise InputError(
            f"{path}: it has no known model's epochs, deterministic and Bayesian; known are "
            f"{few(COSTS)}."
        )
    for model in minutes:
        deterministic, bayesian = (seconds[model][name] for name in ("deterministic", "bayesian"))
        if not 0 < deterministic < bayesian < math.inf:  # `published` divides by the difference
            raise InputError(
                f"{path}: an epoch of {model} takes {deterministic:g} seconds and a Bayesian one "
                f"{bayesian:g}; the second must be longer, both above 0."
            )
    return minutes


def published(model: str, minutes: Card = PUBLISHED) -> Speed:
    """How fast a device trained the network of a model's family; of other families, the first.

    Nine more weight samples took the difference of the two times. So both unknowns are known: the
    operations a second of a sample, and what a step takes besides.

    Args:
        minutes: a level's, by model; the paper's, unless `card` has those of another device.
    """
    family = MODELS[model].module if model in MODELS else None
    name = next((n for n in minutes if MODELS[n].module == family), next(iter(minutes)))
    deterministic, bayesian = (60 * value for value in minutes[name])
    a_sample = (bayesian - deterministic) / 9
    epochs, train, test, batch_size = 160, 50_000, 10_000, 128
    operations = 2e6 * COSTS[name].multiply_adds * epochs * (3 * train + test)
    steps = epochs * (train // batch_size)
    return Speed(operations / a_sample / 1e12, (deterministic - a_sample) / steps)


def device_kind(name: str) -> str:
    """ "gpu" or "cpu", by a device's name as metrics files have it."""
    gpus = r"NVIDIA|Tesla|GeForce|Quadro|A100|H100|AMD (Instinct|Radeon)"
    return "gpu" if re.match(gpus, name) else "cpu"


def flops(settings: Mapping, images: Images, multiply_adds: float) -> float:
    """Floating-point operations of a node: a training step costs three forward passes.

    Those of an estimator other than sampled weights are counted as so many more as it takes longer.
    """
    estimator = ESTIMATORS[options_of(settings).get("estimator", "weights")]
    _, seen = training(settings, images)
    trained = members_of(settings) * seen * samples(settings)
    taught = images.train * settings["curriculum"]["epochs"] * teacher_samples(settings)
    return 2 * multiply_adds * (3 * estimator * trained + taught + evaluated(settings, images))


def assumed_seconds(settings: Mapping, images: Images, multiply_adds: float, speed: Speed) -> float:
    """How long training and testing a node takes on a device of the assumed speed."""
    steps, _ = training(settings, images)
    arithmetic = flops(settings, images, multiply_adds) / (speed.tflops * 1e12)
    return arithmetic + steps * speed.step_seconds


def training(settings: Mapping, images: Images) -> tuple[int, int]:
    """The steps of a node's training, and how many images they see; a sampler's, at most."""
    curriculum, options = settings["curriculum"], options_of(settings)
    if count := kind_of(settings).gradients:
        steps = count(options)
        return steps, steps * (options.get("images") or images.train)
    return steps_of(curriculum, images.train), curriculum["epochs"] * images.train


def samples(settings: Mapping) -> int:
    """Weight samples a training step of a node."""
    return options_of(settings).get("samples", 1)


def teacher_samples(settings: Mapping) -> int:
    """Weight samples by which a node's teacher predicts the images of each step; 0 without one."""
    return settings.get("teacher", {}).get("samples", 0)


def evaluated(settings: Mapping, images: Images) -> int:
    """How many forward passes, of one image and one weight sample, the tests of a node take."""
    evaluation = settings["evaluation"]
    tests = max(1, math.ceil(settings["curriculum"]["epochs"] / evaluation["every"]))
    if every := evaluation.get("every_steps"):
        batches = images.train // settings["curriculum"]["batch_size"]
        tests += settings["curriculum"]["epochs"] * batches // every
    shifted = 3 * len(evaluation.get("shifts", []))
    foreign = len(evaluation.get("out_of_distribution", []))
    final = (evaluation["passes"] + shifted + foreign) * images.test
    passes = members_of(settings) * tests * (images.test + images.validation) + final
    return passes * (draws_of(settings) or evaluation["samples"])


def kind(settings: Mapping) -> tuple:
    """What decides how fast a node trains.

    These are its data, model, inference, estimator, members, samples, batch size and teacher's
    samples.
    """
    names = (settings[name] for name in ("dataset", "model", "inference"))
    estimator = options_of(settings).get("estimator", "weights")
    steps = samples(settings), settings["curriculum"]["batch_size"], teacher_samples(settings)
    return (*names, estimator, members_of(settings), *steps)


@dataclass(frozen=True)
class Measured:
    """How fast networks were trained, on the kind of device that trained most of them.

    Attributes:
        device: its name; None where nothing was measured.
        threads: the processor's threads that a job used.
        start: seconds of a job beside training and tests: imports, files, pruning.
        speeds: of each `kind` the seconds an epoch of training takes, and the seconds of one image
            and weight sample in a test; medians over its nodes.
        images: the data sets that they were trained on, by name.
    """

    device: str | None = None
    threads: int = 1
    start: float = START_SECONDS
    speeds: Mapping[tuple, tuple[float, float]] = field(default_factory=dict)
    images: Mapping[str, Images] = field(default_factory=dict)

    def seconds(self, settings: Mapping) -> float | None:
        """How long a node's job takes; None where no node of its kind was measured. A pool's reads
        files alone."""
        if branch_of(settings).pool:
            return self.start
        if kind(settings) not in self.speeds:
            return None
        training, test = self.speeds[kind(settings)]
        epochs, tested = settings["curriculum"]["epochs"], self.images[settings["dataset"]]
        return self.start + epochs * training + evaluated(settings, tested) * test


def measure(
    config: Mapping,
    results: Mapping[str, Mapping],
    wanted: Callable[[str], bool] = lambda device: True,
) -> Measured:
    """The speeds that the metrics `results` tell of, on devices whose names are `wanted`.

    Networks that trained side by side tell of `networks_per_job` above 1, the others of 1. Those of
    a kind of inference that is registered no more, which no node of the configuration is, tell
    nothing.
    """
    together = config["networks_per_job"] > 1
    results = {
        path: metrics
        for path, metrics in results.items()
        if (metrics["cost"]["side_by_side"] > 1) == together
        and metrics["cost"]["epochs"]
        and kind_name(metrics["settings"]) in KINDS
    }
    devices = Counter(metrics["provenance"]["device"] for metrics in results.values())
    device = next((name for name, _ in devices.most_common() if wanted(name)), None)
    if device is None:
        return Measured()
    there = {path: m for path, m in results.items() if m["provenance"]["device"] == device}
    names = {metrics["settings"]["dataset"] for metrics in there.values()}
    known = {name: images_of(config, name) for name in names & config["datasets"].keys()}
    images = {name: data for name, data in known.items() if isinstance(data, Images)}
    times = defaultdict(list)
    for metrics in there.values():
        settings, cost = metrics["settings"], metrics["cost"]
        if settings["dataset"] in images:
            training = cost["seconds_training"] / cost["epochs"]
            tests = evaluated(settings, images[settings["dataset"]])
            times[kind(settings)].append((training, cost["seconds_evaluation"] / tests))
    speeds = {
        name: tuple(statistics.median(column) for column in zip(*rows, strict=True))
        for name, rows in times.items()
    }
    threads = Counter(metrics["provenance"]["threads"] for metrics in there.values())
    start = _start(Path(config["results"]) / "benchmarks", there)
    return Measured(device, threads.most_common(1)[0][0], start, speeds, images)


def _start(benchmarks: Path, results: Mapping[str, Mapping], most: int = 200) -> float:
    """Median seconds that jobs took beyond training and tests; `most` jobs are looked at."""
    beyond = []
    for folder, metrics in list(results.items())[:most]:
        if metrics["cost"]["resumed_at_steps"]:
            continue  # its benchmark is of the last attempt alone
        try:
            seconds = (benchmarks / f"{folder}.tsv").read_text().split("\n")[1].split("\t")[0]
            beyond.append(max(0.0, float(seconds) - metrics["cost"]["seconds"]))
        except (OSError, IndexError, ValueError):
            continue
    return statistics.median(beyond) if beyond else START_SECONDS
