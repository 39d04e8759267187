"""The study: a configuration expanded into the nodes to train, with their files and settings.

The Snakefile and its jobs import this package, so it needs neither torch nor Snakemake. Everywhere
`config` is a configuration whose defaults are filled in, and paths are relative to where the
workflow runs.
"""

from bayesian_lottery.study.choices import (
    alike,
    branch,
    branch_kinds,
    inferences,
    kind,
    kind_name,
    options,
    rankings,
    trained,
)
from bayesian_lottery.study.expansion import branches, expand, find, nodes, packs
from bayesian_lottery.study.files import (
    ABSENT,
    data_file,
    files,
    masks_apart,
    metrics_files,
    node_extensions,
    node_inputs,
    node_outputs,
    node_settings,
    origins,
    other_data,
    pruning_task,
    scorers,
    starts_others,
    task,
)
from bayesian_lottery.study.nodes import (
    COORDINATES,
    LATER,
    Node,
    Trunk,
    is_papers,
    spelled,
    suffix,
)

__all__ = [
    "ABSENT",
    "COORDINATES",
    "LATER",
    "Node",
    "Trunk",
    "alike",
    "branch",
    "branch_kinds",
    "branches",
    "data_file",
    "expand",
    "files",
    "find",
    "inferences",
    "is_papers",
    "kind",
    "kind_name",
    "masks_apart",
    "metrics_files",
    "node_extensions",
    "node_inputs",
    "node_outputs",
    "node_settings",
    "nodes",
    "options",
    "origins",
    "other_data",
    "packs",
    "pruning_task",
    "rankings",
    "scorers",
    "spelled",
    "starts_others",
    "suffix",
    "task",
    "trained",
]
