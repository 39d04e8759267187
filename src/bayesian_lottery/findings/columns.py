"""The columns of the tidy tables and their types."""

from bayesian_lottery.study import LATER
from bayesian_lottery.study.node_metrics import CONVERGENCE, METRICS, RANKING, STATISTICS

# What names a node, in the order of the tables' columns and rows.
COORDINATES = {
    "dataset": "string",
    "model": "string",
    "inference": "string",
    "curriculum": "string",
    "seed": "Int64",
    "scorer": "string",
    "rewind": "string",
    **dict.fromkeys(LATER, "string"),
    "branch": "string",
    "replicate": "Int64",
    "level": "Int64",
}

_NOT_WATCHED = ("rewind", "branch", "replicate")  # what levels with one watched mask differ in

# Of images, and of results from before there were tables, the latter are null.
MEASURED = (*METRICS, *RANKING)

# Column of the table of runs -> (key in metrics.json, dtype).
RUN_COLUMNS = {
    "density": ("density", "float64"),
    "survivors": ("survivors", "Int64"),
    "prunable": ("prunable", "Int64"),
    **{
        f"{statistic}_{name}": (f"results.{statistic}.{name}", dtype)
        for statistic in STATISTICS
        for name, dtype in {"epoch": "Int64", **dict.fromkeys(MEASURED, "float64")}.items()
    },
    "epochs": ("cost.epochs", "Int64"),
    "seconds": ("cost.seconds", "float64"),
    "seconds_training": ("cost.seconds_training", "float64"),
    "seconds_evaluation": ("cost.seconds_evaluation", "float64"),
    "peak_memory_bytes": ("cost.peak_memory_bytes", "Int64"),
    "git_commit": ("provenance.git_commit", "string"),
    "device": ("provenance.device", "string"),
}
# What the table of runs tells of the test by step that has the lowest NLL on held-out images.
EARLY_STOPPING = {
    "early_stopping_step": ("step", "Int64"),
    "early_stopping_accuracy": ("test_accuracy", "float64"),
    "early_stopping_nll": ("test_nll", "float64"),
}
# What the table of runs tells of pools: how many nodes each averages, and how far chains agree.
POOLED = {
    "members": "Int64",
    "converged": "boolean",
    **dict.fromkeys(CONVERGENCE, "float64"),
}
RUN_DTYPES = {
    **COORDINATES,
    **{name: dtype for name, (_, dtype) in RUN_COLUMNS.items()},
    "computation": "Int64",
    "gradients": "float64",  # of the whole training set, each weight sample's; see `operations`
    "emptied": "Int64",  # layers without a weight
    "connected": "boolean",  # whether a path leads from input to output; null in older results
    "skipped": "boolean",  # whether it was not trained, since it had collapsed
    "sparsity": "float64",
    "flops": "float64",  # of training, as `operations.training_flops` counts them
    "passes": "Int64",
    **{f"passes_{what}_{name}": "float64" for name in MEASURED for what in ("mean", "sd")},
    **{name: dtype for name, (_, dtype) in EARLY_STOPPING.items()},
    **POOLED,
}
LAYER_DTYPES = {
    **COORDINATES,
    "layer": "Int64",
    "name": "string",
    "size": "Int64",
    "survivors": "Int64",
    "density": "float64",
}
# What is measured of shifted images, and of those of another data set.
SHIFTED = ("accuracy", "nll", "ece", "auroc_entropy", "auroc_mutual_information")
SHIFT_DTYPES = {
    **COORDINATES,
    "density": "float64",
    "shift": "string",  # a corruption, or another data set
    "strength": "Int64",
    **dict.fromkeys(SHIFTED, "float64"),
}
# A pair of masks and a layer: the node's, and that of the papers' way (`overlaps`).
OVERLAP_DTYPES = {
    **COORDINATES,
    "compared": "string",  # in what they differ: the way, the seed or the inference
    "other_seed": "Int64",
    "other_inference": "string",
    "layer": "Int64",
    "name": "string",
    **dict.fromkeys(("size", "survivors", "other_survivors", "shared"), "Int64"),
    **dict.fromkeys(("jaccard", "chance", "beyond"), "float64"),
}
# A watched training, epoch and level.
DISTANCE_DTYPES = {
    **{name: dtype for name, dtype in COORDINATES.items() if name not in _NOT_WATCHED},
    "epoch": "Int64",
    "survivors": "Int64",
    "distance": "float64",  # of the mask from that of the epoch before
    "drawn": "boolean",  # whether the level's mask is the one of this epoch
}
