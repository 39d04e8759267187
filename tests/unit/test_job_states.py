"""Which jobs a study has, and the state of each by its files, its log and Snakemake's notes."""

import logging
from pathlib import Path

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from study_on_disk import HALFWAY, NOW, Tree

from bayesian_lottery import study
from bayesian_lottery.running import failures, progress, reports, work
from bayesian_lottery.running.progress import State

DRAWING = "draw 340/1600, potential 812.4, acceptance 0.86, 1m30s left\n"


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Tree:
    monkeypatch.chdir(tmp_path)
    return Tree()


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
        (DRAWING, 5, State.RUNNING),
        (DRAWING, progress.QUIET_SECONDS + 1, State.STOPPED),
        (DRAWING + "stopped after draw 341 of 1600\n", 5, State.STOPPED),
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
        (DRAWING, False, 600, State.STOPPED),
        (DRAWING + "stopped after draw 341 of 1600\n", True, 5, State.STOPPED),
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


@pytest.mark.parametrize("more", [[], ["slurm_logs/7.log"]])
def test_a_failure_is_read_as_the_shortened_report_names_it(tmp_path, more):
    job = tmp_path / "my results/logs/x.log"
    job.parent.mkdir(parents=True)
    job.write_text(HALFWAY)
    record = logging.LogRecord("snakemake", logging.ERROR, "", 0, "Error in rule", (), None)
    vars(record).update(
        {"event": LogEvent.JOB_ERROR, "rule_name": "train_level", "output": ["x/metrics.json"]},
        rule_msg=None, aux={}, log=[str(job), *more],
    )  # fmt: skip
    assert failures.shorten(record)
    notes = tmp_path / "log/2033-05-18T033320.000000.snakemake.log"
    notes.parent.mkdir()
    notes.write_text(f"Building DAG of jobs...\n{record.getMessage()}\nShutting down\n")
    assert progress.failed_logs(tmp_path) == {str(job)}


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
