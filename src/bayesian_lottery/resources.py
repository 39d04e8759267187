"""What a training job asks of a cluster: GPUs, memory and time, from model, inference and epochs.

These are upper bounds with a margin, not predictions: a queue forgives asking for rather too much,
while a job that asked for too little is killed, and has used up a retry. A retry asks for more.
The Snakefile imports this module; it needs no torch.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from bayesian_lottery.inferences import kind_of, options_of


class Cost(NamedTuple):
    """What a model costs with images of 3 x 32 x 32 pixels; a test counts these again.

    Attributes:
        parameters: millions of them.
        multiply_adds: millions an image, forward.
        activations: thousands of numbers an image, over the outputs of all layers.
    """

    parameters: float
    multiply_adds: float
    activations: float


COSTS: Mapping[str, Cost] = {
    "lenet_300_100": Cost(0.95, 0.95, 0.41),
    "lenet5": Cost(0.062, 0.66, 6.5),
    "resnet20": Cost(0.27, 41, 475),
    "resnet110": Cost(1.7, 253, 2630),
    "resnet18": Cost(11.2, 555, 1420),
    "vgg11": Cost(9.2, 153, 486),
    "vgg19": Cost(20.0, 398, 941),
    "vit_tiny": Cost(5.4, 346, 1670),
    "vit_base": Cost(85.2, 5520, 6690),
    "lenet_100_50": Cost(0.31, 0.31, 0.16),
    "resnet8_slim": Cost(0.020, 3.2, 94),
    "resnet14_slim": Cost(0.044, 6.8, 166),
    "vgg5_slim": Cost(0.016, 1.4, 53),
    "vit_nano": Cost(0.029, 1.7, 50),
}
UNLISTED = COSTS["resnet18"]  # for a model that has no entry: better too much than too little

# Where nothing is known of the images: a folder of the user's own that has not been decoded yet.
IMAGES, IMAGE_SHAPE = 100_000, (3, 64, 64)


class Speed(NamedTuple):
    """Arithmetic a second, and seconds a training step whatever its size; both pessimistic."""

    operations: float
    step_seconds: float


SPEEDS = {"gpu": Speed(1e13, 0.02), "cpu": Speed(5e9, 0.01)}

# Time and memory of a training step, in those of one with weight samples; docs/variance.md.
ESTIMATORS = {"weights": 1, "local_reparameterisation": 3, "flipout": 3}

START_MINUTES = 10  # imports from a busy file system, the two Snakemakes around a job, a cold GPU
LONGEST_MINUTES = 24 * 60  # the limit of many partitions; a job that needs more resumes in a retry
MARGIN = 1.5


class Request(NamedTuple):
    """What the first attempt asks for; `gpu` is a number of GPUs."""

    gpu: int
    memory_mb: int
    minutes: int

    def attempt(self, number: int) -> "Request":
        """What attempt `number` (1, 2, ...) asks for: that many times the memory and the time."""
        minutes = min(self.minutes * number, LONGEST_MINUTES)
        return Request(self.gpu, self.memory_mb * number, minutes)


def request(
    settings: Mapping,
    images: int | None,
    shape: tuple[int, int, int] | None,
    device: str,
    networks: int = 1,
) -> Request:
    """What training a node asks for, or several side by side.

    Args:
        settings: as `study.node_settings` gives them.
        images: number of training images; None where it is not known.
        shape: (C, H, W) of an image; None where it is not known.
        device: "auto" and "cuda" ask for a GPU, "cpu" for none.
        networks: how many nodes of these settings train side by side. The device is supposed to be
            busy with one already.
    """
    images, (_, height, width) = images or IMAGES, shape or IMAGE_SHAPE
    kind = "cpu" if device == "cpu" else "gpu"
    area = height * width / 32**2
    cost = COSTS.get(settings["model"], UNLISTED)
    bayesian = {"samples": 1, "estimator": "weights", **options_of(settings)}
    samples = bayesian["samples"] * ESTIMATORS[bayesian["estimator"]]
    seconds = _seconds(settings, cost, samples, images, area, kind)
    return Request(
        gpu=int(kind == "gpu"),
        memory_mb=_memory_mb(
            settings, cost, samples, images * height * width * 3, area, kind, networks
        ),
        minutes=min(
            START_MINUTES + math.ceil(MARGIN * networks * seconds / 60),
            LONGEST_MINUTES,
        ),
    )


def _seconds(
    settings: Mapping, cost: Cost, samples: int, images: int, area: float, kind: str
) -> float:
    """The time of all epochs and their tests."""
    speed, curriculum = SPEEDS[kind], settings["curriculum"]
    steps = images / curriculum["batch_size"]
    forward = 2 * cost.multiply_adds * 1e6 * area * images  # operations, for one weight sample
    training = 3 * forward * samples  # the backward pass costs twice the forward one
    evaluation = settings["evaluation"]
    test = forward * evaluation["samples"] / 3  # tests and held-out images: at most a third as many
    tests = curriculum["epochs"] / evaluation["every"] + evaluation["passes"]
    operations = curriculum["epochs"] * training + tests * test
    return operations / speed.operations + curriculum["epochs"] * steps * speed.step_seconds


def _memory_mb(
    settings: Mapping,
    cost: Cost,
    samples: int,
    data_bytes: int,
    area: float,
    kind: str,
    networks: int,
) -> int:
    """Main memory, for the two Snakemakes around a job too, and on the CPU for the batches."""
    # Weights, gradients, two moments, initial weights, and a checkpoint on its way to the disk;
    # means and standard deviations.
    weights = cost.parameters * 1e6 * 4 * 6 * kind_of(settings).tensors
    total = 0.0
    if kind == "cpu":
        batches = samples * settings["curriculum"]["batch_size"] * 2  # and their gradients
        tested = settings["evaluation"]["samples"] * settings["evaluation"]["batch_size"] / 10
        total = max(batches, tested) * cost.activations * 1e3 * area * 4
    total = networks * (weights + total) + 2 * data_bytes
    base = {"gpu": 6000, "cpu": 1500}[kind]  # with CUDA's libraries, and without
    return math.ceil((base + total / 1e6) / 500) * 500
