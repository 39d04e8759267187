"""The rows of the tidy tables that one node's metrics make; see `node_metrics.read`."""

import math
import statistics
from types import MappingProxyType
from typing import Any

from bayesian_lottery.findings import operations
from bayesian_lottery.findings.columns import EARLY_STOPPING, MEASURED, RUN_COLUMNS
from bayesian_lottery.study import node_metrics
from bayesian_lottery.study.node_metrics import CONVERGENCE, RANKING, STATISTICS


def _lookup(metrics: dict, key: str):
    """The value at the dotted `key`; None if the key, or a part of it, is null, or of `RANKING` and
    not there."""
    value: Any = metrics
    for part in key.split("."):
        if value is None:
            return None
        value = value.get(part) if part in RANKING else value[part]
    return value


def _passes(metrics: dict) -> dict:
    """Number, means and standard deviations of the repeated evaluation passes.

    A deterministic network, which has no mutual information, gives the same numbers on every pass,
    so its deviation is 0; the deviation of a single stochastic pass is not known, and NaN.
    """
    columns: dict[str, float] = {}
    for name in MEASURED:
        values = metrics["passes"].get(name)
        if values is None:
            continue
        columns["passes"] = len(values)
        columns[f"passes_mean_{name}"] = statistics.fmean(values)
        if len(values) > 1:
            sd = statistics.stdev(values)
        else:
            sd = math.nan if metrics["passes"]["mutual_information"] else 0.0
        columns[f"passes_sd_{name}"] = sd
    return columns


def run(metrics: dict, counts: operations.Counts = MappingProxyType({})) -> dict:
    """The row of the table of runs."""
    columns = {name: _lookup(metrics, key) for name, (key, _) in RUN_COLUMNS.items()}
    if skipped := metrics.get("skipped", False):  # tested, but not trained
        columns |= {name: None for name in columns if name.startswith(STATISTICS)}
    return {
        **node_metrics.coordinates(metrics),
        **columns,
        "gradients": operations.gradients(metrics),
        "computation": node_metrics.computation(metrics),
        "emptied": sum(layer["survivors"] == 0 for layer in metrics["layers"]),
        "connected": metrics.get("connected"),
        "skipped": skipped,
        "sparsity": 1 - columns["density"],
        "flops": operations.training_flops(metrics, counts),
        **_passes(metrics),
        **early_stopping(metrics),
        **_pooled(metrics),
    }


def early_stopping(metrics: dict) -> dict:
    """The test by step with the lowest NLL on held-out images, as columns of the table of runs.

    How fast a network learns, as Frankle and Carbin (2019) measure it: by the iteration of minimum
    validation loss. Nothing without tests by step (`evaluation.every_steps`) or held-out images.
    """
    tests = [test for test in metrics.get("by_step", []) if "validation_nll" in test]
    if not tests:
        return {}
    best = min(tests, key=lambda test: test["validation_nll"])
    return {name: best[key] for name, (key, _) in EARLY_STOPPING.items()}


def _pooled(metrics: dict) -> dict:
    """What the table of runs tells of a pool; of other nodes nothing."""
    if "members" not in metrics:
        return {}
    told = metrics.get("convergence", {})
    known = {name: told[name] for name in ("converged", *CONVERGENCE) if name in told}
    return {"members": len(metrics["members"]), **known}


def layers(metrics: dict) -> list[dict]:
    """The rows of the table of layers that one node's metrics make; layers count from 1."""
    return [
        {
            **node_metrics.coordinates(metrics),
            "layer": index,
            **layer,
            "density": layer["survivors"] / layer["size"],
        }
        for index, layer in enumerate(metrics["layers"], 1)
    ]


def shifts(metrics: dict) -> list[dict]:
    """The rows of the table of shifts: a corruption at a strength, or a data set to tell apart."""
    rows = metrics.get("shifts", [])
    foreign = [
        {**row, "shift": row["dataset"], "dataset": None}
        for row in metrics.get("out_of_distribution", [])
    ]
    shared = {**node_metrics.coordinates(metrics), "density": metrics["density"]}
    return [{**row, **shared} for row in [*rows, *foreign]]
