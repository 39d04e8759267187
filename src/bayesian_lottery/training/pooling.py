"""A pool: the predictions of trained nodes averaged, and judged as one node's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_tensors, write_json, write_tensors, write_text
from bayesian_lottery.study import node_metrics
from bayesian_lottery.training import convergence
from bayesian_lottery.training.evaluation import summarise
from bayesian_lottery.training.jobs import as_csv
from bayesian_lottery.training.metrics import Predictions, entropy_of, evaluate
from bayesian_lottery.training.provenance import provenance
from bayesian_lottery.training.tasks import alone

LEAST = 2.0**-25  # what float16 makes 0 of is at most this


@dataclass(frozen=True)
class Members:
    """The files of a pool's members, in one order; `draws` are of chains only."""

    predictions: Sequence[Path]
    metrics: Sequence[Path]
    draws: Sequence[Path] = ()


def write_pool(
    node: Mapping, settings: Mapping, data_file: Path, members: Members, folder: Path
) -> None:
    """Write a pool's `metrics.json`, `history.csv` and `predictions.safetensors`.

    Accuracy, NLL and all other metrics are of the mean of the members' class probabilities, and the
    mutual information is that of label and member. What they cost is the sum of what they did.

    Args:
        node, settings: as `study.task` gives them.
        data_file: the decoded data set.
        members: their files.
        folder: where to write.

    Raises:
        InputError: a file is no good, or the members are not of one data set.
    """
    with alone(folder):
        told = [_read(path, settings["dataset"]) for path in members.metrics]
        images = decoded.load(data_file)
        predictions = average(members.predictions, images)
        values = evaluate(
            predictions, images.test.labels, settings["evaluation"]["bins"], True, images.ranked
        )
        history = [{"epoch": 0, **{f"test_{name}": value for name, value in values.items()}}]
        results = summarise(history)
        held_out = any(each["results"]["selected"] for each in told)
        metrics = {
            "node": dict(node),
            "settings": dict(settings),
            **{key: told[0][key] for key in ("density", "survivors", "prunable", "layers")},
            "connected": _connected(told),
            # There is one epoch to select.
            "results": {**results, "selected": results["final"] if held_out else None},
            "passes": {name: None if value is None else [value] for name, value in values.items()},
            "members": [each["node"] for each in told],
            **_compared(members.draws, settings),
            **_spent(told),
            "cost": _sum([each["cost"] for each in told]),
            "provenance": _provenance([each["provenance"] for each in told]),
        }
        write_text(folder / "history.csv", as_csv(history))
        probabilities = {"probabilities": predictions.log_probabilities.exp().half()}
        write_tensors(folder / "predictions.safetensors", probabilities, {"node": dict(node)})
        write_json(folder / "metrics.json", metrics)


def _read(path: Path, dataset: str) -> dict:
    """A member's metrics.

    Raises:
        InputError: they are no good, or of another data set.
    """
    metrics = node_metrics.read(path)
    if (other := metrics["settings"]["dataset"]) != dataset:
        raise InputError(f"{path}: of {other}, and the pool is of {dataset}; pool one data set.")
    return metrics


def average(files: Sequence[Path], images: decoded.Images) -> Predictions:
    """The mean of the class probabilities in `files`, of the test images of a data set.

    Each is made to sum to 1 again, which float16 has rounded away; where all are 0, the mean is
    `LEAST`.

    Raises:
        InputError: a file is no good, or of another data set.
    """
    mean, entropies = torch.zeros(()), torch.zeros(())
    for file in files:
        probabilities = _probabilities(file, images)
        mean = mean + probabilities / len(files)
        entropies = entropies + entropy_of(probabilities.log()) / len(files)
    return Predictions(mean.clamp_min(LEAST).log(), entropies)


def _probabilities(file: Path, images: decoded.Images) -> Tensor:
    """(N, K) float64, of rows that sum to 1."""
    tensors, _ = read_tensors(file)
    shape, wanted = None, (len(images.test), len(images.classes))
    if "probabilities" in tensors:
        shape = tuple(tensors["probabilities"].shape)
    if shape != wanted:
        raise InputError(
            f"{file}: its probabilities have shape {shape}, and {images.name} has {wanted[0]} test "
            f"images of {wanted[1]} classes; a pool's members are of one data set."
        )
    probabilities = tensors["probabilities"].double()
    total = probabilities.sum(-1, keepdim=True)
    if not ((total - 1).abs() < 0.01).all():
        raise InputError(f"{file}: its probabilities do not sum to 1 for every image.")
    return probabilities / total


def _connected(members: Sequence[Mapping]) -> bool | None:
    """Whether the networks of all members are connected; None where that of one is not known."""
    told = [each.get("connected", True) for each in members]
    return None if None in told else all(told)


def _compared(draws: Sequence[Path], settings: Mapping) -> dict:
    """How far the members agree, where they are chains."""
    if not draws:
        return {}
    limits = settings["convergence"]
    return {"convergence": convergence.diagnose(convergence.load(draws), **limits)}


def _spent(members: Sequence[Mapping]) -> dict:
    """How many draws and gradients the members took together, where all tell."""
    told = [each.get("sampling", {}) for each in members]
    totals = {
        name: sum(each[name] for each in told)
        for name in ("draws", "gradients")
        if all(each.get(name) is not None for each in told)
    }
    return {"sampling": totals} if totals else {}


def _sum(costs: Sequence[Mapping]) -> dict:
    """What the members took, together; the pool itself takes seconds, and trains no epoch."""
    names = ("seconds", "seconds_training", "seconds_evaluation")
    return {
        **{name: sum(cost[name] for cost in costs) for name in names},
        "side_by_side": 1,
        "epochs": 0,
        "peak_memory_bytes": max(cost["peak_memory_bytes"] for cost in costs),
        "resumed_at_steps": [],
    }


def _provenance(members: Sequence[Mapping]) -> dict:
    """What made the pool; the device is that of its cost, the members'."""
    devices = ", ".join(sorted({each["device"] for each in members}))
    return {**provenance(torch.device("cpu")), "device": devices}
