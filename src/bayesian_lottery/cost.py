"""What a study costs, told before it is paid: jobs, hours and gigabytes, and how much is done.

Hours are measured where the results hold a network of the same kind, else counted in floating-point
operations; docs/cost.md says how. Only the counting needs torch, which is imported there.
"""

import functools
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bayesian_lottery import models, sources, study
from bayesian_lottery.errors import InputError
from bayesian_lottery.progress import Job, aligned, duration, finished, jobs, longest_chain, runs
from bayesian_lottery.study import Node

# Training and test images of the sources whose size is known before they are decoded.
IMAGES = {
    "digits": (1438, 359),
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
}

START_SECONDS = 10.0  # of a job beside training and tests, where nothing was measured
TEXT_BYTES = 12_000, 500  # of a node's metrics, history, log and benchmark: once, and an epoch


@dataclass(frozen=True)
class Images:
    """A data set's numbers of images, their shape (C, H, W), and its number of classes."""

    train: int
    validation: int
    test: int
    shape: tuple[int, int, int]
    classes: int

    @property
    def stored_bytes(self) -> int:
        """Of the decoded file: a byte a pixel and channel, eight a label."""
        return (self.train + self.validation + self.test) * (math.prod(self.shape) + 8)


def images_of(config: Mapping, name: str) -> Images | None:
    """What is known of the data set `name`; None where only decoding it can tell."""
    settings, prepared = config["datasets"][name], Path(study.data_file(config, name))
    if prepared.exists():
        train, test, shape, classes = _prepared(prepared)
    elif settings["source"] in IMAGES:
        train, test = IMAGES[settings["source"]]
        shape, classes = sources.check(name, settings)
    else:
        return None
    held_out = round(train * settings["validation"])
    return Images(train - held_out, held_out, test, shape, classes)


def _prepared(path: Path) -> tuple[int, int, tuple[int, int, int], int]:
    """Training images, test images, their shape and the classes of a decoded data set."""
    import json

    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        train, *shape = file.get_slice("train_images").get_shape()
        test = file.get_slice("test_images").get_shape()[0]
        return train, test, tuple(shape), len(json.loads(file.metadata()["json"])["classes"])


def samples(settings: Mapping) -> int:
    """Weight samples a training step of a node."""
    return settings["bayesian"]["samples"] if "bayesian" in settings else 1


def evaluated(settings: Mapping, images: Images) -> int:
    """How many forward passes, of one image and one weight sample, the tests of a node take."""
    evaluation = settings["evaluation"]
    tests = math.ceil(settings["curriculum"]["epochs"] / evaluation["every"])
    passes = tests * (images.test + images.validation) + evaluation["passes"] * images.test
    return passes * evaluation["samples"]


def kind(settings: Mapping) -> tuple:
    """What decides how fast a node trains.

    These are its data, model, inference, estimator, samples and batch size.
    """
    names = (settings[name] for name in ("dataset", "model", "inference"))
    estimator = settings.get("bayesian", {}).get("estimator", "weights")
    return (*names, estimator, samples(settings), settings["curriculum"]["batch_size"])


@dataclass(frozen=True)
class Measured:
    """How fast networks were trained, on the kind of device that trained most of them.

    Attributes:
        device: its name; None where nothing was measured.
        threads: the processor's threads that a job used.
        start: seconds of a job beside training and tests: imports, files, pruning.
        speeds: of each `kind` the seconds an epoch of training takes, and the seconds of one image
            and weight sample in a test; medians over its nodes.
    """

    device: str | None = None
    threads: int = 1
    start: float = START_SECONDS
    speeds: Mapping[tuple, tuple[float, float]] = field(default_factory=dict)

    def seconds(self, settings: Mapping, images: Images | None) -> float | None:
        """How long a node's job takes; None where no node of its kind was measured."""
        if images is None or kind(settings) not in self.speeds:
            return None
        training, test = self.speeds[kind(settings)]
        epochs = settings["curriculum"]["epochs"]
        return self.start + epochs * training + evaluated(settings, images) * test


