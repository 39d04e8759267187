"""A full or read-only disk at any point of a study: one sentence, and the command goes on later."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from project import ROOT, Project, fill, small_disk

SEED = "results/runs/digits/lenet_100_50/deterministic/long/seed0"
STAGES = {
    "prepare_data": "results/data/digits.safetensors",
    "initialise": "results/initial/digits/lenet_100_50/seed0.safetensors",
    "train_dense_deterministic": f"{SEED}/dense/metrics.json",
    "train_level": f"{SEED}/magnitude_imp/level01/metrics.json",
    "aggregate": "results/tables/runs.parquet",
    "plot_figure1": "results/figures/figure1.png",
}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


def files(folder: Path) -> dict[Path, bytes]:
    """What lies in a folder, without logs, locks, benchmarks and checkpoints, and without
    counts.json, which is so small that a full disk takes it."""
    kept = (path for path in folder.rglob("*") if path.is_file())
    return {
        path: path.read_bytes()
        for path in kept
        if path.name not in (".lock", "counts.json")
        and not {"logs", "benchmarks"} & set(path.relative_to(folder).parts)
        and not path.name.startswith("checkpoint")
    }


def output_of_failure(project: Project) -> str:
    run = project.locally(1)
    assert run.wait() == 1, run.output
    assert "Traceback" not in run.output and "--settings" not in run.output, run.output
    return run.output


def test_full_and_read_only_disks(tmp_path: Path) -> None:
    study = yaml.safe_load((ROOT / "tests/slurm/fault.yaml").read_text())
    study["curricula"]["long"]["epochs"] = 2
    project = Project.fresh(tmp_path, "fault.yaml")
    (tmp_path / "config/fault.yaml").write_text(yaml.safe_dump(study))
    (tmp_path / "results").mkdir()
    with small_disk(project, "32m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        output = output_of_failure(Project(tmp_path, "fault.yaml"))
        assert "results: cannot be written (Read-only file system)" in output
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)

        for rule, target in STAGES.items():
            stage = Project(tmp_path, "fault.yaml", target)
            before = files(disk)
            fill(disk / "ballast")
            output = output_of_failure(stage)
            (disk / "ballast").unlink()
            (sentence,) = (line for line in output.splitlines() if " failed to make " in line)
            assert sentence.startswith(f"{rule} failed") and "No space left" in sentence
            assert files(disk) == before, "something half-written is left"
            stage.locally().finish()
            assert (tmp_path / target).exists()
