"""Pieces of branches in a finished study: what is new is trained, and nothing else."""

import pandas as pd
import pytest
from test_extensions import written
from test_partial import RESULTS, Study, checkout

from bayesian_lottery.files import read_json

TRUNK = {
    "dataset": "low",
    "model": "lenet_100_50",
    "curriculum": "short",
    "seeds": [0],
    "inference": "bayesian",
    "scorer": "snr",
    "levels": 1,
}
KINDS = {
    "transfer": {"dataset": "high"},
    "transfer_all": {"dataset": "all", "inference": "deterministic"},
    "seed1": {"seed": 1},
    "signs": {"weights": "signs"},
    "untrained": {"train": False},
    "distilled": {"objective": "distilled"},
    "soft": {"objective": "soft", "inference": "deterministic"},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """A study of the digits 0 to 4 that ran to its end, and then got branches of every piece."""
    folder = tmp_path_factory.mktemp("pieces")
    checkout(folder)
    study = Study(folder)
    digits = {"source": "digits"}
    study.config["datasets"] = {
        "low": {**digits, "classes": [0, 1, 2, 3, 4]},
        "high": {**digits, "classes": [5, 6, 7, 8, 9]},
        "all": digits,
    }
    study.config["trunks"] = [TRUNK]
    study.config["branches"] = [{"branch": "reinit", "levels": [1]}]
    study.snakemake()
    before = written(folder)
    study.config["objectives"] = {"soft": {"kind": "distilled", "weight": 0.5}}
    study.config["branch_kinds"] = KINDS
    study.config["branches"].append({"branch": list(KINDS), "levels": [1]})
    planned = study.planned()
    assert planned["prepare_data"] == 2 and planned["initialise"] == 1, planned
    trained = {rule: n for rule, n in planned.items() if rule.startswith("train_")}
    assert trained == {"train_branch": len(KINDS)}, planned
    study.snakemake()
    assert before.items() <= written(folder).items(), "what was trained was trained again"
    return study


def test_the_tables_hold_every_branch(study):
    runs = pd.read_parquet(study.folder / RESULTS / "tables/runs.parquet")
    branches = runs[runs["branch"].isin(KINDS)]
    assert branches.groupby("branch").size().to_dict() == dict.fromkeys(KINDS, 1)
    assert set(branches["dataset"]) == {"low"}, "where the tickets are from"
    untrained = branches[branches["branch"] == "untrained"]
    assert (untrained["epochs"] == 0).all() and (untrained["peak_epoch"] == 0).all()
    assert branches["final_nll"].notna().all()


def test_a_classifier_of_another_number_of_classes_is_drawn_anew_and_said(study):
    level = f"{RESULTS}/runs/low/lenet_100_50/bayesian/short/seed0/snr_imp/level01"
    found = {
        kind: read_json(study.folder / level / f"{kind}_0/metrics.json").get("classifier")
        for kind in KINDS
    }
    assert found == {**dict.fromkeys(KINDS), "transfer_all": "drawn anew"}


def test_a_finished_study_has_nothing_to_do_and_a_changed_objective_trains_its_branches(study):
    assert study.planned() == {}
    study.config["objectives"]["soft"]["weight"] = 0.6
    trained = study.trained()
    study.config["objectives"]["soft"]["weight"] = 0.5
    assert trained == {"train_branch": 1}, trained
