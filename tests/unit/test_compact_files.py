"""Compact networks through files: the same predictions, and files that are refused."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pruned_networks import (
    SAMPLES,
    channels,
    dense,
    either,
    family,
    folder_of,
    images_for,
    node_of,
    note,
)

from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import compact, export
from bayesian_lottery.files import read_tensors, write_tensors
from bayesian_lottery.randomness import generator

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts/export.py"


@either
@family
def test_the_file_gives_back_the_same_predictions(tmp_path, model, inference):
    folder, network = folder_of(tmp_path, model, inference, channels(model))
    output = tmp_path / "compact.safetensors"
    written = export.export(
        folder, tmp_path / "data", output, multiple=1, images=8, samples=SAMPLES
    )
    small, metadata = compact.load(output)
    assert metadata["units"][1] < metadata["units"][0] and metadata["check"]["images"] == 8
    assert metadata["parameters"][1] == sum(p.numel() for p in small.template.parameters())
    assert metadata["widths"] == written["widths"] and metadata["node"]["level"] == 3

    images = images_for(model).float()
    noise = network.noise(SAMPLES, generator("noise"))
    expected = network.logits(images, network.weights(), noise)
    _, kept = compact.cut(network.template, network.state())
    noise = compact.noise_for(network, kept, noise)
    found = small.logits(images, small.weights(), noise)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))


def test_nothing_is_written_if_predictions_differ(tmp_path, monkeypatch):
    folder, _ = folder_of(tmp_path, "lenet_100_50", "bayesian", channels("lenet_100_50"))
    right = compact.cut

    def wrong(template, state, multiple):
        state, kept = right(template, state, multiple)
        return {**state, "classifier._bias_mean": state["classifier._bias_mean"] + 1e-3}, kept

    monkeypatch.setattr(compact, "cut", wrong)
    with pytest.raises(InputError, match=r"differ.*nothing was written"):
        export.export(folder, tmp_path / "data", tmp_path / "compact")
    assert not (tmp_path / "compact").exists()


def test_only_exports_are_written_over(tmp_path):
    folder, _ = folder_of(tmp_path, "lenet_100_50", "deterministic", channels("lenet_100_50"))
    data, output = tmp_path / "data", tmp_path / "compact.safetensors"
    for _ in range(2):
        export.export(folder, data, output, images=8)
    for own in (data, folder / "metrics.json", folder / "weights.safetensors", folder):
        before = own.is_file() and own.read_bytes()
        with pytest.raises(InputError, match="is no network exported so; name another file"):
            export.export(folder, data, own, images=8)
        assert own.is_dir() or own.read_bytes() == before


def test_files_that_do_not_fit_are_refused(tmp_path):
    def export_it():
        export.export(folder, tmp_path / "data", tmp_path / "compact")

    folder, network = folder_of(tmp_path, "vgg5_slim", "deterministic", dense("vgg5_slim"))
    path = folder / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(InputError, match="truncated"):
        export_it()
    write_tensors(path, {**network.state(), "features.0.weight": torch.zeros(8, 2, 3, 1)})
    with pytest.raises(InputError, match=r"\(8, 2, 3, 1\)"):
        export_it()
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        export_it()
    path.write_bytes(whole)
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match="'node' is missing"):
        export_it()
    note(tmp_path, node_of("vgg5_slim", "deterministic"), dataset="digits")
    with pytest.raises(InputError, match=r"settings\.dataset"):
        export_it()
    elsewhere = replace(node_of("vgg5_slim", "deterministic"), dataset="digits")
    folder = note(tmp_path, elsewhere)
    with pytest.raises(InputError, match="digits, not on made_up"):
        export_it()
    other = node_of("vit_nano", "deterministic")
    folder = note(tmp_path, other)
    (folder / "weights.safetensors").write_bytes(whole)
    with pytest.raises(InputError, match=r"weights\.safetensors: .*absent"):
        export_it()
    assert not (tmp_path / "compact").exists()


def test_loading_refuses_what_is_no_compact_network(tmp_path):
    mask = channels("lenet_100_50")
    folder, _ = folder_of(tmp_path, "lenet_100_50", "deterministic", mask)
    output = tmp_path / "compact"
    with pytest.raises(InputError, match="not a compact network"):
        compact.load(folder / "weights.safetensors")
    export.export(folder, tmp_path / "data", output)
    state, metadata = read_tensors(output)
    for change, message in (
        ({"model": "lenet_9"}, "not known"),
        ({"model": "vit_nano"}, "not a compact network"),
        ({"widths": {"classifier": [10, 999]}}, "not a compact network"),
        ({"widths": {"classifier": [10, 49]}}, "the network's has"),
    ):
        write_tensors(output, state, {**metadata, **change})
        with pytest.raises(InputError, match=message):
            compact.load(output)


def test_the_script_ends_with_one_sentence(tmp_path):
    arguments = [tmp_path, "--data", tmp_path / "absent", "--output", tmp_path / "compact"]
    ended = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"error: {tmp_path / 'absent'}: no such file.\n"
