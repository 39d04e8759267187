"""What a study costs, told before it is paid: hours and gigabytes of every job.

Hours are measured where the results hold a network of the same kind, else they follow from
published times by counted operations; docs/cost.md says how. Only the counting needs torch, which
is imported there.
"""

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bayesian_lottery import models, study
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import kinds
from bayesian_lottery.inference.kinds import Kind
from bayesian_lottery.models import Model
from bayesian_lottery.running.progress import longest_chain
from bayesian_lottery.running.speeds import (
    CORE,
    PUBLISHED,
    Card,
    Measured,
    Speed,
    assumed_seconds,
    device_kind,
    measure,
    published,
)
from bayesian_lottery.running.work import Job, finished, jobs, runs, share
from bayesian_lottery.study import Node, choices
from bayesian_lottery.study.datasets import Images, Undecoded, images_of

TEXT_BYTES = 12_000, 500  # of a node's metrics, history, log and benchmark: once, and an epoch


@dataclass(frozen=True)
class Size:
    """A model for images of one shape.

    Attributes:
        multiply_adds: of one image forward, attention included.
        parameters: what a deterministic network trains.
        random: those of them of which a Bayesian network has two, a mean and a log sigma
            (`kinds.Kind.tensors`).
        prunable: weights that a mask has a bit for.
        buffer_bytes: what is saved but not trained.
    """

    multiply_adds: int
    parameters: int
    random: int
    prunable: int
    buffer_bytes: int

    def trained(self, kind: Kind) -> int:
        """How many parameters a network of this kind of inference trains."""
        return self.parameters + (kind.tensors - 1) * self.random

    def weight_bytes(self, kind: Kind) -> int:
        """Of its saved weights, which are float32."""
        return 4 * self.trained(kind) + self.buffer_bytes


@functools.cache
def size(model: Model, image_shape: tuple[int, int, int], classes: int) -> Size:
    """Build the model, the package's without memory for its weights, and count on one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from bayesian_lottery.models.layers import Conv2d, Linear

    with torch.device("cpu" if isinstance(model, models.Definition) else "meta"):
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


def node_bytes(
    config: Mapping, node: Node, settings: Mapping, network: Size, images: Images
) -> tuple[int, int]:
    """Bytes of a node that stay; and those that go, of its checkpoint and of weights not needed."""
    once, an_epoch = TEXT_BYTES
    predictions = 2 * images.test * images.classes
    if study.members(config, node):
        return predictions + once, 0
    curriculum = settings["curriculum"]
    # A level's mask may be made for it alone; a branch has its own.
    masks = max(1, len(study.scorers(config, node))) * math.ceil(network.prunable / 8)
    kept = masks + predictions + once + an_epoch * curriculum["epochs"]
    kind = kinds.kind_of(settings)
    survivors = (1 - settings["prune_fraction"]) ** settings["level"]  # of which draws are
    drawn = round(4 * network.parameters * survivors) * kinds.draws_of(settings)
    weights = network.weight_bytes(kind) + drawn
    moments = 2 if curriculum["optimizer"] == "adam" else 1
    checkpoint = kinds.members_of(settings) * (weights + 4 * moments * network.trained(kind))
    if study.starts_others(config, node) or config["weights"] == "all":
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
        measured: whether `seconds` are, and not published or assumed.
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
        config: the configuration.
        items: the jobs.
        device: "gpu" or "cpu".
        measured: what the measured hours rest on.
        speed: what the others rest on; None is the published times.
        stale: how many nodes have results that other settings made.
    """

    config: Mapping
    items: list[Item]
    device: str
    measured: Measured
    speed: Speed | None
    stale: int

    @functools.cached_property
    def left(self) -> Mapping[Node, float]:
        """Seconds of every node that is not done."""
        return {
            item.job.node: item.seconds
            for item in self.items
            if item.job.node and item.seconds is not None and not item.done
        }

    @functools.cached_property
    def chain(self) -> float:
        """Seconds of the longest chain of nodes that wait for one another: no way is shorter."""
        return longest_chain(self.config, self.left)

    def wall(self, at_once: int) -> float:
        """Seconds until everything is done with so many jobs at once, at the least."""
        work = sum(item.seconds or 0.0 for item in self.items if not item.done)
        return max(work / at_once, self.chain)


def estimate(
    config: Mapping,
    nodes: Iterable[Node],
    device: str = "auto",
    tflops: float | None = None,
    card: Card = PUBLISHED,
) -> Estimate:
    """What the study costs.

    Args:
        config: the configuration, defaults filled in.
        nodes: its nodes.
        device: "gpu", "cpu", or "auto": what the configuration says, else what trained most of the
            results, else a GPU.
        tflops: a rate to assume, in 1e12 operations a second, in place of the published times.
        card: the minutes a level of another GPU than the paper's, as `speeds.card` gives them.

    Raises:
        InputError: the size of a data set is not known yet.
    """
    results = runs(config["results"])
    if device == "auto":
        device = {"cpu": "cpu", "cuda": "gpu"}.get(config["device"], "auto")
    measured = measure(config, results, lambda name: device in ("auto", device_kind(name)))
    if device == "auto":
        device = device_kind(measured.device) if measured.device else "gpu"
    speed = Speed(CORE.tflops * measured.threads, CORE.step_seconds) if device == "cpu" else None
    if tflops is not None:
        speed = Speed(tflops, (speed or published("resnet20", card)).step_seconds)
    todo = jobs(config, nodes)
    images = {name: _decoded(config, name) for name in {job.dataset for job in todo}}
    items = [
        _item(
            job, config, finished(job, config, results), images[job.dataset], measured, speed, card
        )
        for job in todo
    ]
    stale = sum(
        not i.done and i.job.node is not None and i.job.node.folder in results for i in items
    )
    return Estimate(config, items, device, measured, speed, stale)


def _decoded(config: Mapping, name: str) -> Images:
    """The images of the data set `name`, of which an estimate has to know how many there are."""
    images = images_of(config, name)
    if isinstance(images, Undecoded):
        file = study.data_file(config, name)
        raise InputError(
            f"datasets.{name}: how many images it has is known only when they are decoded; run "
            f"'snakemake --cores 1 {file}' first."
        )
    return images


def _item(
    job: Job,
    config: Mapping,
    done: bool,
    images: Images,
    measured: Measured,
    speed: Speed | None,
    card: Card,
) -> Item:
    if job.model is None:
        return Item(job, done, images.stored_bytes)
    network = size(choices.model(config, job.model), images.shape, images.classes)
    node = job.trained
    if node is None:
        return Item(job, done, network.weight_bytes(kinds.KINDS["deterministic"]))
    settings = study.node_settings(config, node)
    kept, passing = node_bytes(config, node, settings, network, images)
    seconds = measured.seconds(settings)
    known = seconds is not None and measured.device is not None
    if seconds is None:
        speed = speed or published(job.model, card)
        assumed = assumed_seconds(settings, images, network.multiply_adds, speed)
        seconds = measured.start + assumed
    if job.early:
        kept = network.weight_bytes(kinds.kind_of(settings))
        seconds *= share(config, job, images)
    if job.watched:
        kept = job.levels * math.ceil(network.prunable / 8)
    return Item(job, done, kept, passing, seconds, measured=known)
