"""Preparing data sets: digits, parts of a data set, the bytes of the files, and the program."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import pack, prepared, refusals, settings, write_folder, write_image

from bayesian_lottery.data import decoded, sources
from bayesian_lottery.data.sources import pictures


def test_importing_sources_imports_nothing_slow():
    command = (
        "import sys, bayesian_lottery.data.sources;"
        "sys.exit(bool({'torch', 'torchvision', 'sklearn', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


def test_digits_are_whole_and_divided_class_by_class(tmp_path):
    from sklearn.datasets import load_digits

    given = {"source": "digits", "augment": {}, "root": None, "size": None}
    assert sources.check("digits", given) == ((1, 8, 8), [144] * 8 + [143] * 2)
    images = prepared(tmp_path, given)
    assert images.image_shape == (1, 8, 8) and images.classes == tuple("0123456789")
    assert (len(images.train), len(images.test)) == (1438, 359)
    counts = [part.labels.bincount() for part in (images.train, images.test)]
    assert ((counts[1] / (counts[0] + counts[1]) - 0.2).abs() < 0.005).all()

    original = load_digits()
    decoded = torch.cat([images.train.images, images.test.images]).double().mul(16 / 255).round()
    rows = torch.cat(
        [decoded.flatten(1), torch.cat([images.train.labels, images.test.labels])[:, None]], 1
    )
    expected = np.column_stack([original.data, original.target])
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, expected.tolist()))


# Parts of a data set


def test_some_classes_are_those_images_of_the_whole_and_count_anew(tmp_path):
    digits = {"source": "digits"}
    whole = prepared(tmp_path, digits)
    part = prepared(tmp_path, {**digits, "classes": [7, 2]})
    assert part.classes == ("7", "2")
    for half in ("train", "test"):
        of, to = getattr(whole, half), getattr(part, half)
        for label, was in enumerate((7, 2)):
            assert torch.equal(to.images[to.labels == label], of.images[of.labels == was])
    assert torch.equal(part.mean, decoded.channel_statistics(part.train.images)[0])
    assert sources.check("pets", {**digits, "classes": [7, 2]}) == ((1, 8, 8), [144, 144])


def test_classes_that_the_source_lacks_are_refused(tmp_path):
    for sentence in refusals(tmp_path, {"source": "digits", "classes": [3, 10, 12]}):
        assert "classes: 10, 12 given, but its source has 10 classes, which count from" in sentence


def test_some_images_are_of_each_class_its_share_and_the_same_whatever_they_are_called(tmp_path):
    digits = {"source": "digits"}
    whole, part = prepared(tmp_path, digits), prepared(tmp_path, {**digits, "images": 300})
    shares = whole.train.labels.bincount() * 300 / len(whole.train)
    assert torch.equal(part.train.labels.bincount(), shares.round().long())
    rows = {image.numpy().tobytes() for image in whole.train.images}
    assert all(image.numpy().tobytes() in rows for image in part.train.images)
    assert torch.equal(part.test.images, whole.test.images)
    assert torch.equal(part.mean, decoded.channel_statistics(part.train.images)[0])
    sources.prepare("others", {**digits, "images": 300}, tmp_path / "others")
    other = decoded.load(tmp_path / "others")
    assert torch.equal(other.train.images, part.train.images)


def test_more_images_than_there_are_are_refused(tmp_path):
    for sentence in refusals(tmp_path, {"source": "digits", "images": 5000}):
        assert "images: 5000 is not fewer than the 1438 training images" in sentence


def test_so_few_images_that_a_class_has_none_are_refused(tmp_path):
    for sentence in refusals(tmp_path, {"source": "digits", "images": 2}):
        assert "images: 2 of the 1438 training images would leave none of the small" in sentence
    assert len(prepared(tmp_path, {"source": "digits", "images": 10}).train) == 10


# Bytes


def test_preparing_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        sources.prepare("digits", {"source": "digits"}, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# What prepare_data.py has written since its first version, for the folders of these tests.
BYTES = {
    "digits": "99a02f0e4cf2d229e8aafd6843627ea3f7d6762be467212dce24fa7ecfac30bf",
    "folder": "e5cd76402f162ea37f56b9281c5ef7a498ab0f70ea813f08b40ba266a6ae0602",
    "classes": "8ef5ad4752a4197b9b28de8f67b0e80eea55e61bbc2dd466b0f774b9283e1c93",
}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_files_are_byte_for_byte_those_of_before(tmp_path, workers, monkeypatch):
    monkeypatch.setattr(pictures, "CHUNK", 2)
    folder, classes = (
        write_folder(tmp_path / "a"),
        write_folder(tmp_path / "b", ("",), size=(12, 8)),
    )
    write_image(classes / "dog" / "z.png", 9, size=(7, 9), mode="L")
    given = {
        "digits": {"source": "digits"},
        "folder": settings(folder),
        "classes": settings(classes, size=4, test_fraction=0.34),
    }
    for name, expected in BYTES.items():
        sources.prepare("pets", given[name], tmp_path / name, workers)
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == expected, name
    packed = settings(pack(folder, tmp_path / "pets.tar.gz", backwards=True))
    sources.prepare("pets", packed, tmp_path / "packed", workers)
    assert (tmp_path / "packed").read_bytes() == (tmp_path / "folder").read_bytes()
    made = {"packed", *BYTES}
    notes = {f"{name}.json" for name in made}
    assert {path.name for path in tmp_path.iterdir()} == {*"ab", "pets.tar.gz", *made, *notes}


# The program


def run_program(*arguments: str) -> subprocess.CompletedProcess:
    path = Path(__file__).parents[2] / "scripts" / "prepare_data.py"
    return subprocess.run([sys.executable, path, *arguments], capture_output=True, text=True)


@pytest.mark.slow
def test_the_program_writes_the_file(tmp_path):
    out = tmp_path / "data" / "digits.safetensors"
    given = json.dumps({"source": "digits"})
    run = run_program("--name", "digits", "--settings", given, "--out", str(out))
    assert run.returncode == 0, run.stderr
    assert decoded.load(out).name == "digits"


@pytest.mark.slow
def test_the_program_says_what_is_wrong_and_fails(tmp_path):
    out = tmp_path / "out"
    given = json.dumps(settings(tmp_path / "absent"))
    run = run_program("--name", "pets", "--settings", given, "--out", str(out))
    assert run.returncode == 1
    assert run.stderr.startswith("error: datasets.pets.root: ") and run.stderr.count("\n") == 1
    assert not out.exists()
