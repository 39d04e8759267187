"""A second search in a finished study: its own nodes are trained, and nothing else."""

import pandas as pd
import pytest
from test_extensions import written
from test_partial import RESULTS, Study, checkout

from bayesian_lottery.tickets import masks

TRUNK = {
    "dataset": "digits",
    "model": "lenet_100_50",
    "curriculum": "short",
    "seeds": [0],
    "inference": "deterministic",
    "scorer": "magnitude",
    "rewind": ["imp", "lrr"],
    "levels": 3,
}
MINE = """
from bayesian_lottery.tickets.searches import SEARCHES, Search

SEARCHES["again"] = Search("iterative once more", scored="previous")
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """A study of iterative trunks that ran to its end, and then got two other searches."""
    folder = tmp_path_factory.mktemp("searches")
    checkout(folder)
    (folder / "mine.py").write_text(MINE)
    study = Study(folder)
    study.config["trunks"] = [TRUNK]
    study.config["branches"] = [
        {"branch": "reinit", "rewind": "imp", "search": "iterative", "levels": [2]}
    ]
    study.snakemake()
    before = written(folder)
    study.config["extensions"] = ["mine.py"]
    study.config["trunks"] += [
        {**TRUNK, "search": "one_shot"},
        {**TRUNK, "search": "again", "rewind": "imp", "levels": 1},
    ]
    study.config["branches"][0]["search"] = ["iterative", "one_shot"]
    planned = study.planned()
    # Two rewinds, three levels, and a branch; both rewinds share the masks below level 1.
    assert planned["train_level_apart"] == 6 and planned["prune_deterministic"] == 2, planned
    assert planned["train_level"] == 1 and planned["train_branch"] == 1, planned
    assert not {"train_level_lrr", "train_dense_deterministic"} & planned.keys(), planned
    study.snakemake()
    assert before.items() <= written(folder).items(), "what was trained was trained again"
    return study


def test_the_tables_hold_every_search_with_the_same_counts(study):
    runs = pd.read_parquet(study.folder / RESULTS / "tables/runs.parquet")
    trunks = runs[runs["branch"].isna() & (runs["level"] > 0)]
    assert trunks["search"].value_counts().to_dict() == {"iterative": 6, "one_shot": 6, "again": 1}
    assert (trunks.groupby("level")["survivors"].nunique() == 1).all()
    assert set(runs[runs["branch"] == "reinit"]["search"]) == {"iterative", "one_shot"}
    layers = pd.read_parquet(study.folder / RESULTS / "tables/layers.parquet")
    assert set(layers["search"].dropna()) == {"iterative", "one_shot", "again"}


def test_one_shot_masks_are_nested_and_start_with_that_of_iterative_pruning(study):
    dense = study.folder / RESULTS / "runs/digits/lenet_100_50/deterministic/short/seed0/dense"
    names = ["magnitude", "magnitude_level02", "magnitude_level03"]
    first, second, third = (masks.load(dense / f"next_mask_{n}.safetensors") for n in names)
    for above, below in ((first, second), (second, third)):
        assert all((below[name] <= above[name]).all() for name in above)


def test_a_finished_study_has_nothing_to_do(study):
    assert study.planned() == {}
