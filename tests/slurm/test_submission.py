"""What SLURM says before and while jobs are submitted, and what a user reads of it."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from cluster import Cluster
from project import SITE, Project, wait_for

pytestmark = pytest.mark.slurm

NODE = "results/runs/digits/lenet_100_50/deterministic/brief/seed0/dense"
UNEDITED = SITE[SITE.index("--slurm-init-seconds-before-status-checks") :]  # no partition


@pytest.fixture
def project(idle_cluster: Cluster, tmp_path: Path) -> Iterator[Project]:
    """A project in which nothing has run."""
    project = Project.fresh(tmp_path, "study.yaml", f"{NODE}/metrics.json")
    yield project
    project.close()


def resource(name: str, value: object) -> list[str]:
    return ["--set-resources", f"train_dense_deterministic:{name}={value}"]


def partition_of(job: int) -> str:
    command = ["squeue", "--states=all", "--noheader", f"--jobs={job}", "--Format=Partition"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_jobs_find_the_partition_that_takes_them(project: Project, cluster: Cluster) -> None:
    """The default partition has no GPU; of the two that have, one is preempted."""
    before = set(cluster.squeue())
    run = project.on_cluster(*resource("mem_mb", 2000), site=UNEDITED)
    run.finish()
    (job,) = set(cluster.squeue()) - before
    assert partition_of(job) == "gpu"
    assert "Jobs go to partition gpu, because SLURM's default does not take" in run.output


@pytest.mark.parametrize(
    ("options", "words", "entry"),
    [
        (resource("runtime", 2000), "gpu, scavenge: at most 1440 minutes", "runtime"),
        (resource("mem_mb", 99999), "gpu, scavenge: at most 16000 MB a node", "mem_mb"),
        (resource("slurm_partition", "cpu"), "cpu: no GPU", "slurm_partition"),
        (resource("slurm_partition", "big"), "no partition big, but cpu, gpu", "slurm_partition"),
        (resource("constraint", "a100"), "refused (Invalid feature specification)", "constraint"),
    ],
)
def test_what_slurm_would_refuse_is_said_before_the_first_job(
    project: Project, cluster: Cluster, options: list[str], words: str, entry: str
) -> None:
    before = set(cluster.squeue())
    run = project.on_cluster(*options, site=UNEDITED)
    assert run.wait(60) == 1
    assert words in run.output and f"{entry} in profiles/slurm/config.yaml" in run.output
    assert "Decode digits" not in run.output and not list(project.folder.glob("results/data/*"))
    assert set(cluster.squeue()) <= before  # it forgets old jobs


def test_a_dry_run_asks_nothing(project: Project, cluster: Cluster) -> None:
    run = project.on_cluster("--dry-run", *resource("slurm_partition", "cpu"), site=UNEDITED)
    run.finish()


def test_a_busy_slurm_is_asked_again_at_no_cost_of_a_retry(
    project: Project, cluster: Cluster
) -> None:
    run = project.on_cluster(*resource("mem_mb", 2000))
    wait_for(lambda: "Decode digits" in run.output, 180, "the first step")
    cluster.stop_controller()
    wait_for(lambda: "is submitted again in" in run.output, 90, "a submission in vain")
    cluster.start_controller()
    run.finish()
    assert "Trying to restart" not in run.output


def test_a_refusal_for_good_costs_no_retries_and_is_a_sentence(
    project: Project, cluster: Cluster
) -> None:
    run = project.on_cluster(*resource("mem_mb", 2000))
    wait_for(lambda: "Decode digits" in run.output, 180, "the first step")
    change = ["scontrol", "update", "PartitionName=gpu"]
    subprocess.run([*change, "State=INACTIVE"], check=True)
    try:
        assert run.wait() == 1
    finally:
        subprocess.run([*change, "State=UP"], check=True)
    (line,) = (line for line in run.output.splitlines() if " failed to make " in line)
    assert "Required partition not available" in line
    assert "Trying to restart" not in run.output and "sbatch call" not in run.output


def test_a_job_that_slurm_took_though_its_answer_was_lost_is_not_there_twice(
    idle_cluster: Cluster,
) -> None:
    from bayesian_lottery.running import (
        submission,  # here: where tests are skipped, that takes a second
    )

    options = ("-p", "cpu", "--job-name=run")
    taken = idle_cluster.submit("sleep 60", *options, "--comment=rule_train_wildcards_a_level1")
    other = idle_cluster.submit("sleep 60", *options, "--comment=rule_train_wildcards_a_level10")
    submitted: list[SimpleNamespace] = []
    with ThreadPoolExecutor() as pool:
        executor = SimpleNamespace(
            run_uuid="run", run_job=submitted.append, _job_submission_executor=pool
        )
        job = SimpleNamespace(name="train", wildcards=["a/level1"])
        submission._submit(executor, job)
    assert submitted == [job]
    idle_cluster.wait_for_state(taken, "CANCELLED")
    assert idle_cluster.squeue()[other].state in ("PENDING", "RUNNING")
