"""Several networks in one SLURM job, side by side on one GPU."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from project import Node, Project

pytestmark = pytest.mark.slurm

TRUNK = "runs/digits/lenet_100_50/deterministic/long/seed0"
LEVEL = f"{TRUNK}/magnitude_imp/level01"
BRANCHES = [f"{LEVEL}/reinit_{replicate}" for replicate in range(8)]
TARGETS = [f"results/{branch}/metrics.json" for branch in BRANCHES]
MEMORY = ["--set-resources", "train_pack_3:mem_mb=2000*attempt"]  # after dense and level 1


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a local run; asks for the cluster first, which may skip."""
    project = Project.fresh(tmp_path_factory.mktemp("undisturbed"), "packing.yaml", *TARGETS)
    project.locally().finish()
    return project


@pytest.fixture
def project(undisturbed: Project, idle_cluster: Cluster, tmp_path: Path) -> Iterator[Project]:
    """A project whose branches are to be trained."""
    folder = tmp_path / "project"
    shutil.copytree(undisturbed.folder, folder, symlinks=True)
    shutil.rmtree(folder / "results" / LEVEL)
    project = Project(folder, "packing.yaml", *TARGETS)
    yield project
    project.close()


def numbers(project: Project) -> list[dict]:
    return [Node(project, branch).numbers() for branch in BRANCHES]


def asked_for(job: int) -> list[str]:
    """Cores, memory and GPUs."""
    fields = "--Format=NumCPUs:|,MinMemory:|,tres-per-job:|"
    command = ["squeue", "--states=all", "--noheader", f"--jobs={job}", fields]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return found.strip().split("|")[:3]


def test_networks_share_a_job_and_its_gpu(
    project: Project, undisturbed: Project, cluster: Cluster
) -> None:
    before = set(cluster.squeue())
    project.on_cluster(*MEMORY).finish()
    (job,) = set(cluster.squeue()) - before
    assert asked_for(job) == ["1", "2000M", "gres:gpu:1"]
    assert {Node(project, branch).metrics["cost"]["side_by_side"] for branch in BRANCHES} == {8}
    assert numbers(project) == numbers(undisturbed)


def test_all_resume_after_a_cancellation(
    project: Project, undisturbed: Project, cluster: Cluster
) -> None:
    run = project.on_cluster(*MEMORY)
    Node(project, BRANCHES[0]).freeze()
    cluster.scancel(max(cluster.squeue()))
    run.finish()
    assert all(Node(project, branch).resumed for branch in BRANCHES)
    assert numbers(project) == numbers(undisturbed)
