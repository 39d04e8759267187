"""Partial work on a real study: what a change reruns, and what it leaves alone."""

import ast
import copy
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bayesian_lottery.computation import VERSION
from bayesian_lottery.files import read_json, write_json

ROOT = Path(__file__).parents[2]
SHARED = {
    "dataset": "digits",
    "model": "lenet_100_50",
    "curriculum": "short",
    "seeds": [0],
    "levels": 3,
}
RESULTS = "my résultats; touch pwned"  # what a shell would take apart, were it not quoted
STUDY = {
    "results": RESULTS,
    "datasets": {"digits": {"source": "digits"}},
    "curricula": {
        "short": {"epochs": 1, "learning_rate": 0.01},
        "other": {"epochs": 1, "learning_rate": 0.02},
    },
    "bayesian": {"samples": 2},
    "evaluation": {"samples": 2, "passes": 2},
    "trunks": [
        {**SHARED, "inference": "deterministic", "scorer": "magnitude"},
        {**SHARED, "inference": "bayesian", "scorer": "snr", "levels": 2},
        {**SHARED, "inference": "deterministic", "scorer": "magnitude", "curriculum": "other"},
    ],
    "branches": [{"branch": "reinit", "scorer": "magnitude", "curriculum": "short", "levels": [2]}],
}
TRUNK = f"{RESULTS}/runs/digits/lenet_100_50/deterministic/short/seed0/magnitude_imp"


