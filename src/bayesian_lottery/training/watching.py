"""Watching the dense network train, to draw masks from it before it is trained (early-bird).

It trains as the dense node does, with the same random numbers, in a job of its own that ends as
soon as the masks of all levels are drawn. What it has seen is saved after every epoch.
"""

import contextlib
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from bayesian_lottery.computation import VERSION
from bayesian_lottery.data import decoded
from bayesian_lottery.data.decoded import Images
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_tensors, write_tensors, write_text
from bayesian_lottery.imports import named
from bayesian_lottery.inference import kinds
from bayesian_lottery.inference.networks import Network, State
from bayesian_lottery.study import extensions
from bayesian_lottery.tickets import masks, patterns
from bayesian_lottery.tickets.searches import SEARCHES
from bayesian_lottery.training import checkpoints, pruning
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.evaluation import untested
from bayesian_lottery.training.jobs import as_csv
from bayesian_lottery.training.starts import start
from bayesian_lottery.training.tasks import Inputs, alone, prepare, stream_of


class AllDrawn(Exception):
    """The masks of all levels are drawn; there is nothing more to see."""


class Watch(ABC):
    """What is seen of a network in training: after every epoch, the masks of all levels.

    Attributes:
        rows: one an epoch and level: epoch, level, survivors, the distance from the mask of the
            epoch before, whether the mask is drawn here, and the seconds so far.
        drawn: of each level whose mask is drawn, the epoch.
    """

    def __init__(
        self,
        network: Network,
        images: Images,
        settings: Mapping,
        stream: Sequence[object],
        levels: int,
        folder: Path,
    ):
        self.network, self.images, self.settings, self.stream = network, images, settings, stream
        self.folder, self.levels = folder, range(1, levels + 1)
        self.dense = pruning.dense_mask(network.template, settings)
        self.epoch, self.seconds, self.clock = 0, 0.0, time.perf_counter()
        self.masks: dict[int, masks.Mask] = {}
        self.rows: list[dict] = []
        self.drawn: dict[int, int] = {}

    @abstractmethod
    def ripe(self, level: int, epoch: int) -> bool:
        """Whether the mask of a level is drawn after an epoch, by the distances so far."""

    def distances(self, level: int) -> list[float]:
        """The distances of a level's masks from one epoch to the next, first to last."""
        found = [row["distance"] for row in self.rows if row["level"] == level]
        return [distance for distance in found if distance is not None]

    def look(self, epoch: int) -> None:
        """Compare the masks of all levels with those of the epoch before, and draw ripe ones.

        Raises:
            AllDrawn: all are.
        """
        if epoch > self.epoch:  # else it was seen before training was interrupted
            self._look(epoch)
        if len(self.drawn) == len(self.levels):
            raise AllDrawn

    def _look(self, epoch: int) -> None:
        stream = [*self.stream, "watching", epoch]
        scorer = self.settings["scorer"]
        found = pruning.scores(self.network, scorer, self.images, self.settings, stream)
        now, present = time.perf_counter(), {}
        self.seconds, self.clock = self.seconds + now - self.clock, now
        for level in self.levels:
            mask = self._cut(found, level)
            row = {
                "epoch": epoch,
                "level": level,
                "survivors": masks.survivors(mask),
                "distance": distance(self.masks[level], mask) if self.masks else None,
                "seconds": self.seconds,
            }
            self.rows.append(row)
            row["drawn"] = level not in self.drawn and self.ripe(level, epoch)
            if row["drawn"]:
                self.drawn[level] = epoch
                masks.save(self.mask_file(level), mask)
            present[level] = mask
        self.epoch, self.masks = epoch, present

    def _cut(self, scores: State, level: int) -> masks.Mask:
        """The mask of a level by the scores of now, by the node's ranking and pattern."""
        contests = pruning.contests(self.dense, self.settings, level)
        pattern, template = patterns.name_of(self.settings), self.network.template
        return patterns.prune(pattern, self.dense, scores, contests, template)

    def mask_file(self, level: int) -> Path:
        """Where a level's mask is kept from when it is drawn until all are."""
        return self.folder / f"drawn/level{level:02}.safetensors"

    def save(self, fingerprint: str) -> None:
        """Write what was seen, for a job that goes on later."""
        told = {name: vars(self)[name] for name in ("epoch", "seconds", "rows")}
        drawn = {str(level): epoch for level, epoch in self.drawn.items()}
        told |= {"drawn": drawn, "fingerprint": fingerprint}
        layers = {
            f"{level}.{name}": layer
            for level, mask in self.masks.items()
            for name, layer in mask.items()
        }
        write_tensors(self.folder / "seen.safetensors", layers, told)

    def restore(self, fingerprint: str) -> bool:
        """Put back what `save` wrote, if it is there, whole, and of the same computation."""
        if not (self.folder / "seen.safetensors").exists():
            return False
        try:
            layers, told = read_tensors(self.folder / "seen.safetensors")
            drawn = {int(level): epoch for level, epoch in told["drawn"].items()}
            for level in drawn:
                masks.load(self.mask_file(level))
        except InputError:
            return False
        if told["fingerprint"] != fingerprint:
            return False
        levels = self.levels if layers else []
        self.masks = {n: {name: layers[f"{n}.{name}"] for name in self.dense} for n in levels}
        self.drawn = drawn
        self.epoch, self.seconds, self.rows = told["epoch"], told["seconds"], told["rows"]
        return True


