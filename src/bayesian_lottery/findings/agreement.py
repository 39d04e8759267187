"""Agreement: how close the predictions of each arm are to those of the long-run sampler.

By the two measures of Izmailov et al. 2021, What are Bayesian neural network posteriors really
like?, section 6: the share of test images for which both predict the same class, and the total
variation between both distributions over classes, averaged over test images.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_arrays
from bayesian_lottery.findings import arms
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.meter import Meter
from bayesian_lottery.study.nodes import is_shown

DTYPES = {
    **COORDINATES,
    "density": "float64",
    "arm": "string",  # in words
    "reference": "string",  # the branch that is the long-run sampler, and it in words
    "sampler": "string",
    "converged": "boolean",  # whether its chains agree
    "top1": "float64",
    "total_variation": "float64",
    **dict.fromkeys(("accuracy", "gradients", "seconds"), "float64"),
}


def table(
    runs: pd.DataFrame,
    told: Mapping,
    tickets: Mapping,
    root: str | Path,
    branches: Collection[str | None] = (),
) -> pd.DataFrame:
    """A row for each node compared with the sampler on its mask.

    Args:
        runs: the table of runs.
        told: what `study.arms` tells.
        tickets: of which tickets it is, as `study.is_shown` takes it.
        root: the folder of results.
        branches: those of the study of which the table has a part; arms are named apart among them.

    Raises:
        InputError: predictions are missing, damaged, or of different test images.
    """
    nodes = _nodes(runs)
    pairs = arms.compared([node for node in nodes if is_shown(node, tickets)], told)
    there = {*branches, *(node["branch"] for node in nodes)}
    every = arms.arms(told, arms.SOURCE)
    words = arms.names(arm for arm in every if arm.branch in there)
    named = {arm.branch: name for arm, name in words.items()}
    numbers = {_key(node): row for node, row in zip(nodes, runs.to_dict("records"), strict=True)}
    meter, rows = Meter("node", len(pairs)), []
    for index, (node, reference) in enumerate(pairs, 1):
        folders = (arms.folder(each) for each in (node, reference))
        paths = [Path(root) / folder / "predictions.safetensors" for folder in folders]
        own, its = numbers[_key(node)], numbers[_key(reference)]
        rows.append(
            {
                **node,
                "density": own["density"],
                "arm": named[node["branch"]],
                "reference": reference["branch"],
                "sampler": named[reference["branch"]],
                "converged": its.get("converged", pd.NA),
                **_agreement(*paths),
                "accuracy": own["final_accuracy"],
                **{name: own.get(name, np.nan) for name in ("gradients", "seconds")},
            }
        )
        meter.show(index)
    meter.close()
    return pd.DataFrame(rows, columns=list(DTYPES)).astype(DTYPES)


def _nodes(runs: pd.DataFrame) -> list[dict]:
    coordinates = runs[list(COORDINATES)].astype(object)
    return coordinates.where(coordinates.notna(), None).to_dict("records")


def _key(node: Mapping) -> tuple:
    return tuple(node[name] for name in COORDINATES)


def _agreement(first: Path, second: Path) -> dict[str, float]:
    ours, theirs = _probabilities(first), _probabilities(second)
    if ours.shape != theirs.shape:
        raise InputError(
            f"{first}: its probabilities have shape {ours.shape}, and those of {second} "
            f"{theirs.shape}; only predictions of the same test images can be compared."
        )
    return agreement(ours, theirs)


def agreement(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """`top1` and `total_variation` of two arrays of class probabilities (images, classes)."""
    same = ours.argmax(-1) == theirs.argmax(-1)
    variation = np.abs(ours - theirs).sum(-1) / 2
    return {"top1": float(same.mean()), "total_variation": float(variation.mean())}


def _probabilities(path: Path) -> np.ndarray:
    """(images, classes) float64, of rows that sum to 1, which float16 has rounded away."""
    arrays, _ = read_arrays(path)
    if "probabilities" not in arrays:
        raise InputError(f"{path}: no predictions; it has no tensor 'probabilities'.")
    values = arrays["probabilities"].astype(np.float64)
    return values / values.sum(-1, keepdims=True)
