"""How far a study is, from synthetic results, logs and Snakemake's notes."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic
import yaml

from bayesian_lottery import study
from bayesian_lottery.computation import VERSION
from bayesian_lottery.files import read_json, write_json
from bayesian_lottery.running import progress, reports, work
from bayesian_lottery.running.progress import State
from bayesian_lottery.study import Node, configuration

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
NOW = 2_000_000_000.0
HALFWAY = "step 40/80, epoch 2, loss 0.5, test accuracy 0.9, 1m30s left\n"
STUDY = {
    "datasets": {"digits": {"source": "digits"}},
    "curricula": {"short": {"epochs": 4, "learning_rate": 0.01}},
    "trunks": [
        {
            "dataset": "digits",
            "model": "lenet_100_50",
            "inference": "deterministic",
            "scorer": "magnitude",
            "curriculum": "short",
            "seeds": [0, 1],
            "levels": 2,
        }
    ],
}


class Tree:
    """A working directory with the study's files, as jobs and Snakemake would write them."""

    def __init__(self):
        Path("study.yaml").write_text(yaml.safe_dump(STUDY))
        self.config, self.nodes = configuration.load(["study.yaml"], [], SCHEMA)

    def node(self, seed: int, level: int) -> Node:
        return next(n for n in self.nodes if (n.seed, n.level) == (seed, level))

    def write(self, path: str | Path, text: str = "", ago: float = 0.0) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (NOW - ago, NOW - ago))

    def done(self, node: Node, **changes) -> None:
        metrics = synthetic.of(node, {**study.node_settings(self.config, node), **changes})
        synthetic.write(Path("results"), [metrics])

    def computed_by(self, node: Node, version: int) -> str:
        """Another version's result, and its path."""
        self.done(node)
        path = f"results/{node.folder}/metrics.json"
        metrics = read_json(path)
        metrics["provenance"]["computation"] = version
        write_json(path, metrics)
        return path

    def log(self, node: Node, text: str, ago: float = 0.0) -> None:
        self.write(f"results/logs/{node.folder}.log", text, ago)

    def started(self, node: Node, ago: float = 0.0) -> None:
        """Snakemake's marker, as its persistence writes it where names have up to 100 letters."""
        coded = base64.urlsafe_b64encode(f"results/{node.folder}/metrics.json".encode()).decode()
        parts = [coded[i : i + 99] for i in range(0, len(coded), 99)]
        *folders, name = parts
        marker = Path(".snakemake/incomplete", *("@" + part for part in folders), name)
        self.write(marker, '{"external_jobid": null}', ago)

    def failed(self, node: Node) -> None:
        self.write(
            ".snakemake/log/2033-05-18T033320.000000.snakemake.log",
            "[Wed May 18 03:33:20 2033]\nError in rule train_level:\n    jobid: 8\n"
            f"    log: results/logs/{node.folder}.log (check log file(s) for error details)\n",
        )

    def status(self, seconds: float | None = 100.0) -> progress.Status:
        found = work.runs("results")
        return progress.status(
            self.config, self.nodes, found, lambda settings: seconds, Path(".snakemake"), NOW
        )

    def state(self, node: Node) -> State:
        return next(seen.state for seen in self.status().jobs if seen.job.node == node)


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


def test_jobs_of_all_stages(tree):
    jobs = work.jobs(tree.config, tree.nodes)
    assert [str(job.output) for job in jobs[:3]] == [
        "results/data/digits.safetensors",
        "results/initial/digits/lenet_100_50/seed0.safetensors",
        "results/initial/digits/lenet_100_50/seed1.safetensors",
    ]
    assert {str(job.output) for job in jobs[3:]} == set(study.metrics_files(tree.config))
    assert {str(job.log) for job in jobs[3:]} == {
        f"results/logs/{node.folder}.log" for node in tree.nodes
    }


def test_done(tree):
    tree.write("results/data/digits.safetensors")
    for seed in (0, 1):
        tree.write(f"results/initial/digits/lenet_100_50/seed{seed}.safetensors")
    for node in tree.nodes:
        tree.done(node)
    status = tree.status()
    assert status.count(State.DONE) == len(status.jobs)
    assert "Everything is trained." in reports.of_status(status, NOW)


