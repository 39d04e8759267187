"""A forger at work: damage that keeps the format is noticed in every file that is read."""

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_study import SmallStudy, interrupted

from bayesian_lottery import files
from bayesian_lottery.computation import VERSION
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import Damaged
from bayesian_lottery.study import node_metrics
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import checkpoints

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor([3, 200], dtype=torch.uint8)}
METADATA = {"seed": 3, "what": ["é", 0.1, None]}
MODEL = "lenet_100_50"


def flipped(content: bytes, byte: int, bit: int) -> bytes:
    return content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :]


@pytest.mark.parametrize("read", [files.read_tensors, files.read_arrays])
def test_every_flipped_bit_of_a_tensor_file_is_noticed_or_changes_nothing(tmp_path, read):
    path = tmp_path / "x.safetensors"
    files.write_tensors(path, TENSORS, METADATA)
    whole = path.read_bytes()
    noticed = 0
    for byte in range(len(whole)):
        path.write_bytes(flipped(whole, byte, byte % 8))
        try:
            tensors, metadata = read(path)
        except InputError as error:
            assert str(path) in str(error)
            noticed += 1
        else:
            assert metadata == METADATA, byte
            assert tensors.keys() == TENSORS.keys(), byte
            assert all(np.array_equal(tensors[name], TENSORS[name]) for name in TENSORS), byte
    assert noticed > 0.95 * len(whole)


def test_every_flipped_bit_of_a_metrics_file_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "metrics.json"
    value = {"accuracy": 0.9125, "node": {"level": 3, "model": "lenet"}, "passes": [0.5, 1e-7]}
    files.write_json(path, value)
    whole = path.read_bytes()
    noticed = 0
    for byte in range(len(whole)):
        path.write_bytes(flipped(whole, byte, byte % 7))
        try:
            found = files.read_json(path)
        except InputError:
            noticed += 1
        else:  # a flip may hide the checksum, but not change a value as well
            assert {key: found[key] for key in value} == value
    assert noticed > 0.9 * len(whole)


def test_the_sentence_names_the_file_and_the_command_that_makes_it_again(tmp_path):
    path = tmp_path / "a b.safetensors"
    files.write_tensors(path, TENSORS)
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, len(whole) - 1, 0))
    with pytest.raises(Damaged) as caught:
        files.read_tensors(path)
    assert str(caught.value) == (
        f"{path}: damaged (its checksum is that of another content); if the workflow made it, "
        f"`rm '{path}'`, and the same command makes it again."
    )


def test_nobody_is_told_to_remove_a_folder(tmp_path):
    with pytest.raises(Damaged) as caught:
        files.read_tensors(tmp_path)
    assert str(caught.value) == f"{tmp_path}: not a file."


def test_files_from_before_there_were_checksums_are_read(tmp_path):
    mask = {"a": torch.tensor([True, False, True])}
    packed = {"a": torch.from_numpy(np.packbits(mask["a"].numpy()))}
    path = tmp_path / "mask"
    save_file(packed, path, metadata={"json": json.dumps([["a", [3]]])})
    assert torch.equal(masks.load(path)["a"], mask["a"])
    save_file(TENSORS, path, metadata={"json": json.dumps(METADATA)})
    assert files.read_tensors(path)[1] == METADATA
    save_file(TENSORS, path)
    assert files.read_tensors(path)[1] == {}
    (tmp_path / "json").write_text('{"a": 1}')
    assert files.read_json(tmp_path / "json") == {"a": 1}


def test_the_bytes_of_a_mask_depend_on_the_mask_alone(tmp_path):
    mask = {"b": torch.tensor([True, False]), "a": torch.ones(9, dtype=torch.bool)}
    paths = tmp_path / "1", tmp_path / "2"
    masks.save(paths[0], mask)
    masks.save(paths[1], {name: layer.clone() for name, layer in mask.items()})
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("what", ["folder", "fifo", "empty", "noise"])
def test_what_is_no_file_of_tensors_is_refused(tmp_path, what):
    path = tmp_path / "x"
    match what:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "empty":
            path.touch()
        case "noise":
            path.write_bytes(random.Random(0).randbytes(500))
    for read in (
        files.read_tensors,
        files.read_arrays,
        files.read_shapes,
        masks.load,
        decoded.load,
    ):
        with pytest.raises(InputError, match=str(path)):
            read(path)


