"""The sentences that refuse wrong settings, damaged archives and faults inside of data sets."""

import os

import numpy as np
import pytest
from image_files import TARS, pack, prepared, refusals, settings, write_folder, write_image
from PIL import Image

from bayesian_lottery.data import sources
from bayesian_lottery.errors import InputError


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"source": "svhn"}, ["source: 'svhn'", "cifar10", "imagefolder"]),
        ({}, ["source: None"]),
        ({"source": "digits", "size": 8}, ["size: 8", "imagefolder"]),
        ({"source": "digits", "root": "data"}, ["root: 'data' given, but the source digits takes"]),
        (
            {"source": "breast_cancer", "test_fraction": 0.5},
            ["test_fraction: 0.5", "folder, table"],
        ),
        ({"source": "mnist", "root": "data", "test_fraction": 0.5}, ["test_fraction: 0.5 given"]),
        ({"source": "imagefolder"}, ["root: missing"]),
        ({"source": "mnist"}, ["root: missing"]),
        ({"source": "imagefolder", "root": "nowhere/at/all"}, ["root: 'nowhere/at/all'", "exist"]),
        ({"source": "imagefolder", "root": ".", "size": 0}, ["size: 0", "above 0"]),
        ({"source": "imagefolder", "root": ".", "size": "32"}, ["size: '32'"]),
        (
            {"source": "imagefolder", "root": ".", "test_fraction": 1},
            ["test_fraction: 1", "0 and 1"],
        ),
        ({"source": "mnist", "root": __file__}, ["is a file", "MNIST/raw"]),
        ({"source": "imagefolder", "root": "/dev/null"}, ["neither a folder nor a file"]),
        (
            {"source": "imagefolder", "root": "~nobody-at-all/x"},
            ["root: '~nobody-at-all/x' cannot"],
        ),
        ({"source": "mnist", "root": "x" * 300}, ["xxx' cannot be looked at"]),
    ],
)
def test_wrong_settings_are_named(tmp_path, given, words):
    for sentence in refusals(tmp_path, given):
        assert all(word in sentence for word in words), sentence


# Archives


@pytest.mark.parametrize("suffix", TARS)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_archive_is_refused(tmp_path, suffix, kept):
    archive = pack(write_folder(tmp_path / "root"), tmp_path / f"pets{suffix}")
    whole = archive.read_bytes().rstrip(b"\0") if suffix == ".tar" else archive.read_bytes()
    archive.write_bytes(whole[: int(kept * len(whole))])
    for sentence in refusals(tmp_path, settings(archive)):
        assert str(archive) in sentence and "complete .tar" in sentence


@pytest.mark.parametrize("suffix", TARS)
def test_an_archive_damaged_in_the_middle_is_refused(tmp_path, suffix):
    root = write_folder(tmp_path / "root", size=(40, 40))
    archive = pack(root, tmp_path / f"pets{suffix}")
    content = bytearray(archive.read_bytes())
    middle = content.index(b"test/dog/10.png") if suffix == ".tar" else len(content) // 2
    content[middle : middle + 4] = b"oops"
    archive.write_bytes(content)
    assert "complete .tar" in refusals(tmp_path, settings(archive))[0]


def test_a_plain_archive_cut_between_members_is_refused(tmp_path):
    archive = pack(write_folder(tmp_path / "root"), tmp_path / "pets.tar")
    content = archive.read_bytes()
    archive.write_bytes(content[: content.index(b"test/dog/10.png")])  # where a header begins
    assert "end of a tar archive is missing" in refusals(tmp_path, settings(archive))[0]


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "pets.zip").write_bytes(b"PK" + bytes(range(256)) * 20)
    assert "neither a folder nor" in refusals(tmp_path, settings(tmp_path / "pets.zip"))[0]


def test_a_link_in_an_archive_is_refused(tmp_path):
    root = write_folder(tmp_path / "root")
    (root / "train" / "cat" / "link.png").symlink_to("1.png")
    archive = pack(root, tmp_path / "pets.tar")
    assert (
        "train/cat/link.png' in the archive is a link" in refusals(tmp_path, settings(archive))[0]
    )
    assert len(prepared(tmp_path, settings(root)).train) == 7


# Faults inside


def make_empty_class(root):
    for half in ("train", "test"):
        (root / half / "bird").mkdir()


def make_misplaced_image(root):
    write_image(root / "train" / "0.png", 0)


def make_class_in_train_only(root):
    write_image(root / "train" / "bird" / "0.png", 0)


def make_train_alone(root):
    (root / "test").rename(root.parent / "elsewhere")


def make_test_alone(root):
    (root / "train").rename(root.parent / "elsewhere")


def make_one_class(root):
    for half in ("train", "test"):
        (root / half / "dog").rename(root.parent / half)


def make_pipe(root):
    os.mkfifo(root / "train" / "cat" / "0.png")


def make_link_to_nothing(root):
    (root / "train" / "cat" / "0.png").symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_pipe, make_link_to_nothing])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, make):
    root = write_folder(tmp_path / "root")
    make(root)
    for sentence in refusals(tmp_path, settings(root)):
        assert "train/cat/0.png is not a file, or a link to none" in sentence
    archive = pack(root, tmp_path / "pets.tar")
    assert "in the archive is a link or device" in refusals(tmp_path, settings(archive))[0]


def make_wrong_size(root):
    write_image(root / "test" / "dog" / "0.png", 0, size=(9, 5))


def make_deep_colour(root):
    Image.fromarray(np.zeros((5, 6), np.uint16)).save(root / "train" / "cat" / "0.png")


def make_damaged_image(root):
    (root / "train" / "cat" / "0.png").write_bytes(b"\x89PNG and no more")


def make_header_without_numbers(root):
    (root / "train" / "cat" / "0.png").write_bytes(b"P5\nabc")


def make_header_that_ends(root):
    (root / "train" / "cat" / "0.png").write_bytes(b"P6\n# comment only")


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (make_empty_class, "no image of the class test/bird, train/bird"),
        (make_misplaced_image, "misplaced image train/0.png"),
        (make_class_in_train_only, "class bird in only one of train/ and test/"),
        (make_train_alone, "train/ without test/"),
        (make_test_alone, "test/ without train/"),
        (make_one_class, "1 classes"),
        (make_wrong_size, "test/dog/0.png 9x5"),
        (make_deep_colour, "more than 8 bits"),
        (make_damaged_image, "train/cat/0.png cannot be decoded"),
        (make_header_without_numbers, "train/cat/0.png cannot be decoded"),
        (make_header_that_ends, "train/cat/0.png cannot be decoded"),
    ],
)
def test_faults_inside_are_named(tmp_path, damage, words, packed):
    root = write_folder(tmp_path / "root")
    damage(root)
    where = pack(root, tmp_path / "pets.tar.gz") if packed else root
    for sentence in refusals(tmp_path, settings(where)):
        assert words in sentence, sentence


@pytest.mark.slow
def test_the_first_unfit_image_is_named_by_several_processes_too(tmp_path):
    root = write_folder(tmp_path / "root")
    make_damaged_image(root)
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"train/cat/0.png cannot be decoded"):
            sources.prepare("pets", settings(root), tmp_path / "out", workers)
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    assert "0 classes" in refusals(tmp_path, settings(tmp_path / "root"))[0]
