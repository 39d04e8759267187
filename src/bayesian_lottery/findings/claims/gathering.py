"""The subjects of a study's tables."""

from collections.abc import Hashable

import pandas as pd

from bayesian_lottery.findings import results
from bayesian_lottery.findings.claims.options import Options
from bayesian_lottery.findings.claims.subjects import Subject
from bayesian_lottery.findings.columns import COORDINATES


def subjects(
    runs: pd.DataFrame, layers: pd.DataFrame, options: Options, exports: pd.DataFrame
) -> list[Subject]:
    """A subject for each data set and model in the tables, sorted; of tickets found as theirs."""
    every, compared = runs, results.shown(runs, options.tickets, compared=["search", "pattern"])
    runs, layers = (results.shown(table, options.tickets) for table in (runs, layers))
    ways, way_branches = results.trunk_rows(compared), compared[compared["branch"].notna()]
    trunks, branches = results.trunk_rows(runs), runs[runs["branch"].notna()]
    layers = layers[layers["branch"].isna() & (layers["level"] > 0)]
    peers: list[Subject] = []
    for (dataset, model), own in runs.groupby(["dataset", "model"]):
        peers.append(
            Subject(
                str(dataset),
                str(model),
                _main_curriculum(own, options),
                _of_model(trunks, dataset, model),
                _of_model(ways, dataset, model),
                _of_model(branches, dataset, model),
                _of_model(way_branches, dataset, model),
                _of_model(layers, dataset, model),
                _of_model(exports, dataset, model),
                options,
                _seed_hours(_of_model(every, dataset, model)),
                peers,
            )
        )
    return peers


def _of_model(table: pd.DataFrame, dataset: Hashable, model: Hashable) -> pd.DataFrame:
    return table[(table["dataset"] == dataset) & (table["model"] == model)]


def _seed_hours(runs: pd.DataFrame) -> float:
    """The sum over a seed's nodes of the seconds measured, averaged over the seeds, in hours; those
    of pools are their members'."""
    runs = runs[runs["members"].isna()] if "members" in runs else runs
    node = [name for name in COORDINATES if name != "seed"]
    return runs.groupby(node, dropna=False)["seconds"].mean().sum() / 3600


def _main_curriculum(runs: pd.DataFrame, options: Options) -> str:
    """The curriculum that the options name; else that of most runs, the first by name of equals."""
    if main := options.curriculum("main"):
        return main
    named = [options.curriculum(name) for name in ("low_lr", "warmup")]
    others = runs[~runs["curriculum"].isin(named)]
    counts = (runs if others.empty else others)["curriculum"].value_counts()
    return str(counts.sort_index().idxmax())
