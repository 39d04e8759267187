"""How fast networks of each kind have been trained, by the metrics of the runs that there are."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bayesian_lottery.datasets import Images, images_of
from bayesian_lottery.inferences import options_of

START_SECONDS = 10.0  # of a job beside training and tests, where nothing was measured


def samples(settings: Mapping) -> int:
    """Weight samples a training step of a node."""
    return options_of(settings).get("samples", 1)


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
    estimator = options_of(settings).get("estimator", "weights")
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
        images: the data sets that they were trained on, by name.
    """

    device: str | None = None
    threads: int = 1
    start: float = START_SECONDS
    speeds: Mapping[tuple, tuple[float, float]] = field(default_factory=dict)
    images: Mapping[str, Images] = field(default_factory=dict)

    def seconds(self, settings: Mapping) -> float | None:
        """How long a node's job takes; None where no node of its kind was measured."""
        if kind(settings) not in self.speeds:
            return None
        training, test = self.speeds[kind(settings)]
        epochs, tested = settings["curriculum"]["epochs"], self.images[settings["dataset"]]
        return self.start + epochs * training + evaluated(settings, tested) * test


def measure(
    config: Mapping,
    found: Mapping[str, Mapping],
    wanted: Callable[[str], bool] = lambda device: True,
) -> Measured:
    """The speeds that the metrics `found` tell of, on devices whose names are `wanted`.

    Networks that trained side by side tell of `networks_per_job` above 1, the others of 1.
    """
    together = config["networks_per_job"] > 1
    found = {
        path: metrics
        for path, metrics in found.items()
        if (metrics["cost"]["side_by_side"] > 1) == together
    }
    devices = Counter(metrics["provenance"]["device"] for metrics in found.values())
    device = next((name for name, _ in devices.most_common() if wanted(name)), None)
    if device is None:
        return Measured()
    there = {path: m for path, m in found.items() if m["provenance"]["device"] == device}
    names = {metrics["settings"]["dataset"] for metrics in there.values()}
    known = {name: images_of(config, name) for name in names & config["datasets"].keys()}
    images = {name: data for name, data in known.items() if data.train is not None}
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