# A node


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A study of which a level that rewinds to learned weights has been trained, and its dense."""
    folder = tmp_path_factory.mktemp("trained")
    small = SmallStudy(folder)
    for level in (0, 1):
        small.train(small.node(MODEL, "bayesian", rewind="lrr" if level else None, level=level))
    return folder


@pytest.fixture
def small(trained, tmp_path) -> SmallStudy:
    """A copy of it, to damage."""
    folder = tmp_path / "study"
    shutil.copytree(trained, folder)
    return SmallStudy(folder, prepare=False)


def level_of(small: SmallStudy):
    return small.node(MODEL, "bayesian", rewind="lrr", level=1)


@pytest.mark.parametrize("name", ["data", "initial", "mask", "rewind_weights"])
def test_a_node_does_not_train_from_a_damaged_file(small, name):
    node, forger = level_of(small), random.Random(name)
    path = Path(small.inputs(node)[name])
    whole, metrics = path.read_bytes(), small.path(node, "metrics.json")
    metrics.unlink()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in (forger.randrange(8, header), *(forger.randrange(header, len(whole)),) * 4):
        path.write_bytes(flipped(whole, place, forger.randrange(8)))
        with pytest.raises(InputError, match=str(path)) as caught:
            small.train(node)
        assert f"`rm {path}`" in str(caught.value)
        assert not metrics.exists()


@pytest.mark.parametrize("name", ["dense", "level"])
def test_what_a_job_writes_is_believed_and_damage_to_it_is_not(small, name):
    node = level_of(small) if name == "level" else small.node(MODEL, "bayesian")
    path, forger = small.path(node, "metrics.json"), random.Random(name)
    metrics, whole = node_metrics.read(path), path.read_bytes()
    assert node_metrics.computation(metrics) == VERSION
    noticed = 0
    for _ in range(200):
        path.write_bytes(flipped(whole, forger.randrange(len(whole)), forger.randrange(8)))
        try:
            found = node_metrics.read(path)
        except InputError as error:
            assert str(path) in str(error)
            noticed += 1
        else:
            assert {key: found[key] for key in metrics} == metrics
    assert noticed > 150


@pytest.mark.parametrize("place", ["header", "values"])
def test_a_damaged_checkpoint_is_set_aside_and_training_starts_anew(
    small, monkeypatch, capsys, place
):
    node, forger = level_of(small), random.Random(place)
    whole = small.numbers(node)
    path = small.path(node, "checkpoint.safetensors")
    for _ in range(3):
        interrupted(monkeypatch, 3, lambda: small.train(node, checkpoint_seconds=0))
        content = path.read_bytes()
        header = 8 + int.from_bytes(content[:8], "little")
        where = {"header": (header // 2, header), "values": (header, len(content))}[place]
        path.write_bytes(flipped(content, forger.randrange(*where), forger.randrange(8)))
        damaged = path.read_bytes()
        capsys.readouterr()
        small.train(node)
        said = capsys.readouterr().out
        assert "Training starts anew." in said and str(path) in said and "resuming" not in said
        assert small.numbers(node) == whole
        assert node_metrics.read(small.path(node, "metrics.json"))["cost"]["resumed_at_steps"] == []
        if "set aside" in said:
            assert small.path(node, "checkpoint.damaged.safetensors").read_bytes() == damaged


@pytest.mark.parametrize(
    "missing", ["network.mean", "optimizer.0.exp_avg", "generator.weights.0", "totals"]
)
def test_a_checkpoint_that_lacks_a_tensor_is_set_aside(small, monkeypatch, capsys, missing):
    node = level_of(small)
    whole, path = small.numbers(node), small.path(node, "checkpoint.safetensors")
    interrupted(monkeypatch, 3, lambda: small.train(node, checkpoint_seconds=0))
    tensors, progress = files.read_tensors(path)
    gone = next(name for name in tensors if name.startswith(missing))
    files.write_tensors(path, {n: t for n, t in tensors.items() if n != gone}, progress)
    capsys.readouterr()
    small.train(node)
    assert "it lacks tensors" in capsys.readouterr().out
    assert small.path(node, "checkpoint.damaged.safetensors").exists() and not path.exists()
    assert small.numbers(node) == whole


def test_a_checkpoint_of_another_layout_is_set_aside(small, monkeypatch, capsys):
    node = level_of(small)
    whole, path = small.numbers(node), small.path(node, "checkpoint.safetensors")
    for name, other in (
        ("totals", torch.zeros(4, 2, dtype=torch.float64)),
        ("optimizer.0.exp_avg", torch.zeros(1, 2)),
        ("optimizer.99.exp_avg", torch.zeros(1)),
        ("generator.weights.0", torch.zeros(16, dtype=torch.uint8)),
    ):
        interrupted(monkeypatch, 3, lambda: small.train(node, checkpoint_seconds=0))
        tensors, progress = files.read_tensors(path)
        tensors[name] = other
        files.write_tensors(path, tensors, {**progress, "tensors": sorted(tensors)})
        capsys.readouterr()
        small.train(node)
        assert "has others than this network" in capsys.readouterr().out, name
        assert small.numbers(node) == whole, name


def test_a_checkpoint_that_is_a_folder_is_set_aside_each_time(small, capsys):
    node = level_of(small)
    whole, path = small.numbers(node), small.path(node, "checkpoint.safetensors")
    for _ in range(2):
        path.mkdir()
        (path / "inside").touch()
        small.train(node)
        assert f"{path}: not a file; set aside as" in capsys.readouterr().out
        assert small.path(node, "checkpoint.damaged.safetensors").is_dir()
        assert small.numbers(node) == whole


def test_a_checkpoint_of_another_kind_of_device_is_not_used(small, monkeypatch, capsys):
    """A GPU's generator has a state of 16 bytes, a CPU's one of 5,056."""
    node = level_of(small)
    whole = small.numbers(node)
    fingerprint = checkpoints.fingerprint

    def on_a_gpu(settings, paths):
        return fingerprint({**settings, "device": "cuda"}, paths)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "fingerprint", on_a_gpu)
        interrupted(monkeypatch, 3, lambda: small.train(node, checkpoint_seconds=0))
    capsys.readouterr()
    small.train(node)
    assert "other settings, inputs or device" in capsys.readouterr().out
    assert small.numbers(node) == whole


def test_a_checkpoint_of_another_version_of_the_computation_is_not_used(small, monkeypatch, capsys):
    node = level_of(small)
    whole = small.numbers(node)
    interrupted(monkeypatch, 3, lambda: small.train(node, checkpoint_seconds=0))
    monkeypatch.setattr(checkpoints, "VERSION", VERSION + 1)
    capsys.readouterr()
    small.train(node)
    assert "Training starts anew." in capsys.readouterr().out
    assert small.numbers(node) == whole