def measure(
    config: Mapping,
    found: Mapping[str, Mapping],
    wanted: Callable[[str], bool] = lambda device: True,
) -> Measured:
    """The speeds that the metrics `found` tell of, on devices whose names are `wanted`."""
    devices = Counter(metrics["provenance"]["device"] for metrics in found.values())
    device = next((name for name, _ in devices.most_common() if wanted(name)), None)
    if device is None:
        return Measured()
    there = {path: m for path, m in found.items() if m["provenance"]["device"] == device}
    images = functools.cache(functools.partial(images_of, config))
    times = defaultdict(list)
    for metrics in there.values():
        settings, cost = metrics["settings"], metrics["cost"]
        data = settings["dataset"] in config["datasets"] and images(settings["dataset"])
        if data:
            training = cost["seconds_training"] / cost["epochs"]
            test = cost["seconds_evaluation"] / evaluated(settings, data)
            times[kind(settings)].append((training, test))
    speeds = {
        name: tuple(statistics.median(column) for column in zip(*rows, strict=True))
        for name, rows in times.items()
    }
    threads = Counter(metrics["provenance"]["threads"] for metrics in there.values())
    start = _start(Path(config["results"]) / "benchmarks", there)
    return Measured(device, threads.most_common(1)[0][0], start, speeds)


def _start(benchmarks: Path, found: Mapping[str, Mapping], most: int = 200) -> float:
    """Median seconds that jobs took beyond training and tests; `most` jobs are looked at."""
    beyond = []
    for folder, metrics in list(found.items())[:most]:
        if metrics["cost"]["resumed_at_steps"]:
            continue  # its benchmark is of the last attempt alone
        try:
            seconds = (benchmarks / f"{folder}.tsv").read_text().split("\n")[1].split("\t")[0]
            beyond.append(max(0.0, float(seconds) - metrics["cost"]["seconds"]))
        except (OSError, IndexError, ValueError):
            continue
    return statistics.median(beyond) if beyond else START_SECONDS


@dataclass(frozen=True)
class Speed:
    """What is assumed of a device: the rate that a large network sustains, and the seconds that a
    training step takes however small the network is."""

    tflops: float
    step_seconds: float


# Of a data centre's GPU, and of one core of a processor; docs/cost.md says where they are from.
ASSUMED = {"gpu": Speed(10.0, 0.010), "cpu": Speed(0.02, 0.002)}


@dataclass(frozen=True)
class Size:
    """A model for images of one shape.

    Attributes:
        multiply_adds: of one image forward, attention included.
        parameters: what a deterministic network trains.
        random: those of them of which a Bayesian network has two, a mean and a log sigma.
        prunable: weights that a mask has a bit for.
        buffer_bytes: what is saved but not trained.
    """

    multiply_adds: int
    parameters: int
    random: int
    prunable: int
    buffer_bytes: int

    def trained(self, inference: str) -> int:
        """How many parameters a network of this inference trains."""
        return self.parameters + (self.random if inference == "bayesian" else 0)

    def weight_bytes(self, inference: str) -> int:
        """Of its saved weights, which are float32."""
        return 4 * self.trained(inference) + self.buffer_bytes