def distance(before: masks.Mask, after: masks.Mask) -> float:
    """The share of the survivors of a mask that are new in it."""
    new = sum(int((layer & ~before[name]).sum()) for name, layer in after.items())
    return new / max(1, masks.survivors(after))


class EarlyBird(Watch):
    """Draws a mask once it is stable: when several distances in a row are small (You et al. 2020).

    The paper divides the number of places where two masks differ by all weights; here it is by
    twice the survivors, which is the same at density 1/2 and means the same at any other.
    """

    def ripe(self, level: int, epoch: int) -> bool:
        options, epochs = self.settings["watch"], self.settings["curriculum"]["epochs"]
        last = self.distances(level)[-options["window"] :]
        stable = len(last) == options["window"] and max(last) <= options["distance"]
        return stable or epoch >= max(1, int(options["latest"] * epochs))


def watch_dense(
    node: Mapping,
    settings: Mapping,
    data: Path,
    initial: Path,
    outputs: Sequence[Path],
    table: Path,
    files: Sequence[Path] = (),
    device: str = "auto",
    checkpoint_seconds: float = 300,
) -> None:
    """Train a dense network until the masks of all levels are drawn, and write them.

    Args:
        node, settings: as `study.watching_task` gives them.
        data, initial: the decoded data set and the initial weights.
        outputs: the masks to write, of level 1, 2, ....
        table: what was seen (CSV), with the version of the computation; the checkpoint lies beside
            it.
        files: extensions that are used.
        device, checkpoint_seconds: as `train_nodes` takes them.

    Raises:
        InputError: an input file is missing, truncated or of another network.
        Diverged, Stopped: as `loop.train` says.
    """
    extensions.load(files)
    folder = table.parent
    with alone(folder):
        # Tests would change nothing of what is seen.
        settings = untested(settings)
        place = prepare(device, settings)
        images, stream = decoded.load(data, place), stream_of(node)
        network = start(images, settings, Inputs(data, initial), stream, place)
        network.load(network.state(), pruning.dense_mask(network.template, settings))
        watch = named(SEARCHES[settings["watch"]["kind"]].watch)(
            network, images, settings, stream, len(outputs), folder
        )
        task = {"node": node, "settings": settings, "levels": len(outputs), "device": place.type}
        digest = checkpoints.fingerprint(task, [data, initial, *files])
        checkpoint = folder / "checkpoint.safetensors"
        if not watch.restore(digest):
            checkpoint.unlink(missing_ok=True)  # what it has seen is gone

        def look(epoch: int) -> None:
            try:
                watch.look(epoch)
            finally:
                watch.save(digest)

        checkpointing = Checkpointing(checkpoint, checkpoint_seconds, digest)
        train = kinds.kind_of(settings).train()
        with contextlib.suppress(AllDrawn):
            train([network], images, settings, [stream], checkpointing, watch=look)
        for level, output in enumerate(outputs, 1):
            masks.save(output, masks.load(watch.mask_file(level)))
        write_text(table, as_csv([{**row, "computation": VERSION} for row in watch.rows]))
        (folder / "seen.safetensors").unlink()
        shutil.rmtree(folder / "drawn")
        checkpoint.unlink(missing_ok=True)
