"""Made-up tables of studies in which a claim holds or does not, by construction."""

import functools
import math
import random
from types import SimpleNamespace
from unittest import mock

import pandas as pd

from bayesian_lottery.findings import claims
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.study import LATER

TRUNKS = (
    ("deterministic", "magnitude", "imp", "paper"),
    ("deterministic", "magnitude", "lrr", "paper"),
    ("deterministic", "magnitude", "imp", "low_lr"),
    ("deterministic", "magnitude", "imp", "warmup"),
    ("bayesian", "snr", "imp", "paper"),
    ("bayesian", "mu", "imp", "paper"),
    ("bayesian", "square", "imp", "paper"),
    ("bayesian", "snr", "lrr", "paper"),
    ("bayesian", "snr", "imp", "low_lr"),
    ("bayesian", "snr", "imp", "warmup"),
)
SHUFFLES = ("shuffle_global", "shuffle_even", "shuffle_layerwise")
BRANCHES = (
    *(("bayesian", "snr", name) for name in ("reinit", *SHUFFLES)),
    ("deterministic", "magnitude", "transplant_initial"),
)
WAYS = tuple(
    (inference, scorer or main, rewind, "paper", search, *pattern)
    for inference, main in (("deterministic", "magnitude"), ("bayesian", "snr"))
    for search, scorer, rewind, *pattern in (
        ("iterative", None, "imp"),
        ("iterative", None, "late_500"),
        ("one_shot", None, "imp"),
        ("at_init", "snip", "imp"),
        ("at_init", "grasp", "imp"),
        ("at_init", "synflow", "imp"),
        ("at_init", "random", "imp"),
        ("set", None, "imp"),
        ("rigl", None, "imp"),
        ("still", None, "imp"),
        ("early", None, "imp"),
        ("iterative", None, "imp", "units"),
    )
)
ROLES = {
    "moved": "transfer",
    "moved_mask": "transferred_mask",
    "of_seed_9": "another_seed",
    "soft": "distilled",
    "learned": "learned",
    "small": "small_dense",
}
WAY_BRANCHES = tuple(
    (inference, scorer or main, branch, search)
    for inference, main in (("deterministic", "magnitude"), ("bayesian", "snr"))
    for scorer, branch, search in (
        *((None, name, "iterative") for name in ROLES),
        *((scorer, "shuffle_layerwise", "at_init") for scorer in ("snip", "grasp", "synflow")),
    )
)
KINDS = {
    "search": {"set": "dynamic", "rigl": "dynamic", "still": "dynamic"},
    "rewind": {"late_500": "late"},
    "branch": ROLES,
}
TOLD = {"kinds": KINDS, "controls": ["still"]}
LEVELS = 20


def nodes(model, seeds=5, trunks=TRUNKS, branches=BRANCHES, replicates=1):
    """The coordinates of every node of one model's study."""
    dense = {(inference, curriculum) for inference, _, _, curriculum, *_ in trunks}
    for seed in range(seeds):
        shared = {"dataset": "digits", "model": model, "seed": seed}
        trunk = {**shared, "branch": None, "replicate": None}
        for inference, curriculum in sorted(dense):
            yield {**trunk, "inference": inference, "curriculum": curriculum,
                   "scorer": None, "rewind": None, "level": 0}  # fmt: skip
        for inference, scorer, rewind, curriculum, *search in trunks:
            for level in range(1, LEVELS + 1):
                yield {**trunk, "inference": inference, "curriculum": curriculum,
                       "scorer": scorer, "rewind": rewind, "level": level,
                       **dict(zip(["search", "pattern"], search, strict=False))}  # fmt: skip
        for inference, scorer, branch, *search in branches:
            for level in (5, 10, 15, 20):
                for replicate in range(replicates):
                    yield {**shared, "inference": inference, "curriculum": "paper",
                           "scorer": scorer, "rewind": "imp", "branch": branch,
                           "replicate": replicate, "level": level,
                           **dict(zip(["search"], search, strict=False))}  # fmt: skip


def study(
    *models, accuracy=lambda n: 0.9, mace=lambda n: 0.1, seconds=lambda n: 60.0, noise=0.001, **kind
):
    """The table of runs in which a node n has these results, plus noise of its own."""
    rows = []
    for model in models:
        for node in nodes(model, **kind):
            n, draw = SimpleNamespace(**node), random.Random(str(sorted(node.items(), key=str)))
            rows.append(
                {
                    **(LATER if n.level else dict.fromkeys(LATER)),
                    **node,
                    "density": 0.8**n.level,
                    "peak_accuracy": accuracy(n) + noise * draw.gauss(0, 1),
                    "final_accuracy": 0.5,
                    "selected_accuracy": math.nan,
                    "selected_mace": math.nan,
                    "peak_mace": mace(n) + noise * draw.gauss(0, 1),
                    "passes_sd_accuracy": 0.002 if n.inference == "bayesian" else 0.0,
                    "passes_sd_mace": 0.001,
                    "seconds": seconds(n) * (1 + noise * draw.gauss(0, 1)),
                    "device": "cpu",
                }
            )
    return pd.DataFrame(rows).astype(COORDINATES)


def layers(*models, slope=lambda n: 0.5, noise=0.0, count=8, **kind):
    """The table of layers in which density falls with depth, at the rate of the slope.

    With noise, it falls in any order.
    """
    rows = []
    for model in models:
        for node in nodes(model, branches=(), **kind):
            n, draw = SimpleNamespace(**node), random.Random(str(sorted(node.items(), key=str)))
            depth = [layer / count for layer in range(count)]
            shares = [0.8**n.level * math.exp(-slope(n) * d) for d in depth]
            if count > 3 and draw.random() < 0.5:  # else every seed would give the same correlation
                shares[2], shares[3] = shares[3], shares[2]
            if noise:
                draw.shuffle(shares)
            for layer, share in enumerate(shares, 1):
                rows.append({**node, **LATER, "layer": layer, "size": 10**6,
                             "survivors": round(10**6 * share), "density": share})  # fmt: skip
    frame = pd.DataFrame(rows, columns=[*COORDINATES, "layer", "size", "survivors",
                                        "density"])  # fmt: skip
    return frame.astype(COORDINATES)


@functools.cache
def no_layers() -> pd.DataFrame:
    return layers()


def row_of(claim, runs, layer_rows=None, model=None, **options):
    """The one row of a claim, in a study of one model or of the model named."""
    layer_rows = no_layers() if layer_rows is None else layer_rows
    with mock.patch.object(claims, "CLAIMS", {claim: claims.CLAIMS[claim]}):  # the others cost time
        rows = claims.table(runs, layer_rows, options).dropna(subset="model")
    [row] = (rows[rows["model"] == model] if model else rows).to_dict("records")
    return row


def drop(size, condition):
    """An accuracy of 0.9, less where the condition holds."""
    return {"accuracy": lambda n: 0.9 - size * condition(n)}


def branch_is(name):
    return lambda n: n.branch == name


def search_is(name):
    return lambda n: n.level > 0 and getattr(n, "search", None) == name


EQUAL = drop(0, lambda n: False)
PRUNED = drop(0.05, lambda n: n.level > 0)
SQUARE = drop(0.05, lambda n: n.scorer == "square")
TRANSPLANTED = drop(0.05, branch_is("transplant_initial"))


def cost(deterministic):
    return {
        "seconds": lambda n: (
            60.0 if n.inference == "bayesian" or n.branch == "transplant_initial" else deterministic
        )
    }


def sparse_mace(change):
    return {"mace": lambda n: 0.1 + change * (n.level >= 10)}