def checkout(folder: Path) -> None:
    """Copy what of the project runs studies."""
    for name in ("config", "profiles", "scripts", "src", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


class Study:
    """A checkout with a configuration and whatever has been computed in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = copy.deepcopy(STUDY)
        # The checkout's own package, in the warm server too.
        self.environment = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(folder / "src")}

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config))
        command = [sys.executable, ROOT / "scripts/warm.py"] if "--dry-run" not in arguments else []
        command += [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        run = subprocess.run(
            [*command, "--configfile", "study.yaml"],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert not check or run.returncode == 0, run.stdout
        return run.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule would run."""
        text = self.snakemake("--dry-run", "--quiet", "rules", *arguments)
        rows = re.findall(r"^(\w+) +(\d+)$", text, flags=re.MULTILINE)
        found = {rule: int(count) for rule, count in rows}
        return {rule: n for rule, n in found.items() if rule not in ("all", "total")}

    def trained(self, *arguments: str) -> dict[str, int]:
        """The jobs that would train."""
        return {r: n for r, n in self.planned(*arguments).items() if r.startswith("train_")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A study that has run to its end."""
    folder = tmp_path_factory.mktemp("finished")
    checkout(folder)
    Study(folder).snakemake()
    assert (folder / RESULTS).is_dir() and not (folder / "pwned").exists()
    return folder


@pytest.fixture
def study(finished, tmp_path) -> Study:
    """A copy of the finished study, to change as a test likes."""
    shutil.copytree(finished, tmp_path / "study", symlinks=True)
    return Study(tmp_path / "study")


def test_a_finished_study_has_nothing_to_do(study):
    assert study.planned() == {}


def test_one_level_again_reruns_that_level_and_nothing_below_it(study):
    level = f"{TRUNK}/level02"
    mask = (study.folder / level / "next_mask.safetensors").read_bytes()
    assert study.trained("--force", f"{level}/metrics.json") == {"train_level": 1}
    study.snakemake("--force", f"{level}/metrics.json")
    assert (study.folder / level / "next_mask.safetensors").read_bytes() == mask
    rest = study.planned()
    assert not any(rule.startswith("train_") for rule in rest), rest
    assert "aggregate" in rest  # its metrics may say another time


def test_a_new_seed_model_or_branch_runs_only_the_new_nodes(study):
    study.config["trunks"][0]["seeds"] = [0, 1]
    expected = {"train_dense_deterministic": 1, "train_level": 3, "train_branch": 1}
    assert study.trained() == expected
    study.config["trunks"][0]["seeds"] = [0]
    study.config["trunks"][1]["model"] = ["lenet_100_50", "lenet_300_100"]
    assert study.trained() == {"train_dense_bayesian": 1, "train_level": 2}
    study.config["trunks"][1]["model"] = "lenet_100_50"
    study.config["branches"][0]["branch"] = ["reinit", "shuffle_even"]
    study.config["branches"][0]["replicates"] = 2
    assert study.trained() == {"train_branch": 3}


def test_more_levels_continue_the_trunk(study):
    study.config["trunks"][1]["levels"] = 3
    assert study.trained() == {"train_level": 1}


def test_a_changed_curriculum_reruns_its_trunk_alone(study):
    study.config["curricula"]["other"]["learning_rate"] = 0.03
    assert study.trained() == {"train_dense_deterministic": 1, "train_level": 3}


def test_unrelated_keys_rerun_nothing(study):
    study.config |= {"checkpoint_seconds": 7, "device": "cpu"}
    study.config["curricula"]["unused"] = {"epochs": 1, "learning_rate": 0.1}
    study.config["datasets"]["unused"] = {"source": "digits"}
    assert study.planned() == {}


def test_a_setting_that_came_later_reruns_nothing_until_it_says_something_else(study):
    study.config["compute"] = {"deterministic": True}
    assert study.planned() == {}
    study.config["compute"] = {"deterministic": False}
    assert sum(study.trained().values()) == 12


def test_a_deleted_figure_is_drawn_again_alone(study):
    figure = study.folder / RESULTS / "figures/figure1.png"
    figure.unlink()
    assert study.planned() == {"plot_figure1": 1}
    study.snakemake()
    assert figure.exists()


def test_another_style_redraws_and_trains_nothing(study):
    style = study.folder / "config/figures.mplstyle"
    style.write_text(style.read_text() + "\nlines.linewidth: 3\n")
    planned = study.planned()
    assert planned and all(rule.startswith("plot_") for rule in planned), planned


def test_a_damaged_mask_is_noticed_and_not_used(study):
    mask = study.folder / TRUNK / "level01/next_mask.safetensors"
    whole = mask.read_bytes()
    mask.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    output = study.snakemake(check=False)
    assert "Error" in output
    log = study.folder / TRUNK.replace("/runs", "/logs/runs") / "level02.log"
    sentence = log.read_text().splitlines()[-1]
    path = mask.relative_to(study.folder)
    assert sentence.startswith(f"error: {path}: damaged")
    assert f"`rm {shlex.quote(str(path))}`" in sentence
    assert not (study.folder / TRUNK / "level02/metrics.json").exists()
    mask.unlink()
    study.snakemake()
    assert study.planned() == {}


def test_several_networks_a_job_make_the_tables_of_one_a_job(finished, tmp_path):
    for name in ("config", "profiles", "scripts", "src", "workflow"):
        shutil.copytree(finished / name, tmp_path / name)
    packed = Study(tmp_path)
    packed.config["networks_per_job"] = 3
    # All twelve nodes differ in inference, curriculum or level; another seed fits beside them.
    assert sum(packed.trained().values()) == 12
    packed.config["trunks"][0]["seeds"] = [0, 1]
    assert sum(packed.trained().values()) == 12
    packed.config["trunks"][0]["seeds"] = [0]
    packed.snakemake()
    assert packed.planned() == {}
    tables = [pd.read_csv(path / RESULTS / "tables/runs.csv") for path in (finished, tmp_path)]
    same = [
        name
        for name, column in tables[0].items()
        if "seconds" not in name and name not in ("peak_memory_bytes", "git_commit", "device")
    ]
    pd.testing.assert_frame_equal(*(table[same] for table in tables), rtol=1e-3, atol=1e-3)


def test_damaged_metrics_are_noticed_and_not_used(study):
    metrics = study.folder / TRUNK / "level02/metrics.json"
    metrics.write_text(metrics.read_text().replace('"level": 2', '"level": 3'))
    assert "Error" in study.snakemake(check=False)
    log = (study.folder / RESULTS / "logs/aggregate.log").read_text()
    assert "level02/metrics.json: damaged" in log
    metrics.unlink()
    study.snakemake()
    assert study.planned() == {}


def test_results_of_another_version_are_named_and_trained_again_by_one_command(study):
    """The code that trains is no input of the jobs; its version is what tells results apart."""

    def outdated() -> list[str]:
        command = [sys.executable, "scripts/status.py", "--configfile", "study.yaml", "--outdated"]
        output = subprocess.check_output(command, cwd=study.folder, env=study.environment)
        return output.decode().splitlines()

    assert study.trained("--forcerun", *outdated()) == {}
    module = study.folder / "src/bayesian_lottery/computation.py"
    module.write_text(
        module.read_text().replace(f"VERSION = {VERSION}", f"VERSION = {VERSION + 1}")
    )
    assert study.trained() == {}
    paths = outdated()
    assert len(paths) == 12 and all((study.folder / path).is_file() for path in paths)
    study.snakemake("tables", "--forcerun", *paths)
    assert outdated() == [] and study.trained() == {}
    runs = pd.read_csv(study.folder / RESULTS / "tables/runs.csv")
    assert set(runs["computation"]) == {VERSION + 1}


def test_a_level_asks_for_what_the_dense_network_took(study):
    study.config["device"] = "cpu"
    dense = study.folder / TRUNK.replace("magnitude_imp", "dense/metrics.json")
    metrics = read_json(dense)
    assert metrics["cost"]["peak_main_memory_bytes"] == metrics["cost"]["peak_memory_bytes"]
    metrics["cost"] |= {"peak_main_memory_bytes": 4e9, "seconds": 600}
    write_json(dense, metrics)
    level = f"{TRUNK}/level02"
    study.snakemake("--force", f"{level}/metrics.json", "--benchmark-extended")
    table = study.folder / f"{level.replace('/runs', '/benchmarks/runs', 1)}.tsv"
    asked = ast.literal_eval(pd.read_csv(table, sep="\t")["resources"][0])
    assert (asked["mem_mb"], asked["runtime"], asked["gpu"]) == (400 + 1.5 * 4000, 10 + 2 * 10, 0)


def documented() -> list[str]:
    """The files that results/README.md names, as patterns."""
    first, _, of_nodes = (ROOT / "results/README.md").read_text().partition("of a node:")

    def names(text: str) -> list[str]:
        cells = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
        return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]

    folders = [name for name in names(first) if name.endswith("/")]
    files, rest = names(of_nodes), [name for name in names(first) if name not in folders]
    return rest + [folder + file for folder, file in itertools.product(folders, files)]


# Of jobs that do not end, and of what this study does not have: other searches (test_searches.py),
# samplers (test_montecarlo_miniature.py) and exports (test_ways_miniature.py).
SOMETIMES = {
    "checkpoint.safetensors",
    "checkpoint.damaged.safetensors",
    "next_mask_{scorer}_….safetensors",
    "distances.csv",
    "level{level}.safetensors",
    "seen.safetensors",
    "draws.safetensors",
    "exports.json",
    *(f"{table}.{kind}" for table in ("agreement", "exports") for kind in ("csv", "parquet")),
    *(f"table{number}.{kind}" for number in (2, 3) for kind in ("csv", "html")),
}


def pattern(name: str) -> str:
    plain = re.escape(name).replace("…", ".+").replace(r"\{job\}", ".+")
    return re.sub(r"\\{\w+\\}", "[^/]+", plain)


def test_the_results_are_what_their_readme_says(finished):
    root = finished / RESULTS
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    patterns = [pattern(name) for name in documented()]
    unknown = [file for file in files if not any(re.fullmatch(p, file) for p in patterns)]
    assert unknown == []
    folders = {""}  # what is left of exports/
    for name in {name.rpartition("/")[2] for name in documented()} - SOMETIMES - folders:
        assert any(re.fullmatch(f"(.+/)?{pattern(name)}", file) for file in files), name


def test_a_reports_front_page_says_what_the_study_is(study):
    study.snakemake("--report", "report.html")
    html = (study.folder / "report.html").read_text()
    front = json.loads(re.search(r"var workflow_desc = (.*);$", html, flags=re.MULTILINE)[1])
    assert "Lottery tickets in Bayesian neural networks" in front
    assert "lenet_100_50 on digits, bayesian" in re.sub(r"\s+", " ", front)
    assert front.count("<li>") == len(study.config["trunks"])
    assert (ROOT / "workflow/report/report.css").read_text() in html
    words = re.sub(r"\s|\\n", " ", html)
    assert "Each network is measured at the epoch with the highest accuracy" in words
    assert "figures: {figure1: {statistic: selected}}" in re.sub(r"<[^>]*>", "", words)
