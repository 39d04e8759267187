"""A node to train: its settings, its files, the folder and the device that it works in."""

import contextlib
import fcntl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bayesian_lottery.study import LATER
from bayesian_lottery.training import devices
from bayesian_lottery.training.engine import Plan


@dataclass(frozen=True)
class Inputs:
    """The files that a training job starts from.

    data: the decoded data set.
    initial: w0, as `initialise` wrote it.
    mask: this level's mask; None keeps everything (level 0).
    rewind_weights: the trained weights that the rewind goes back to.
    trained_weights: the trunk's trained weights at this level, for branches that start from them.
    teacher: the trained weights of the dense network whose predictions a branch learns.
    other_data: decoded data sets whose images predictions are to tell from this one's, by name.
    extensions: the configuration's, as far as the node uses them.
    """

    data: Path
    initial: Path
    mask: Path | None = None
    rewind_weights: Path | None = None
    trained_weights: Path | None = None
    teacher: Path | None = None
    other_data: Mapping[str, Path] = field(default_factory=dict)
    extensions: Sequence[Path] = ()

    def files(self) -> list[Path]:
        """All of them."""
        single = (path for path in vars(self).values() if isinstance(path, Path))
        return [*single, *self.other_data.values(), *self.extensions]


@dataclass(frozen=True)
class Outputs:
    """The files that a training job writes.

    `predictions` holds the class probabilities of the test images, float16; `next_masks` maps
    scorers to paths; `mask` is where a branch, or a level that makes its own mask, puts it; `draws`
    where a sampler puts what each draw predicts.
    """

    metrics: Path
    history: Path
    weights: Path
    next_masks: Mapping[str, Path] = field(default_factory=dict)
    mask: Path | None = None
    predictions: Path | None = None
    draws: Path | None = None


@dataclass(frozen=True)
class Task:
    """One node to train.

    node: the coordinates, as `study.Node` has them; they name the random streams.
    settings: as `study.node_settings` gives them.
    collapse: what becomes of it if its mask has collapsed: it is "trained" nonetheless, "skipped",
        that is tested as it starts, or an "error".
    """

    node: Mapping
    settings: Mapping
    inputs: Inputs
    outputs: Outputs
    collapse: str = "trained"


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process works in `folder`, such as the orphan of a killed workflow.

    The lock ends with its process, however it dies. A file system without locks gets a warning.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            print(f"{folder}: cannot be locked ({error}); let no two jobs write here.", flush=True)
        yield


def stream_of(node: Mapping) -> list[str]:
    """The coordinates that name a node's random streams; later ones say which they are."""
    return [f"{name}={value}" if name in LATER else str(value) for name, value in node.items()]


def prepare(device: str, settings: Mapping) -> torch.device:
    """The device to compute on, its algorithms set as the settings say; the log says which."""
    plan = Plan(**settings.get("compute", {}))
    devices.set_algorithms(plan.deterministic)
    place = devices.choose(device)
    print(devices.describe(place, plan.precision, plan.deterministic), flush=True)
    return place