@functools.cache
def size(model: str, image_shape: tuple[int, int, int], classes: int) -> Size:
    """Build the model without memory for its weights, run it on one image, and count."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from bayesian_lottery.models.layers import Conv2d, Linear

    with torch.device("meta"):
        network = models.build(model, image_shape, classes).eval()
        image = torch.empty(1, *image_shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    layers = [layer for layer in network.modules() if isinstance(layer, (Conv2d, Linear))]
    return Size(
        multiply_adds=counter.get_total_flops() // 2,
        parameters=sum(p.numel() for p in network.parameters()),
        random=sum(p.numel() for layer in layers for p in layer.parameters()),
        prunable=sum(math.prod(shape) for shape in models.prunable(network).values()),
        buffer_bytes=sum(b.numel() * b.element_size() for b in network.buffers()),
    )


def flops(settings: Mapping, images: Images, multiply_adds: int) -> int:
    """Floating-point operations of a node: a training step costs three forward passes."""
    training = 3 * images.train * settings["curriculum"]["epochs"] * samples(settings)
    return 2 * multiply_adds * (training + evaluated(settings, images))


def assumed_seconds(settings: Mapping, images: Images, multiply_adds: int, speed: Speed) -> float:
    """How long training and testing a node takes on a device of the assumed speed."""
    curriculum = settings["curriculum"]
    steps = curriculum["epochs"] * (images.train // curriculum["batch_size"])
    arithmetic = flops(settings, images, multiply_adds) / (speed.tflops * 1e12)
    return max(arithmetic, steps * speed.step_seconds)


def node_bytes(config: Mapping, node: Node, settings: Mapping, network: Size) -> tuple[int, int]:
    """Bytes of a node that stay; and those that go, of its checkpoint and of weights not needed."""
    once, an_epoch = TEXT_BYTES
    curriculum = settings["curriculum"]
    masks = (1 if node.branch else len(node.scorers)) * math.ceil(network.prunable / 8)
    kept = masks + once + an_epoch * curriculum["epochs"]
    weights = network.weight_bytes(node.trained)
    moments = 2 if curriculum["optimizer"] == "adam" else 1
    checkpoint = weights + 4 * moments * network.trained(node.trained)
    needed = not node.branch and (node.level == 0 or node.rewind == "lrr")
    if needed or config["weights"] == "all":
        return kept + weights, checkpoint
    return kept, checkpoint + weights


@dataclass(frozen=True)
class Item:
    """What one job costs.

    Attributes:
        job: which.
        done: whether it is.
        kept: bytes that stay.
        passing: bytes that go, at its end or when all jobs that need them are done.
        seconds: of its device; None of a job that takes seconds on any.
        measured: whether `seconds` are, and not assumed.
    """

    job: Job
    done: bool
    kept: int
    passing: int = 0
    seconds: float | None = None
    measured: bool = False


@dataclass(frozen=True)
class Estimate:
    """What every job of a study costs.

    Attributes:
        items: the jobs.
        device: "gpu" or "cpu".
        measured, speed: what the hours rest on.
        stale: how many nodes have results that other settings made.
    """

    items: list[Item]
    device: str
    measured: Measured
    speed: Speed
    stale: int

    @functools.cached_property
    def left(self) -> Mapping[Node, float]:
        """Seconds of every node that is not done."""
        return {i.job.node: i.seconds for i in self.items if i.job.node and not i.done}

    @functools.cached_property
    def chain(self) -> float:
        """Seconds of the longest chain of nodes that wait for one another: no way is shorter."""
        return longest_chain(self.left)

    def wall(self, at_once: int) -> float:
        """Seconds until everything is done with so many jobs at once, at the least."""
        return max(sum(self.left.values()) / at_once, self.chain)


def estimate(
    config: Mapping, nodes: Iterable[Node], device: str = "auto", tflops: float | None = None
) -> Estimate:
    """What the study costs.

    Args:
        config: the configuration, defaults filled in.
        nodes: its nodes.
        device: "gpu", "cpu", or "auto": what the configuration says, else what trained most of the
            results, else a GPU.
        tflops: the rate, in 1e12 operations a second, in place of the assumed one.

    Raises:
        InputError: the size of a data set is not known yet.
    """
    found = runs(config["results"])
    if device == "auto":
        device = {"cpu": "cpu", "cuda": "gpu"}.get(config["device"], "auto")
    measured = measure(config, found, lambda name: device in ("auto", _device_kind(name)))
    if device == "auto":
        device = _device_kind(measured.device) if measured.device else "gpu"
    speed = ASSUMED[device]
    if device == "cpu":
        speed = Speed(speed.tflops * measured.threads, speed.step_seconds)
    if tflops is not None:
        speed = Speed(tflops, speed.step_seconds)
    images = {name: images_of(config, name) for name in {node.dataset for node in nodes}}
    for name in (name for name, known in images.items() if known is None):
        file = study.data_file(config, name)
        raise InputError(
            f"datasets.{name}: how many images it has is known only when they are decoded; run "
            f"'snakemake --cores 1 {file}' first."
        )
    items = [
        _item(job, config, finished(job, config, found), images[job.dataset], measured, speed)
        for job in jobs(config, nodes)
    ]
    stale = sum(not i.done and i.job.node is not None and i.job.node.folder in found for i in items)
    return Estimate(items, device, measured, speed, stale)


def _device_kind(name: str) -> str:
    """ "gpu" or "cpu", by a device's name as metrics files have it."""
    gpus = r"NVIDIA|Tesla|GeForce|Quadro|A100|H100|AMD (Instinct|Radeon)"
    return "gpu" if re.match(gpus, name) else "cpu"


