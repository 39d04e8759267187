"""A full or a read-only disk: one sentence, nothing half-written, and on when there is room.

Full disks are small file systems in memory, which only root may mount.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import synthetic
import torch
from small_study import SmallStudy

from bayesian_lottery import files, study
from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import results
from bayesian_lottery.study import node_metrics

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODEL = "lenet_100_50"
KIB = 1024


def mounted(folder: Path, options: str) -> bool:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """An empty file system of 4 MiB."""
    folder = tmp_path / "disk"
    if not mounted(folder, f"size={4096 * KIB}"):
        pytest.skip("mounting a file system in memory needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # tensors may be mapped still


def fill(disk: Path, room: int) -> Path:
    """Leave `room` bytes on the disk; the file to delete for more."""
    ballast = disk / "ballast"
    status = os.statvfs(disk)
    with ballast.open("wb") as file:
        file.write(bytes(status.f_bavail * status.f_frsize - room))
    return ballast


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["tensors", "text", "json", "parquet", "csv", "figure"])
def test_a_full_disk_is_said_and_leaves_the_old_file(disk, kind):
    path = disk / "folder" / f"out.{kind}"
    frame = pd.DataFrame({"a": range(60_000)})

    def write(scale: int) -> None:
        match kind:
            case "tensors":
                files.write_tensors(path, {"a": torch.rand(scale * 60)})
            case "text":
                files.write_text(path, "x" * scale * 600)
            case "json":
                files.write_json(path, {"a": "x" * scale * 600})
            case "parquet":
                results.write(frame[: 60 * scale], path, disk / "folder/other.csv")
            case "csv":
                with files.atomic(path) as temporary:
                    frame[: 60 * scale].to_csv(temporary)
            case "figure":
                from matplotlib.figure import Figure

                from bayesian_lottery.findings.figures import style

                figure = Figure(figsize=(1, 1 + scale / 50), dpi=300)
                figure.figimage(torch.rand(300, 300 + 6 * scale, 3).numpy())
                style.save(figure, path.with_suffix(".png"))

    write(1)
    before = contents(disk)
    ballast = fill(disk, 40 * KIB)
    with pytest.raises(InputError, match=r"cannot be written \(.*No space left on device.*\)\.$"):
        write(1000)
    ballast.unlink()
    after = contents(disk)
    assert after.keys() == before.keys()
    assert after[next(p for p in after if p.stem == "out")] in before.values()
    write(1000)


def training(small: SmallStudy, node, seconds: float = 1000.0) -> list:
    """The arguments of `scripts/train.py`, as the workflow gives them."""
    tasks = [study.task(small.config, node)]
    paths = [study.files(small.config, node)]
    words = ["--device", "cpu", "--checkpoint-seconds", seconds]
    return [*words, "--tasks", json.dumps(tasks), "--files", json.dumps(paths)]


def ended(monkeypatch, script: str, arguments: list) -> str:
    """The one sentence with which a script ends."""
    path = str(ROOT / f"scripts/{script}.py")
    monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        runpy.run_path(path, run_name="__main__")
    sentence = exited.value.code  # which Python prints, and gives the status 1
    assert isinstance(sentence, str) and sentence.startswith("error: ") and "\n" not in sentence
    return sentence


@pytest.mark.parametrize("seconds", [1000, 0])
def test_training_on_a_disk_that_fills_up_anywhere(disk, tmp_path, seconds):
    """With ever more room, until it suffices; `seconds` 0 writes a checkpoint each step."""
    elsewhere, here = tmp_path / "elsewhere", disk / "study"
    elsewhere.mkdir(), here.mkdir()
    undisturbed, small = SmallStudy(elsewhere), SmallStudy(here)
    undisturbed.train(undisturbed.node(MODEL))
    whole = undisturbed.numbers(undisturbed.node(MODEL))
    node, named = small.node(MODEL), set()
    folder = small.path(node, "metrics.json").parent
    for room in range(0, 640, 4):
        ballast = fill(disk, room * KIB)
        try:
            small.train(node, seconds)
            break
        except (InputError, OSError) as error:
            assert "No space left on device" in str(error) and str(folder.parent) in str(error)
            named.add(Path(str(error).split(": ")[0]).name)
        assert not (folder / "metrics.json").exists()
        for path in folder.glob("*") if folder.exists() else ():
            if path.suffix == ".safetensors":
                files.read_tensors(path)
            else:
                assert path.name in (".lock", "history.csv")
        ballast.unlink()
        if room % 100 == 0:  # there is room: the same command ends as if nothing had happened
            small.train(node, seconds)
            assert small.numbers(node) == whole
        if room % 100 == 0 or seconds:  # Snakemake removes what failed jobs have written
            shutil.rmtree(folder, ignore_errors=True)
    assert small.numbers(node) == whole
    node_metrics.read(small.path(node, "metrics.json"))
    outputs = {"next_mask_magnitude.safetensors", "weights.safetensors", "history.csv"}
    assert named >= ({*outputs, "metrics.json"} if seconds else {"checkpoint.safetensors"}), named


def test_the_script_says_that_the_disk_is_full(disk, monkeypatch):
    small = SmallStudy(disk)
    node = small.node(MODEL)
    fill(disk, 32 * KIB)
    assert ended(monkeypatch, "train", training(small, node, 0)) == (
        f"error: {small.path(node, 'checkpoint.safetensors')}: cannot be written (No space left on"
        " device (os error 28))."
    )


@pytest.fixture
def read_only(tmp_path) -> Iterator[SmallStudy]:
    """A study with its data and initial weights, on a disk that has become read-only."""
    folder = tmp_path / "disk"
    if not mounted(folder, "size=4M"):
        pytest.skip("mounting a file system in memory needs root")
    small = SmallStudy(folder)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    yield small
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_every_script_that_writes_says_that_a_disk_is_read_only(read_only, tmp_path, monkeypatch):
    small, folder = read_only, Path(read_only.config["results"])
    made = synthetic.write(tmp_path / "made", synthetic.full(levels=1, seeds=(0,)))
    runs, layers, _ = results.tables(made)
    tables = {name: tmp_path / f"{name}.parquet" for name in ("runs", "layers")}
    results.write(runs, tables["runs"], tmp_path / "runs.csv")
    results.write(layers, tables["layers"], tmp_path / "layers.csv")
    (tmp_path / "list").write_text("\n".join(map(str, made)))
    digits = json.dumps({"source": "digits"})
    scripts = {
        "prepare_data": ["--name", "digits", "--settings", digits, "--out", folder / "new/data"],
        "initialise": ["--data", small.data, "--model", MODEL, "--seed", 0, "--out", folder / "w"],
        "aggregate": [
            *("--metrics-list", tmp_path / "list", "--runs-parquet", folder / "r"),
            *("--runs-csv", tmp_path / "a", "--layers-parquet", tmp_path / "b"),
            *("--layers-csv", tmp_path / "c", "--shifts-parquet", tmp_path / "d"),
            *("--shifts-csv", tmp_path / "e"),
        ],
        "claims": [
            *("--runs", tables["runs"], "--layers", tables["layers"]),
            *("--csv", folder / "claims.csv", "--html", tmp_path / "claims.html"),
        ],
        "plot": [
            *("--figure", "figure8", "--runs", tables["runs"], "--out", folder / "figure8.png"),
            *("--style", ROOT / "config/figures.mplstyle"),
        ],
        "train": training(small, small.node(MODEL)),
    }
    for name, arguments in scripts.items():
        sentence = ended(monkeypatch, name, arguments)
        assert "Read-only file system" in sentence and str(folder) in sentence, name


def test_a_folder_that_cannot_be_made_is_said(tmp_path, monkeypatch):
    small = SmallStudy(tmp_path)
    node = small.node(MODEL)
    with pytest.raises(InputError, match="cannot be written"):
        files.write_text(small.data / "below a file", "x")
    folder = small.path(node, "")
    folder.parent.mkdir(parents=True)
    folder.touch()
    sentence = ended(monkeypatch, "train", training(small, node))
    assert sentence.startswith(f"error: {folder}: ")
