"""What a training job asks of a cluster: GPUs, memory and time.

What the dense networks of a node's kind took says it, with a margin, once there are any; before,
the model's size and published times do. A queue forgives asking for rather too much, while a job
that asked for too little is killed, and has used up a retry. A retry asks for more. The Snakefile
imports this module; it needs no torch.
"""

import contextlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json, read_shapes
from bayesian_lottery.inference.kinds import kind_of, members_of, options_of
from bayesian_lottery.models.costs import AREA, COSTS, Cost
from bayesian_lottery.running.speeds import (
    CORE,
    ESTIMATORS,
    assumed_seconds,
    device_kind,
    published,
    samples,
)
from bayesian_lottery.study import TICKET
from bayesian_lottery.study.datasets import Images, Undecoded

UNLISTED = COSTS["resnet18"]  # for a model that has no entry: better too much than too little

# Where nothing is known of the images: a folder of the user's own that has not been decoded yet.
TRAIN, TEST, SHAPE, CLASSES = 100_000, 20_000, (3, 64, 64), 100

START_MINUTES = 10  # imports from a busy file system, the two Snakemakes around a job, a cold GPU
LONGEST_MINUTES = 24 * 60  # the limit of many partitions; a job that needs more resumes in a retry
TIME_MARGIN, MEMORY_MARGIN = 2, 1.5

# Megabytes of main memory. The two Snakemakes around a job take 170 each, and training the smallest
# network takes 790, most of it PyTorch: measured on Linux with the lock's versions. With a GPU come
# CUDA's context, cuDNN and cuBLAS: 1 to 2 GB by others' reports, not measured here.
SNAKEMAKES_MB = 400
BASE_MB = {"cpu": 1200, "gpu": 3500}


class Request(NamedTuple):
    """What the first attempt asks for; `gpu` is a number of GPUs."""

    gpu: int
    memory_mb: int
    minutes: int

    def attempt(self, number: int) -> "Request":
        """What attempt `number` (1, 2, ...) asks for: that many times the memory and the time."""
        minutes = min(self.minutes * number, LONGEST_MINUTES)
        return Request(self.gpu, self.memory_mb * number, minutes)


class Taken(NamedTuple):
    """What a finished job took: seconds, and megabytes of main memory, None if not measured."""

    seconds: float
    memory_mb: float | None


def request(
    settings: Mapping,
    images: Images | Undecoded,
    device: str,
    networks: int = 1,
    like: Iterable[str | Path] = (),
    initial: str | Path | None = None,
) -> Request:
    """What training a node asks for, or several side by side.

    Args:
        settings: as `study.node_settings` gives them.
        images: what is known of the data set.
        device: "auto" and "cuda" ask for a GPU, "cpu" for none.
        networks: how many nodes of these settings train side by side. The device is supposed to be
            busy with one already.
        like: metrics files of nodes that take as much, if they were made by the settings of today.
        initial: the initial weights of a model of the user's own: its cost lies with them.
    """
    kind = "cpu" if device == "cpu" else "gpu"
    model_cost = _cost(settings, initial)
    if isinstance(images, Undecoded):
        images = Images(TRAIN, 0, TEST, images.shape or SHAPE, images.classes or CLASSES)
    jobs = [job for path in like if (job := taken(path, settings, kind, networks))]
    if jobs:
        seconds = max(job.seconds for job in jobs)
    else:
        seconds = networks * _seconds(settings, model_cost, images, kind)
    peaks = [job.memory_mb for job in jobs if job.memory_mb is not None]
    if peaks:
        memory = max(BASE_MB["cpu"], SNAKEMAKES_MB + MEMORY_MARGIN * max(peaks))
    else:
        memory = BASE_MB[kind] + _memory_mb(settings, model_cost, images, kind, networks)
    return Request(
        gpu=int(kind == "gpu"),
        memory_mb=100 * math.ceil(memory / 100),
        minutes=min(START_MINUTES + math.ceil(TIME_MARGIN * seconds / 60), LONGEST_MINUTES),
    )


# What nodes may differ in and still take the same time and memory.
_FREE = {*TICKET, "level", "ranking", "ranking_options", "pattern"}


def taken(path: str | Path, settings: Mapping, kind: str, networks: int) -> Taken | None:
    """What the job of a metrics file took, as far as it says what other jobs will take.

    None if it trained by other settings, on another kind of device ("gpu" or "cpu"), alone where
    `networks` train side by side or the reverse, or if the file cannot be used.
    """
    try:
        metrics = read_json(path)
        cost, trained_by = metrics["cost"], metrics["settings"]
        side_by_side, device = cost["side_by_side"], metrics["provenance"]["device"]
        # Results of earlier versions have no second key; on a GPU the first is not main memory.
        on_cpu = cost["peak_memory_bytes"] if kind == "cpu" else None
        peak, seconds = cost.get("peak_main_memory_bytes", on_cpu), cost["seconds"]
    except (InputError, OSError, KeyError):
        return None
    same = all(trained_by.get(k) == v for k, v in settings.items() if k not in _FREE)
    if not same or device_kind(device) != kind or (side_by_side > 1) != (networks > 1):
        return None
    more = max(1.0, networks / side_by_side)
    return Taken(seconds * max(networks, side_by_side), peak and more * peak / 1e6)


def _seconds(settings: Mapping, cost: Cost, images: Images, kind: str) -> float:
    """The time of all epochs and their tests."""
    multiply_adds = 1e6 * cost.multiply_adds * _area(images)
    speed = CORE if kind == "cpu" else published(settings["model"])
    return assumed_seconds(settings, images, multiply_adds, speed)


def _memory_mb(settings: Mapping, cost: Cost, images: Images, kind: str, networks: int) -> float:
    """Main memory beyond what the smallest job takes; on the CPU with the batches'."""
    # Weights, gradients, two moments, initial weights, and a checkpoint on its way to the disk;
    # means and standard deviations.
    total = cost.parameters * 1e6 * 4 * 6 * kind_of(settings).tensors
    if kind == "cpu":
        estimator = ESTIMATORS[options_of(settings).get("estimator", "weights")]
        batches = samples(settings) * estimator * settings["curriculum"]["batch_size"]
        tested = settings["evaluation"]["samples"] * settings["evaluation"]["batch_size"] / 10
        kept = max(2 * batches, tested)  # batches and their gradients
        total += kept * cost.activations * 1e3 * _area(images) * 4
    return (networks * members_of(settings) * total + 2 * images.stored_bytes) / 1e6


def _cost(settings: Mapping, initial: str | Path | None) -> Cost:
    """The model's cost; of a user's own, as it was counted when its initial weights were drawn."""
    if initial is not None:
        with contextlib.suppress(InputError, KeyError, TypeError):
            return Cost(*read_shapes(initial)[1]["cost"])
    return COSTS.get(settings["model"], UNLISTED)


def _area(images: Images) -> float:
    """Pixels of an image, in those of the table of costs."""
    _, height, width = images.shape
    return height * width / AREA
