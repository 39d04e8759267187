"""How far a study is: the report, the time left, results of another version, and the program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from study_on_disk import HALFWAY, NOW, ROOT, SCHEMA, STUDY, Tree

from bayesian_lottery.computation import VERSION
from bayesian_lottery.files import read_json, write_json
from bayesian_lottery.running import reports
from bayesian_lottery.running.progress import State
from bayesian_lottery.study import configuration


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Tree:
    monkeypatch.chdir(tmp_path)
    return Tree()


def test_not_started(tree):
    status = tree.status(None)
    assert status.count(State.LEFT) == len(status.jobs) == 1 + 2 + 6
    assert status.eta is None and status.unknown == 6
    text = reports.of_status(status, NOW)
    assert text.splitlines()[-1] == "Nothing is running."


def test_done(tree):
    tree.write("results/data/digits.safetensors")
    for seed in (0, 1):
        tree.write(f"results/initial/digits/lenet_100_50/seed{seed}.safetensors")
    for node in tree.nodes:
        tree.done(node)
    status = tree.status()
    assert status.count(State.DONE) == len(status.jobs)
    assert "Everything is trained." in reports.of_status(status, NOW)


def test_the_eta_is_of_the_work_over_the_jobs_that_run(tree):
    for seed in (0, 1):
        node = tree.node(seed, 0)
        tree.started(node, ago=60)
        tree.log(node, HALFWAY)
    status = tree.status(seconds=100.0)
    assert status.at_once == 2
    assert sum(status.seconds.values()) == 2 * (90 + 100 + 100)  # their own 1m30s, and two levels
    assert status.eta == pytest.approx(290)
    tree.started(tree.node(1, 1), ago=60)  # more at once do not shorten the chain of levels
    tree.log(tree.node(1, 1), "")
    assert tree.status(seconds=100.0).eta == pytest.approx(290)
    assert "About 4m 50s left with 3 at once" in reports.of_status(tree.status(), NOW)


def test_where_nothing_was_measured_running_jobs_tell_of_their_like(tree):
    node = tree.node(0, 0)
    tree.started(node, ago=60)
    tree.log(node, HALFWAY)
    status = tree.status(seconds=None)
    assert status.unknown == 0
    by_node = {job.node: seconds for job, seconds in status.seconds.items()}
    assert by_node[node] == 90 and by_node[tree.node(1, 2)] == 180


def test_nothing_known_of_the_time(tree):
    node = tree.node(0, 0)
    tree.started(node, ago=60)
    tree.log(node, "")
    text = reports.of_status(tree.status(seconds=None), NOW)
    assert "Nothing has been trained yet that would tell the time left." in text


def test_the_report(tree):
    tree.write("results/data/digits.safetensors")
    tree.done(tree.node(0, 0))
    tree.log(tree.node(1, 0), "training diverged: loss not finite in epoch 1.\n")
    lines = reports.of_status(tree.status(), NOW).splitlines()
    rows = {line[:25].strip(): line[25:].split() for line in lines[2:5]}
    assert rows["trunks, deterministic"] == ["6", "1", "0", "1", "4", "16", "%"]
    assert rows["data"] == ["1", "1", "0", "0", "0", "100", "%"]
    assert lines[6].split() == ["total", "9", "2", "0", "1", "6", "22", "%"]
    assert lines[8] == "Nothing is running. 8m 20s of work are left."
    log = f"results/logs/{tree.node(1, 0).folder}.log"
    assert lines[9] == f"Failed: {log}: training diverged: loss not finite in epoch 1."


def test_results_of_another_version_of_the_computation_are_named(tree):
    assert "another version" not in reports.of_status(tree.status(), NOW)
    paths = [tree.computed_by(tree.node(0, level), VERSION + 1) for level in (0, 1)]
    tree.done(tree.node(1, 0))  # from before versions were recorded: 1
    first = [f"results/{tree.node(1, 0).folder}/metrics.json"] if VERSION > 1 else []
    status = tree.status()
    assert status.outdated == [*paths, *first]
    paths = status.outdated
    lines = reports.of_status(status, NOW).splitlines()
    assert lines[-1 - len(paths) : -1] == [
        f"By another version of the computation: {path}" for path in paths
    ]
    assert "--forcerun $(python scripts/status.py --outdated)" in lines[-1]
    assert (
        reports.of_status(status, NOW, reasons=1).splitlines()[-2]
        == f"... and {len(paths) - 1} more."
    )


def test_metrics_that_are_not_believed_are_said_and_their_nodes_left(tree):
    node = tree.node(0, 1)
    path = tree.computed_by(node, VERSION)
    metrics = read_json(path)
    metrics["results"]["peak"]["accuracy"] = 7
    write_json(path, metrics)
    assert tree.state(node) is State.LEFT
    text = reports.of_status(tree.status(), NOW)
    assert f"Not to be used: {path}: key 'results.peak.accuracy' is 7; it must be" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0s"), (59.6, "1m 0s"), (3700, "1h 1m"), (86400 * 1234 + 7300, "1,234d 2h")],
)
def test_durations(seconds, words):
    assert reports.duration(seconds) == words


def test_a_configuration_without_trunks_is_laid_over_the_default_one(tree):
    Path("config").mkdir()
    Path("config/config.yaml").write_text(yaml.safe_dump(STUDY))
    Path("over.yaml").write_text("bayesian: {samples: 2}\n")
    config, nodes = configuration.load(["over.yaml"], ["results=elsewhere"], SCHEMA)
    assert config["bayesian"] == {**tree.config["bayesian"], "samples": 2}
    assert config["results"] == "elsewhere" and nodes == tree.nodes


def test_the_script_lists_what_another_version_has_computed(tree):
    command = [sys.executable, ROOT / "scripts/status.py", "--configfile", "study.yaml"]
    command.append("--outdated")
    assert subprocess.run(command, capture_output=True, check=True).stdout == b""
    paths = [tree.computed_by(tree.node(seed, 0), VERSION + 1) for seed in (0, 1)]
    assert subprocess.run(command, capture_output=True, text=True).stdout.split() == paths


def test_the_script_needs_no_torch(tree):
    code = (
        "import runpy, sys; sys.argv = ['status.py', '--configfile', 'study.yaml'];"
        f" runpy.run_path({str(ROOT / 'scripts/status.py')!r}, run_name='__main__');"
        " assert 'torch' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "Nothing is running." in run.stdout
