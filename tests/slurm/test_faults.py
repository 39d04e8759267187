"""What clusters do to jobs: after each fault the study ends with the numbers of an undisturbed run.

It ends by itself, or when the same command is typed again. The job is stopped in the middle of its
training, so that every fault meets it there.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from project import Node, Project, fill, small_disk, wait_for

pytestmark = pytest.mark.slurm

FOLDER = "runs/digits/lenet_100_50/deterministic/long/seed0/dense"
TARGET = f"results/{FOLDER}/metrics.json"


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """The node after a local run without faults; asks for the cluster first, which may skip."""
    project = Project.fresh(tmp_path_factory.mktemp("undisturbed"), "fault.yaml", TARGET)
    project.locally().finish()
    return Node(project, FOLDER)


@pytest.fixture
def project(undisturbed: Node, idle_cluster: Cluster, tmp_path: Path) -> Iterator[Project]:
    """A project whose data and initial weights are ready, and one node is to be trained."""
    folder = tmp_path / "project"
    shutil.copytree(undisturbed.project.folder, folder, symlinks=True)
    shutil.rmtree(folder / "results/runs")
    project = Project(folder, "fault.yaml", TARGET)
    yield project
    project.close()


@pytest.fixture
def node(project: Project) -> Node:
    return Node(project, FOLDER)


def last_job(cluster: Cluster) -> int:
    return max(cluster.squeue())


def test_time_limit(project: Project, node: Node, undisturbed: Node, cluster: Cluster) -> None:
    run = project.on_cluster(
        "--set-resources",
        "train_dense_deterministic:runtime=1*attempt",
        "train_dense_deterministic:mem_mb=2000",
    )
    node.freeze()
    first = last_job(cluster)
    run.finish()
    assert cluster.squeue()[first].state == "TIMEOUT"
    assert node.resumed
    assert node.numbers() == undisturbed.numbers()


def test_cancelled_job(project: Project, node: Node, undisturbed: Node, cluster: Cluster) -> None:
    run = project.on_cluster()
    node.freeze()
    first = last_job(cluster)
    cluster.scancel(first)
    run.finish()
    assert cluster.squeue()[first].state == "CANCELLED"
    assert node.resumed
    assert node.numbers() == undisturbed.numbers()


def test_node_goes_down_and_comes_back(
    project: Project, node: Node, undisturbed: Node, cluster: Cluster
) -> None:
    run = project.on_cluster()
    node.freeze()
    job = last_job(cluster)
    name = cluster.squeue()[job].node
    cluster.kill_node(name)
    cluster.restore_node(name)
    run.finish()
    assert cluster.squeue()[job].restarts == 1, "SLURM's own requeue, no retry of Snakemake's"
    assert last_job(cluster) == job
    assert node.resumed
    assert node.numbers() == undisturbed.numbers()


def test_preemption(project: Project, node: Node, undisturbed: Node, cluster: Cluster) -> None:
    run = project.on_cluster("--default-resources", "slurm_partition=scavenge", "tasks=1")
    node.freeze()
    job = last_job(cluster)
    name = cluster.squeue()[job].node
    cluster.submit("sleep 1", "-p", "gpu", "--gres=gpu:4", "-N1", "-w", name)
    run.finish()
    assert cluster.squeue()[job].restarts == 1
    assert node.resumed
    assert node.numbers() == undisturbed.numbers()


def test_controller_goes_away_and_comes_back(
    project: Project, node: Node, undisturbed: Node, cluster: Cluster
) -> None:
    run = project.on_cluster()
    process = node.freeze()
    job = last_job(cluster)
    cluster.stop_controller()
    os.kill(process, signal.SIGCONT)
    wait_for((node.folder / "metrics.json").exists, 300, "the job to end without the controller")
    time.sleep(10)  # for queries that fail
    cluster.start_controller()
    run.finish()
    assert last_job(cluster) == job
    assert cluster.squeue()[job].restarts == 0
    assert node.numbers() == undisturbed.numbers()


def test_snakemake_killed_while_its_job_runs(
    project: Project, node: Node, undisturbed: Node, cluster: Cluster
) -> None:
    first = project.on_cluster()
    node.freeze()
    orphan = last_job(cluster)

    rival = project.on_cluster()  # while the first is at work
    assert rival.wait() == 1
    assert f"at work in this folder already, as process {first.process.pid}" in rival.output
    assert cluster.squeue()[orphan].state == "RUNNING"

    first.kill()
    second = project.on_cluster()
    second.finish()
    assert cluster.squeue()[orphan].state == "CANCELLED"
    assert f"Cancelled the jobs of an earlier run: {orphan}." in second.output
    assert ended(orphan) <= started(last_job(cluster)), "two jobs wrote the same files"
    assert node.resumed
    assert node.numbers() == undisturbed.numbers()


def test_snakemake_killed_and_its_job_ends_before_the_restart(
    project: Project, node: Node, undisturbed: Node, cluster: Cluster
) -> None:
    first = project.on_cluster()
    process = node.freeze()
    orphan = last_job(cluster)
    first.kill()
    os.kill(process, signal.SIGCONT)
    cluster.wait_for_state(orphan, "COMPLETED", 60)
    project.on_cluster().finish()
    assert last_job(cluster) == orphan, "what was done was done again"
    assert node.numbers() == undisturbed.numbers()


def test_interrupted(project: Project, node: Node, undisturbed: Node, cluster: Cluster) -> None:
    """Ctrl-C, and the same command again."""
    first = project.on_cluster()
    node.freeze()
    job = last_job(cluster)
    first.process.send_signal(signal.SIGINT)
    assert first.wait() != 0
    cluster.wait_for_state(job, "CANCELLED")
    project.on_cluster().finish()
    assert node.resumed
    assert node.numbers() == undisturbed.numbers()


def test_snakemake_killed_while_its_job_waits(
    project: Project, node: Node, undisturbed: Node, cluster: Cluster
) -> None:
    blocks = [cluster.submit("sleep 600", "-p", "gpu", "--gpus=4", "-w", n) for n in ("g1", "g2")]
    first = project.on_cluster()
    waiting = wait_for(
        lambda: [j.id for j in cluster.squeue().values() if j.state == "PENDING"], 60, "the queue"
    )
    first.kill()
    cluster.scancel(*blocks)
    second = project.on_cluster()
    second.finish()
    assert cluster.squeue()[waiting[0]].state in ("CANCELLED", "COMPLETED")
    assert node.numbers() == undisturbed.numbers()


def test_out_of_memory(project: Project, node: Node, undisturbed: Node, cluster: Cluster) -> None:
    before = set(cluster.squeue())
    run = project.on_cluster(
        "--set-resources", "train_dense_deterministic:mem_mb=500 if attempt == 1 else 2000"
    )
    run.finish()
    first = min(set(cluster.squeue()) - before)
    assert cluster.squeue()[first].state == "FAILED"
    logs = (project.folder / ".snakemake/slurm_logs").rglob(f"{first}.log")
    assert "exceeded memory limit" in next(logs).read_text()
    assert node.numbers() == undisturbed.numbers()


def test_full_and_read_only_results(
    project: Project, node: Node, undisturbed: Node, cluster: Cluster
) -> None:
    with small_disk(project, "4m") as disk:
        ballast = disk / "ballast"
        fill(ballast)
        failed = project.on_cluster("--retries", "0")
        assert failed.wait() == 1
        assert not (node.folder / "metrics.json").exists()

        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        failed = project.on_cluster("--retries", "0")
        assert failed.wait() == 1

        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        project.on_cluster().finish()
        assert node.numbers() == undisturbed.numbers()


def started(job: int) -> str:
    return times(job)[0]


def ended(job: int) -> str:
    return times(job)[1]


def times(job: int) -> list[str]:
    """When the job started and ended, to the second; these compare as text."""
    fields = "--Format=StartTime:|,EndTime:|"
    command = ["squeue", "--states=all", "--noheader", f"--jobs={job}", fields]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return found.strip().split("|")[:2]
