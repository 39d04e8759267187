"""The graph, as Snakemake's dry run sees it: no job runs, and nothing is downloaded."""

import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]

STUDY = {
    "datasets": {"digits": {"source": "digits"}},
    "curricula": {"short": {"epochs": 2, "learning_rate": 0.01}},
    "trunks": [
        {
            "dataset": "digits",
            "model": "lenet_100_50",
            "inference": "bayesian",
            "scorer": ["snr", "mu"],
            "rewind": ["imp", "lrr"],
            "curriculum": "short",
            "seeds": [0, 1],
            "levels": 3,
        }
    ],
}
SEED = "results/runs/digits/lenet_100_50/bayesian/short/seed0"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """The repository without results, and a small study in study.yaml."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("config", "profiles", "scripts", "slurm", "src", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return folder


def snakemake(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=checkout,
        env={**os.environ, "NO_COLOR": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def jobs(checkout: Path, *arguments: str) -> dict[str, int]:
    """How many jobs of each rule a dry run finds."""
    run = snakemake(checkout, *arguments, "--dry-run", "--quiet", "rules")
    assert run.returncode == 0, run.stdout
    rows = re.findall(r"^(\w+) +(\d+)$", run.stdout, flags=re.MULTILINE)
    return {rule: int(count) for rule, count in rows}


def test_every_node_is_trained_once(checkout):
    found = jobs(checkout, "--configfile", "study.yaml")
    plots = {rule for rule in found if rule.startswith("plot_")}
    assert {"plot_figure1", "plot_figure8"} <= plots and "plot_figure3" not in plots
    assert {rule: count for rule, count in found.items() if rule not in plots} == {
        "prepare_data": 1,
        "initialise": 2,
        "count": 1,
        "train_dense_bayesian": 2,
        "train_level": 2 * 2 * 3,
        "train_level_lrr": 2 * 2 * 3,
        "aggregate": 1,
        "claims": 1,
        "explorer": 1,
        "all": 1,
        "total": 34 + len(plots),
    }


def level_rules(checkout: Path, **changes) -> dict[str, int]:
    """How many jobs of each rule train levels and branches, in the study with other keys."""
    (checkout / "changed.yaml").write_text(yaml.safe_dump({**STUDY, **changes}))
    found = jobs(checkout, "trunks", "--configfile", "changed.yaml")
    return {rule: count for rule, count in found.items() if rule.startswith("train_")}


def test_a_branch_without_draws_from_a_samplers_dense_network_keeps_none(checkout):
    trunk = {**STUDY["trunks"][0], "inference": "sgld", "scorer": "snr", "rewind": "imp"}
    assert level_rules(
        checkout,
        trunks=[{**trunk, "seeds": [0], "levels": 1}],
        branch_kinds={"plain": {"inference": "deterministic"}},
        branches=[{"branch": "plain", "levels": [0, 1]}],
    ) == {
        "train_dense_sgld_and_keep_draws": 1,
        "train_level_and_keep_draws": 1,
        "train_branch": 2,
    }


def test_names_may_end_as_a_rewind_is_called(checkout):
    trunk = {**STUDY["trunks"][0], "scorer": "snr", "seeds": [0], "levels": 1}
    assert level_rules(
        checkout,
        rewinds={"my_imp": {"kind": "lrr"}},
        searches={"set_late": {"kind": "dynamic", "every": 5}},
        trunks=[
            {**trunk, "rewind": ["imp", "my_imp"]},
            {**trunk, "rewind": "imp", "search": "set_late"},
        ],
    ) == {
        "train_dense_bayesian": 1,
        "train_level": 1,
        "train_level_my_imp": 1,
        "train_level_alone": 1,
    }


def test_a_pool_writes_into_a_folder_whose_name_has_a_space(checkout):
    study = {
        **STUDY,
        "results": "my results",
        "trunks": [{**STUDY["trunks"][0], "scorer": "snr", "rewind": "imp"}],
        "branch_kinds": {"both": {"pool": "seeds", "members": 2}},
        "branches": [{"branch": "both", "levels": [0], "seeds": [0]}],
    }
    (checkout / "pooled.yaml").write_text(yaml.safe_dump(study))
    folder = f"{SEED.replace('results', 'my results')}/dense/both_0"
    target = f"{folder}/metrics.json"
    run = snakemake(checkout, target, "--configfile", "pooled.yaml", "-n", "--printshellcmds")
    assert run.returncode == 0, run.stdout
    (command,) = (line for line in run.stdout.splitlines() if "pool.py" in line)
    words = shlex.split(command)
    assert words[words.index("--folder") + 1] == folder


def test_a_level_is_asked_for_by_its_path_and_needs_the_levels_before_it(checkout):
    target = f"{SEED}/snr_lrr/level02/metrics.json"
    found = jobs(checkout, target, "--configfile", "study.yaml")
    assert found["train_level_lrr"] == 2
    assert found["total"] == 5


@pytest.mark.parametrize("target", ["trunks", "tables", "figures"])
def test_there_is_a_target_for_each_stage(checkout, target):
    assert jobs(checkout, target, "--configfile", "study.yaml")[target] == 1


def test_a_configuration_without_trunks_is_laid_over_the_default_one(checkout):
    (checkout / "overlay.yaml").write_text("bayesian: {samples: 2}\n")
    assert jobs(checkout, "--configfile", "overlay.yaml") == jobs(checkout)


def test_the_slurm_profile_is_found_by_its_short_name(checkout):
    found = jobs(checkout, "--profile", "slurm", "--configfile", "study.yaml")
    assert found == jobs(checkout, "--configfile", "study.yaml")


def test_the_paper_takes_seconds_to_plan(checkout):
    def cpu_seconds() -> float:  # the wall clock would measure this machine's other work too
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = cpu_seconds()
    found = jobs(checkout, "--configfile", "config/cifar10.yaml")
    seconds = cpu_seconds() - before
    print(f"{found['total']} jobs in {seconds:.1f} s of CPU")
    assert found["train_dense_deterministic"] == found["train_dense_bayesian"]
    assert found["total"] > 1800
    assert seconds < 30  # of busy and slow machines, too; more than that is another order of growth


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"trunk": []}, "'trunk' is not a key; did you mean 'trunks'?"),
        (
            {"curricula": {"short": {"epochs": 2, "learning_rate": -1}}},
            "it must be a number of at least 1e-12",
        ),
        ({"curricula": {}}, "trunks entry 1.curriculum: 'short' is not known"),
        ({"trunks": STUDY["trunks"] * 2}, "is listed twice (entries 1 and 2)."),
        ({"datasets": {"digits": {"source": "digit"}}}, "'digit' is not known; choose from"),
    ],
)
def test_a_bad_configuration_is_refused_in_a_sentence(checkout, change, sentence):
    (checkout / "bad.yaml").write_text(yaml.safe_dump({**STUDY, **change}))
    run = snakemake(checkout, "--configfile", "bad.yaml", "--dry-run")
    assert run.returncode != 0
    assert sentence in run.stdout
    assert "Traceback" not in run.stdout
    assert len(run.stdout.splitlines()) < 10


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (f"{SEED}/snr_imp/level99/metrics.json", "its last level is 3."),
        (f"{SEED}/sn_imp/level02/metrics.json", f"did you mean {SEED[8:]}/snr_imp/level02?"),
        (f"{SEED}/snr_imp/levl02/metrics.json", "No rule to produce"),
        ("results/figures/figure99.png", "No rule to produce"),
        ("results/figures/figure3.png", "figure3 is left out: There is no branch shuffle_"),
    ],
)
def test_a_target_outside_the_study_is_refused_in_a_sentence(checkout, target, sentence):
    run = snakemake(checkout, target, "--configfile", "study.yaml", "--dry-run")
    assert run.returncode != 0
    assert sentence in run.stdout
    assert "Traceback (most recent call last)" not in run.stdout
    assert "figures" not in target or "Traceback" not in run.stdout


def test_scripts_refuse_in_the_words_of_the_workflow(checkout):
    (checkout / "twice.yaml").write_text(yaml.safe_dump(STUDY) + "datasets: {}\n")
    runs = [snakemake(checkout, "--configfile", "twice.yaml", "--dry-run")]
    for script in ("estimate", "status"):
        command = [sys.executable, f"scripts/{script}.py", "--configfile", "twice.yaml"]
        runs.append(
            subprocess.run(
                command, cwd=checkout, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        )
    for run in runs:
        assert run.returncode == 1
        assert re.search(r"twice.yaml, line \d+: the key 'datasets' is in line \d+", run.stdout)
        assert "Traceback" not in run.stdout


def test_a_default_configuration_that_cannot_be_read_is_refused(checkout, tmp_path):
    for path in checkout.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "config").unlink()
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-16")
    run = snakemake(tmp_path, "--dry-run")
    assert run.returncode == 1 and "Traceback" not in run.stdout
    assert "config/config.yaml: not UTF-8 text; save it in that encoding." in run.stdout


@pytest.mark.parametrize("text", ["{x}", "<results>", "$(touch pwned)"])
def test_text_with_a_meaning_elsewhere_is_text(checkout, text):
    change = {
        "claims": {"curricula": {"main": text}},
        "figures": {"figure3": {"layer": text}},
        "branches": [{"branch": "shuffle_even", "levels": [1]}],
    }
    (checkout / "text.yaml").write_text(yaml.safe_dump({**STUDY, **change}))
    found = jobs(checkout, "--configfile", "text.yaml")
    assert found["plot_figure3"] == found["claims"] == 1
    assert not (checkout / "pwned").exists()


def test_snakemake_lints_clean(checkout):
    run = snakemake(checkout, "--configfile", "study.yaml", "--lint")
    assert run.returncode == 0, run.stdout


def test_the_rules_are_formatted():
    command = [sys.executable, "-m", "snakefmt", "--check", "workflow"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0
