"""The same command again, on one machine: after a kill, and for one level of a large model."""

import shutil
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from project import ROOT, Node, Project, wait_for

DENSE = "runs/digits/lenet_100_50/deterministic/long/seed0/dense"


def fresh(folder: Path, study: dict, target: str) -> Project:
    project = Project.fresh(folder, "fault.yaml", f"results/{target}/metrics.json")
    (folder / "config/fault.yaml").write_text(yaml.safe_dump(study))
    return project


def test_after_a_kill_the_same_command_goes_on(tmp_path: Path) -> None:
    study = yaml.safe_load((ROOT / "tests/slurm/fault.yaml").read_text())
    study["curricula"]["long"]["epochs"] = 100
    project = fresh(tmp_path, study, DENSE)
    node = Node(project, DENSE)
    try:
        killed = project.locally(1)
        orphan = wait_for(node.process, 60, "the training to start")
        killed.kill()
        assert Path(f"/proc/{orphan}").exists()
        project.locally(1).finish()  # while the orphan is at work
        numbers = node.numbers()

        shutil.rmtree(node.folder)
        killed = project.locally(1)
        orphan = wait_for(node.process, 60, "the training to start again")
        killed.kill()
        wait_for(lambda: not Path(f"/proc/{orphan}").exists(), 60, "the orphan to end")
        assert node.numbers() == numbers
        project.locally(1).finish()
        assert node.numbers() == numbers
    finally:
        project.close()


STUDY = {
    "datasets": {"noise": {"source": "imagefolder", "root": "noise", "size": 112}},
    "curricula": {"short": {"epochs": 1, "learning_rate": 0.001, "batch_size": 8}},
    "evaluation": {"batch_size": 8},
    "trunks": [
        {
            "dataset": "noise",
            "model": "lenet_300_100",
            "inference": "deterministic",
            "scorer": "magnitude",
            "curriculum": "short",
            "seeds": [0],
            "levels": 2,
        }
    ],
}
TRUNK = "runs/noise/lenet_300_100/deterministic/short/seed0/magnitude_imp"


def test_one_level_of_a_large_model_again_reruns_nothing_below_it(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "noise" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 256, (112, 112, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"noise/{label}/{number}.png")
    project = fresh(tmp_path, STUDY, f"{TRUNK}/level02")
    project.locally().finish()
    mask = tmp_path / "results" / TRUNK / "level01/next_mask.safetensors"
    assert mask.stat().st_size > 1_400_000
    before = mask.read_bytes()

    level = Project(tmp_path, "fault.yaml", f"results/{TRUNK}/level01/metrics.json")
    again = level.locally(1, "--force")
    again.finish()
    assert "1 of 1 steps" in again.output
    assert mask.read_bytes() == before
    rest = project.locally(1)
    rest.finish()
    assert "Nothing to be done" in rest.output, rest.output
