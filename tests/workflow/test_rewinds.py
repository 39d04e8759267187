"""Late rewinding in a finished study: its own jobs run, and nothing else."""

import pandas as pd
import pytest
from test_extensions import written
from test_partial import RESULTS, Study, checkout

from bayesian_lottery.files import read_tensors

TRUNK = {
    "dataset": "digits",
    "model": "lenet_100_50",
    "curriculum": "short",
    "seeds": [0],
    "inference": "bayesian",
    "scorer": "snr",
    "levels": 2,
}
DENSE = f"{RESULTS}/runs/digits/lenet_100_50/bayesian/short/seed0/dense"


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """A study that ran to its end, and then got late rewinding by two steps and two searches."""
    folder = tmp_path_factory.mktemp("rewinds")
    checkout(folder)
    study = Study(folder)
    study.config["trunks"] = [TRUNK]
    del study.config["branches"]
    study.snakemake()
    before = written(folder)
    study.config["rewinds"] = {"late_2": {"kind": "late", "steps": 2}}
    study.config["trunks"] += [
        {**TRUNK, "rewind": ["late", "late_2"]},
        {**TRUNK, "rewind": "late_2", "search": "one_shot", "levels": 1},
    ]
    trained = study.trained()
    assert trained == {"train_early": 2, "train_level": 4, "train_level_apart": 1}, trained
    study.snakemake()
    assert before.items() <= written(folder).items(), "what was trained was trained again"
    return study


def test_every_rewind_has_its_own_early_weights(study):
    steps = {
        name: read_tensors(study.folder / DENSE / f"early/at_{name}/weights.safetensors")[1]["step"]
        for name in ("late", "late_2")
    }
    assert steps == {"late": 1, "late_2": 2}  # 1 % of ten steps or so is the first


def test_the_tables_name_the_rewinds(study):
    runs = pd.read_parquet(study.folder / RESULTS / "tables/runs.parquet")
    counts = runs["rewind"].value_counts().to_dict()
    assert counts == {"imp": 2, "late": 2, "late_2": 3}


def test_a_finished_study_has_nothing_to_do_and_another_step_makes_its_own_weights(study):
    assert study.planned() == {}
    study.config["rewinds"]["late_2"]["steps"] = 3
    trained = study.trained()
    study.config["rewinds"]["late_2"]["steps"] = 2
    assert trained == {"train_early": 1, "train_level": 2, "train_level_apart": 1}, trained