def test_a_result_of_other_settings_is_left(tree):
    node = tree.node(0, 0)
    tree.done(node, prune_fraction=0.9)
    tree.log(node, "step 80/80, epoch 4, loss 0.1, 0m00s left\n")
    assert tree.state(node) is State.LEFT
    Path(f"results/{node.folder}/metrics.json").write_text("{")
    assert tree.state(node) is State.LEFT


@pytest.mark.parametrize(
    ("log", "quiet", "state"),
    [
        ("", 0, State.RUNNING),
        (HALFWAY, 5, State.RUNNING),
        ("resuming at step 30 of 80\n", 5, State.RUNNING),
        ("UserWarning: not deterministic\n", 5, State.RUNNING),
        (HALFWAY, progress.QUIET_SECONDS + 1, State.STOPPED),
        (HALFWAY + "stopped after step 41 of 80\n", 5, State.STOPPED),
        (HALFWAY + "Traceback (most recent call last):\nKeyboardInterrupt\n", 5, State.STOPPED),
    ],
)
def test_started_by_snakemake(tree, log, quiet, state):
    node = tree.node(0, 0)
    tree.started(node, ago=quiet + 60)
    tree.log(node, log, ago=quiet)
    assert tree.state(node) is state


def test_a_fresh_checkpoint_says_that_it_runs(tree):
    node = tree.node(0, 0)
    tree.started(node, ago=9999)
    tree.log(node, HALFWAY, ago=9000)
    tree.write(f"results/{node.folder}/checkpoint.safetensors", ago=10)
    assert tree.state(node) is State.RUNNING


def test_queued_until_its_log_begins(tree):
    node = tree.node(0, 0)
    tree.started(node, ago=9999)
    assert tree.state(node) is State.QUEUED
    tree.log(node, "CUDA out of memory\n", ago=20_000)  # an earlier attempt's
    assert tree.state(node) is State.QUEUED
    assert "Waiting in the cluster's queue: 1." in reports.of_status(tree.status(), NOW)


@pytest.mark.parametrize(
    ("log", "listed", "quiet", "state"),
    [
        ("training diverged: loss not finite.\n", False, 5, State.FAILED),
        (HALFWAY, True, 5, State.FAILED),  # killed, for its memory perhaps
        ("", True, 5, State.FAILED),
        (HALFWAY + "stopped after step 41 of 80\n", True, 5, State.STOPPED),
        (HALFWAY, False, 5, State.RUNNING),  # by hand, or another folder's Snakemake
        (HALFWAY, False, 600, State.STOPPED),
        ("", False, 5, State.LEFT),
        ("training on a card, torch 2.11.0, float32 activations\n", False, 5, State.LEFT),
    ],
)
def test_not_or_no_longer_listed_by_snakemake(tree, log, listed, quiet, state):
    node = tree.node(0, 0)
    tree.log(node, log, ago=quiet)
    if listed:
        tree.failed(node)
    assert tree.state(node) is state


def test_started_again_after_a_failure_is_running(tree):
    node = tree.node(0, 0)
    tree.failed(node)
    tree.started(node, ago=30)
    tree.log(node, HALFWAY, ago=1)
    assert tree.state(node) is State.RUNNING


def test_only_the_last_snakemakes_failures_count(tree):
    node = tree.node(0, 0)
    tree.failed(node)
    tree.write(".snakemake/log/2033-05-19T033320.000000.snakemake.log", "Building DAG of jobs...\n")
    assert progress.failed_logs(Path(".snakemake")) == set()


def test_a_checkpoint_alone_is_stopped(tree):
    node = tree.node(0, 0)
    tree.write(f"results/{node.folder}/checkpoint.safetensors", ago=600)
    assert tree.state(node) is State.STOPPED


def test_markers_are_read_as_snakemake_writes_them(tmp_path):
    persistence = pytest.importorskip("snakemake.persistence.file")
    incomplete = tmp_path / "incomplete"
    incomplete.mkdir()
    writer = object.__new__(persistence.FilePersistence)
    writer._max_len = None
    names = ["results/short/metrics.json", f"results/{'long/' * 60}metrics.json"]
    for name in names:
        writer._io_write(str(incomplete), {"external_jobid": None}, name)
    (incomplete / "migration_underway").write_text("")
    assert set(progress.started_jobs(tmp_path)) >= set(names)


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
