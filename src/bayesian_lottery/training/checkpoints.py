"""Checkpoints: the whole state of a training run in one file, and the signals that ask for one."""

import contextlib
import hashlib
import json
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bayesian_lottery.computation import VERSION
from bayesian_lottery.files import Damaged, digest, read_tensors, write_tensors
from bayesian_lottery.inference.networks import Network
from bayesian_lottery.tickets.masks import Mask
from bayesian_lottery.training import devices
from bayesian_lottery.training.remasking import remask


class Stopped(Exception):
    """Training was asked to stop; the checkpoint is on disk."""


@dataclass(frozen=True)
class Checkpointing:
    """Where and how often (seconds) to save, and the digest of what the run's numbers depend on."""

    path: Path
    seconds: float
    fingerprint: str


def fingerprint(settings: object, files: Sequence[str | Path]) -> str:
    """A digest of all that a run's numbers depend on: its settings (JSON), its input files and the
    version of the computation."""
    whole = hashlib.sha256(json.dumps([VERSION, settings], sort_keys=True).encode())
    for path in files:
        whole.update(digest(path))
    return whole.hexdigest()


@dataclass(frozen=True)
class State:
    """All that changes from step to step, besides the records and totals of an epoch.

    Attributes:
        tensors: the network's, as `Network.tensors` has them.
        optimizer: of the network.
        generators: random generators, a list of those of each network for each purpose.
        moving: the network, if its mask is among what changes.
    """

    tensors: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    generators: dict[str, list[torch.Generator]]
    moving: Network | None = None

    def save(
        self, checkpointing: Checkpointing, step: int, records: list[dict], totals: Tensor
    ) -> None:
        """Write the state after `step` steps, with each run's record (JSON) and the totals."""
        tensors = self._fixed(totals) | _optimizer_tensors(self.optimizer)
        progress = {
            "fingerprint": checkpointing.fingerprint,
            "step": step,
            "records": records,
            "tensors": sorted(tensors),
            "device": devices.name(totals.device),
        }
        save(checkpointing.path, tensors, progress)

    def restore(
        self, checkpointing: Checkpointing, totals: Tensor
    ) -> tuple[int, list[dict], Tensor] | None:
        """Put back what `save` wrote, and give its step, records and totals.

        Args:
            checkpointing: where it is.
            totals: of the shape that it has.

        Returns:
            None, with nothing changed, if there is no checkpoint that fits.
        """
        found = load(checkpointing.path, checkpointing.fingerprint, totals.device)
        if found is None:
            return None
        tensors, progress = found
        before = self._take_mask(tensors)
        if not self._fits(tensors, progress, totals):
            if before and self.moving:
                self.moving.load(*before)
            _set_aside(checkpointing.path, "it lacks tensors, or has others than this network")
            return None
        for name, tensor in self.tensors.items():
            tensor.data.copy_(tensors[f"network.{name}"])
        _load_optimizer(self.optimizer, tensors)
        for name, stream in self._streams().items():
            stream.set_state(tensors[name].cpu())
        before, here = progress.get("device"), devices.name(totals.device)
        if before not in (None, here):
            print(
                f"the checkpoint is of {before}, this is {here}: numbers will be as good as those "
                "of an undisturbed run, but not the same",
                flush=True,
            )
        return progress["step"], progress["records"], tensors["totals"]

    def _take_mask(self, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], Mask] | None:
        """Take a checkpoint's mask, if it has one that fits; gives state and mask of before."""
        if self.moving is None:
            return None
        state, mask = self.moving.state(), self.moving.mask
        found = {n: tensors[f"mask.{n}"] for n in mask if f"mask.{n}" in tensors}
        if {n: m.shape for n, m in found.items()} != {n: m.shape for n, m in mask.items()}:
            return None
        remask(self.moving, self.optimizer, found)
        return state, mask

    def _fits(self, tensors: dict[str, Tensor], progress: dict, totals: Tensor) -> bool:
        """Whether a checkpoint has the tensors that it was written with, of this state's shapes."""
        parameters = (p for group in self.optimizer.param_groups for p in group["params"])
        steps = {f"optimizer.{index}": p.shape for index, p in enumerate(parameters)}
        wanted = {name: tensor.shape for name, tensor in self._fixed(totals).items()}
        for name, tensor in tensors.items():
            if (of := name.rpartition(".")[0]) in steps:
                wanted[name] = steps[of] if tensor.dim() else tensor.shape  # or a count of steps
        found = {name: tensor.shape for name, tensor in tensors.items()}
        return found == wanted and progress.get("tensors") == sorted(tensors)

    def _fixed(self, totals: Tensor) -> dict[str, Tensor]:
        """What is saved at any step; the optimiser's state begins with the first."""
        network = {f"network.{name}": tensor.detach() for name, tensor in self.tensors.items()}
        moved = self.moving.mask if self.moving else {}
        mask = {f"mask.{name}": layer for name, layer in moved.items()}
        streams = {name: stream.get_state() for name, stream in self._streams().items()}
        return {**network, **mask, **streams, "totals": totals}

    def _streams(self) -> dict[str, torch.Generator]:
        return {
            f"generator.{name}.{index}": stream
            for name, streams in self.generators.items()
            for index, stream in enumerate(streams)
        }


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{key}": value
        for index, entries in state.items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `_optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, *rest = name.split(".")
        if kind == "optimizer":
            state.setdefault(int(rest[0]), {})[rest[1]] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def save(path: Path, tensors: dict[str, Tensor], progress: dict) -> None:
    """Write a checkpoint; `progress` is any JSON value."""
    write_tensors(path, tensors, progress)


def load(path: Path, expected: str, device: torch.device) -> tuple[dict[str, Tensor], dict] | None:
    """The checkpoint at `path`, or None if there is none that fits the fingerprint `expected`.

    One that does not fit is said and left unused, a damaged one is said and set aside.

    Raises:
        InputError: the system refuses to read it, which may be otherwise the next time.
    """
    if not path.exists():
        return None
    try:
        tensors, progress = read_tensors(path, device)
    except Damaged as error:
        _set_aside(path, error.fault)
        return None
    if not isinstance(progress, dict) or progress.get("fingerprint") != expected:
        print(
            f"{path}: of other settings, inputs or device, or of another version of the"
            " computation. Training starts anew.",
            flush=True,
        )
        return None
    return tensors, progress


def _set_aside(path: Path, fault: str) -> None:
    """Rename a checkpoint, in the place of one that was set aside before, and say so."""
    aside = path.with_suffix(f".damaged{path.suffix}")
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)
    path.rename(aside)
    print(f"{path}: {fault}; set aside as {aside.name}. Training starts anew.", flush=True)


class Requests:
    """What signals have asked for since last looked at."""

    def __init__(self):
        self.save = False
        self.stop = False

    def _on_signal(self, number, frame):
        self.save = True
        self.stop = self.stop or number == signal.SIGTERM


@contextlib.contextmanager
def listening() -> Iterator[Requests]:
    """Within the block SIGUSR1 asks for a checkpoint, SIGTERM for a checkpoint and a stop."""
    requests = Requests()
    numbers = (signal.SIGUSR1, signal.SIGTERM)
    previous = {number: signal.signal(number, requests._on_signal) for number in numbers}
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
