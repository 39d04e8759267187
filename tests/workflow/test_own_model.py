"""A model from a file of one's own: the real workflow trains it beside the package's."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_partial import RESULTS, ROOT, Study, checkout

HOME = ROOT / "tests/unit/home_made.py"
SHARED = {"dataset": "digits", "curriculum": "short", "seeds": [0], "levels": 1}
BEFORE = {**SHARED, "model": "lenet_100_50", "inference": "deterministic", "scorer": "magnitude"}
OWN = [
    {**BEFORE, "model": "mine"},
    {**SHARED, "model": "mine", "inference": "bayesian", "scorer": "snr"},
]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """A study that ran to its end, and then got a model of its own and ran on."""
    folder = tmp_path_factory.mktemp("own_model")
    checkout(folder)
    study = Study(folder)
    study.config["trunks"] = [BEFORE]
    del study.config["branches"]
    study.snakemake()
    before = written(folder)
    (folder / "my_models.py").write_text(HOME.read_text())
    mine = {"code": "my_models.py:Net", "arguments": {"width": 4}}
    study.config |= {"models": {"mine": mine}, "trunks": [BEFORE, *OWN]}
    study.snakemake()
    assert len(before) == 2 and before.items() <= written(folder).items(), "trained again"
    return study


def written(folder: Path) -> dict[Path, int]:
    """The metrics of all nodes, and when they were written."""
    files = folder.glob(f"{RESULTS}/runs/**/metrics.json")
    return {file: file.stat().st_mtime_ns for file in files}


def test_its_nodes_are_trained_and_nothing_is_left(study):
    assert len(written(study.folder)) == 2 + 4
    assert study.planned() == {}


def test_other_arguments_and_another_file_train_its_nodes_alone(study):
    mine, file = study.config["models"]["mine"], study.folder / "my_models.py"
    mine["arguments"] = {"width": 6}
    jobs = study.planned()
    mine["arguments"] = {"width": 4}
    assert jobs["initialise_own"] == 1 and not {"initialise", "prepare_data"} & jobs.keys()
    assert sum(count for rule, count in jobs.items() if rule.startswith("train_")) == 4, jobs
    file.write_text(HOME.read_text() + "\n# changed\n")
    jobs = study.planned()
    file.write_text(HOME.read_text())
    assert jobs["initialise_own"] == 1
    assert sum(count for rule, count in jobs.items() if rule.startswith("train_")) == 4, jobs


def test_a_wrong_model_stops_before_the_first_job(study):
    mine = study.config["models"]["mine"]
    mine["arguments"] = {"width": 4, "channels": 3}
    said = study.snakemake("--dry-run", check=False)
    mine["arguments"] = {"width": 4}
    assert "models.mine: my_models.py:Net takes no images of 1 x 8 x 8, at layer stem.0" in said


def test_the_estimate_counts_it(study):
    (study.folder / "study.yaml").write_text(yaml.safe_dump(study.config))
    command = [sys.executable, "scripts/estimate.py", "--configfile", "study.yaml", "--by", "model"]
    ran = subprocess.run(
        command, cwd=study.folder, env=study.environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "mine" in ran.stdout