def _item(
    job: Job, config: Mapping, done: bool, images: Images, measured: Measured, speed: Speed
) -> Item:
    if job.model is None:
        return Item(job, done, images.stored_bytes)
    network = size(job.model, images.shape, images.classes)
    if job.node is None:
        return Item(job, done, network.weight_bytes("deterministic"))
    settings = study.node_settings(config, job.node)
    kept, passing = node_bytes(config, job.node, settings, network)
    seconds = measured.seconds(settings, images)
    if seconds is not None:
        return Item(job, done, kept, passing, seconds, measured=True)
    assumed = assumed_seconds(settings, images, network.multiply_adds, speed)
    return Item(job, done, kept, passing, measured.start + assumed)


def report(estimated: Estimate, at_once: Sequence[int], by: str = "stage") -> str:
    """The estimate as a table with a row a "stage" or a "model", and the time with so many jobs
    `at_once`."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in estimated.items:
        node = item.job.node
        by_model = by == "model" and node is not None
        groups[f"{node.model}, {node.trained}" if by_model else item.job.stage].append(item)
    hours = "GPU-hours" if estimated.device == "gpu" else "core-hours"
    rows = [("", "jobs", "done", hours, "left", "disk", "left", "hours from"), None]
    threads = estimated.measured.threads if estimated.device == "cpu" else 1
    rows += [_row(name, items, threads) for name, items in groups.items()]
    rows += [None, _row("total", estimated.items, threads)]
    return "\n".join([aligned(rows), "", *_notes(estimated, at_once)])


def _row(name: str, items: Sequence[Item], threads: int) -> tuple:
    """A row of the table: hours and bytes of all `items`, and of those that are not done."""
    left = [item for item in items if not item.done]
    timed = Counter(item.measured for item in items if item.seconds is not None)
    hours, disk = [], []
    for some in (items, left):
        seconds = sum(item.seconds or 0.0 for item in some)
        hours.append(_number(seconds * threads / 3600) if timed else "-")
        disk.append(_bytes(sum(item.kept for item in some)))
    words = {True: "measured", False: "FLOPs"}
    given = [
        words[how] + (f" ({timed[how]:,})" if len(timed) > 1 else "")
        for how in sorted(timed, reverse=True)
    ]
    return name, f"{len(items):,}", f"{len(items) - len(left):,}", *hours, *disk, ", ".join(given)


def _number(value: float) -> str:
    """With the two digits that count most, or all before the point; never an exponent."""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:,.{max(0, 1 - math.floor(math.log10(value)))}f}" if value else "0"


def _bytes(value: int) -> str:
    unit, size_ = next(((u, s) for u, s in (("GB", 1e9), ("MB", 1e6)) if value >= s), ("kB", 1e3))
    return f"{_number(value / size_)} {unit}" if value else "0"


def _notes(estimated: Estimate, at_once: Sequence[int]) -> list[str]:
    """What the hours rest on, and the time that it all takes."""
    measured, speed, device = estimated.measured, estimated.speed, estimated.device
    notes = []
    if any(item.measured for item in estimated.items):
        threads = f", {measured.threads} thread(s) a job" if device == "cpu" else ""
        notes.append(f"Measured: medians over the results, on {measured.device}{threads}.")
    if any(item.seconds is not None and not item.measured for item in estimated.items):
        notes.append(
            f"FLOPs: {speed.tflops:g} TFLOP/s, at least {1000 * speed.step_seconds:g} ms a training"
            f" step, assumed of a {device.upper()} (--device, --tflops)."
        )
    if estimated.stale:
        notes.append(f"{estimated.stale} nodes have results of other settings: made again.")
    if not estimated.left:
        return [*notes, "Everything is trained."]
    times = ", ".join(f"{duration(estimated.wall(n))} with {n}" for n in at_once)
    passing = max(item.passing for item in estimated.items if not item.done)
    return [
        *notes,
        f"Time left, by jobs at once: {times}.",
        f"However many: {duration(estimated.chain)}, the longest chain of levels.",
        f"A running job holds up to {_bytes(passing)} more: its checkpoint, and weights"
        " that go when nothing needs them.",
    ]
