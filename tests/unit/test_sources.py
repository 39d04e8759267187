"""Decoding sources, and the sentences that meet wrong settings and damaged data."""

import dataclasses
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bayesian_lottery import meter
from bayesian_lottery.data import decoded, sources
from bayesian_lottery.data.sources import pictures, published
from bayesian_lottery.errors import InputError

TARS = (".tar", ".tar.gz", ".tar.xz", ".tar.bz2")


def write_image(path: Path, seed: int, size=(6, 5), mode="RGB") -> None:
    """A random image, width x height `size`, in a format without loss."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    pixels = np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_folder(root: Path, halves=("train", "test"), **image) -> Path:
    """cat and dog, three images each a half, as `write_image` makes them."""
    for number in range(3 * 2 * len(halves)):
        half, label = halves[number // 6], ("dog", "cat")[number % 2]
        write_image(root / half / label / f"{number}.png", number, **image)
    return root


def pack(root: Path, archive: Path, backwards: bool = False) -> Path:
    """A tar archive of `root`, every file after its folder, compressed as its suffix says."""
    mode = archive.suffix[1:] if archive.suffix != ".tar" else ""
    with tarfile.open(archive, f"w:{mode}") as tar:
        for path in sorted(root.rglob("*"), reverse=backwards):
            tar.add(path, path.relative_to(root), recursive=False)
    return archive


def settings(root: Path, **more) -> dict:
    return {"source": "imagefolder", "root": str(root), **more}


def prepared(tmp_path: Path, given: dict) -> decoded.Images:
    sources.prepare("pets", given, tmp_path / "out" / "pets.safetensors")
    return decoded.load(tmp_path / "out" / "pets.safetensors")


def refusal(given: dict, function=sources.check, *arguments) -> str:
    """The one sentence that refuses the settings."""
    with pytest.raises(InputError) as caught:
        function("pets", given, *arguments)
    sentence = str(caught.value)
    assert sentence.startswith("datasets.pets.") and sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def refusals(tmp_path: Path, given: dict) -> list[str]:
    """The refusals of `check` and of `prepare`, which writes nothing."""
    out = tmp_path / "refused.safetensors"
    found = [refusal(given), refusal(given, sources.prepare, out)]
    assert not out.exists()
    return found


def same(one: decoded.Split, other: decoded.Split) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def test_importing_sources_imports_nothing_slow():
    command = (
        "import sys, bayesian_lottery.data.sources;"
        "sys.exit(bool({'torch', 'torchvision', 'sklearn', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


# Digits


def test_digits_are_whole_and_divided_class_by_class(tmp_path):
    from sklearn.datasets import load_digits

    given = {"source": "digits", "augment": {}, "root": None, "size": None}
    assert sources.check("digits", given) == ((1, 8, 8), 10)
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


def test_preparing_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        sources.prepare("digits", {"source": "digits"}, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# Published data sets


def write_mnist(root: Path, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Images and their labels in MNIST's own files, the same for training and test."""
    images = np.random.default_rng(0).integers(256, size=(count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for half in ("train", "t10k"):
        header = struct.pack(">iiii", 0x803, *images.shape)
        (raw / f"{half}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">ii", 0x801, len(labels))
        (raw / f"{half}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return images, labels


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def test_mnist_is_read_from_a_local_root(tmp_path, no_network):
    pixels, labels = write_mnist(tmp_path)
    given = {"source": "mnist", "root": str(tmp_path)}
    assert sources.check("pets", given) == ((1, 28, 28), 10)
    images = prepared(tmp_path, given)
    assert images.image_shape == (1, 28, 28) and len(images.classes) == 10
    for part in (images.train, images.test):
        assert np.array_equal(part.images[:, 0].numpy(), pixels)
        assert np.array_equal(part.labels.numpy(), labels)


@pytest.mark.parametrize("source", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_without_a_network_the_missing_files_are_named(tmp_path, no_network, source):
    given = {"source": source, "root": str(tmp_path / "nothing")}
    assert sources.check("pets", given)[1] == sources.SOURCES[source].classes
    sentence = refusal(given, sources.prepare, tmp_path / "out")
    assert str(tmp_path / "nothing") in sentence and sources.SOURCES[source].needs in sentence


def test_a_truncated_mnist_is_refused(tmp_path, no_network):
    write_mnist(tmp_path)
    images = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-100])
    sentence = refusal({"source": "mnist", "root": str(tmp_path)}, sources.prepare, tmp_path / "o")
    assert "complete MNIST/raw" in sentence


def write_cifar(root: Path, version: published.Cifar) -> published.Cifar:
    """An archive of `version`'s layout with five images a member, and its description."""
    (root / version.folder).mkdir(parents=True)
    for number, name in enumerate((*version.train, *version.test)):
        random = np.random.default_rng(number)
        rows = random.integers(256, size=(5, version.labels + 3072), dtype=np.uint8)
        rows[:, : version.labels] = np.arange(5)[:, None] + 10 * np.arange(version.labels)[::-1]
        (root / version.folder / name).write_bytes(rows.tobytes())
    (root / version.folder / version.names).write_text("a\nb\nc\nd\ne\n\n")
    archive = pack(root, root / version.archive)
    return dataclasses.replace(version, md5=hashlib.md5(archive.read_bytes()).hexdigest())


@pytest.mark.parametrize("version", [published.CIFAR10, published.CIFAR100])
def test_cifar_is_read_from_its_binary_archive(tmp_path, no_network, version):
    version = write_cifar(tmp_path, version)
    classes, (train, test) = published.cifar(version, tmp_path)
    assert classes == ("a", "b", "c", "d", "e")
    assert len(train) == 5 * len(version.train) and len(test) == 5
    assert test.labels.tolist() == list(range(5)), "the last byte before an image is its class"
    for part, names in ((train, version.train), (test, version.test)):
        stored = (tmp_path / version.folder / names[0]).read_bytes()
        first = stored[version.labels : version.labels + 3072]  # red, green, blue; row by row
        assert part.images[0].numpy().tobytes() == first
        assert part.images.shape[1:] == (3, 32, 32)


def test_another_archive_than_the_published_one_is_refused(tmp_path, no_network):
    write_cifar(tmp_path, published.CIFAR10)
    given = {"source": "cifar10", "root": str(tmp_path)}
    assert "complete cifar-10-binary.tar.gz" in refusal(given, sources.prepare, tmp_path / "o")


# Image folders


def test_an_image_folder_keeps_pixels_classes_and_the_order_of_names(tmp_path):
    root = write_folder(tmp_path / "root")
    (root / "train" / "cat" / "notes.txt").write_text("not an image")
    (root / "train" / "cat" / "._1.png").write_bytes(b"left by macOS")
    assert sources.check("pets", settings(root)) == ((3, 5, 6), 2)
    images = prepared(tmp_path, settings(root))
    assert images.classes == ("cat", "dog") and images.image_shape == (3, 5, 6)
    assert images.train.labels.tolist() == images.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = [1, 3, 5, 0, 2, 4]  # the numbers in the names; odd ones are cats
    for pixels, number in zip(images.train.images, expected, strict=True):
        label = "cat" if number % 2 else "dog"
        with Image.open(root / "train" / label / f"{number}.png") as original:
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(original))


@pytest.mark.parametrize("suffix", TARS)
def test_an_archive_equals_its_folder_whatever_its_order(tmp_path, suffix):
    root = write_folder(tmp_path / "root")
    archive = pack(root, tmp_path / f"pets{suffix}", backwards=True)
    assert sources.check("pets", settings(archive)) == sources.check("pets", settings(root))
    folder, packed = (prepared(tmp_path, settings(where)) for where in (root, archive))
    assert same(folder.train, packed.train) and same(folder.test, packed.test)
    assert folder.classes == packed.classes


@pytest.mark.parametrize("test", ["val", "valid"])
def test_other_names_of_the_test_folder(tmp_path, test):
    root = write_folder(tmp_path / "root", ("train", test))
    assert len(prepared(tmp_path, settings(root)).test) == 6


def test_a_validation_folder_beside_test_is_left_alone(tmp_path):
    root = write_folder(tmp_path / "root", ("train", "test"))
    write_image(root / "val" / "lion" / "0.png", 0, size=(2, 2))
    images = prepared(tmp_path, settings(root))
    assert images.classes == ("cat", "dog") and len(images.test) == 6
    assert sources.check("pets", settings(root)) == ((3, 5, 6), 2)


def test_classes_alone_are_divided(tmp_path):
    root = write_folder(tmp_path / "root", ("",))
    first, second = (prepared(tmp_path, settings(root, test_fraction=0.34)) for _ in range(2))
    assert first.train.labels.tolist() == [0, 0, 1, 1] and first.test.labels.tolist() == [0, 1]
    assert same(first.train, second.train) and same(first.test, second.test)
    assert sources.check("pets", settings(root, test_fraction=0.34)) == ((3, 5, 6), 2)
    few = refusals(tmp_path, settings(root, test_fraction=0.1))
    assert all("too few images of the class cat to test on 0.1 of it" in each for each in few)


def test_size_resizes_to_a_square(tmp_path):
    root = write_folder(tmp_path / "root", size=(12, 8))
    write_image(root / "train" / "cat" / "0.png", 0, size=(40, 40))
    assert sources.check("pets", settings(root, size=4)) == ((3, 4, 4), 2)
    images = prepared(tmp_path, settings(root, size=4))
    assert images.image_shape == (3, 4, 4)
    with Image.open(root / "train" / "cat" / "0.png") as original:
        # Antialiased: close to the mean of each 10x10 block, far from any one of its pixels.
        blocks = np.asarray(original).reshape(4, 10, 4, 10, 3).mean((1, 3))
    assert np.abs(images.train.images[0].permute(1, 2, 0).numpy() - blocks).max() < 40


def test_grey_images_stay_grey_unless_one_is_coloured(tmp_path):
    root = write_folder(tmp_path / "root", mode="L")
    assert sources.check("pets", settings(root)) == ((1, 5, 6), 2)
    grey = prepared(tmp_path, settings(root))
    assert grey.image_shape == (1, 5, 6)
    write_image(root / "train" / "dog" / "z.png", 0, mode="RGBA")
    mixed = prepared(tmp_path, settings(root))
    assert mixed.image_shape == (3, 5, 6)
    assert torch.equal(mixed.train.images[:-1], grey.train.images.expand(-1, 3, -1, -1))


def write_gif(path: Path, frames: int) -> np.ndarray:
    """Frames of grey noise, 6x5, of which the first is returned."""
    pixels = np.random.default_rng(0).integers(256, size=(frames, 5, 6), dtype=np.uint8)
    first, *others = map(Image.fromarray, pixels)
    first.save(path, save_all=True, append_images=others)
    return pixels[0]


@pytest.mark.parametrize("frames", [1, 3])
def test_of_a_gif_the_first_frame_is_read(tmp_path, frames):
    root = write_folder(tmp_path / "root")
    pixels = write_gif(root / "train" / "cat" / "0.gif", frames)
    images = prepared(tmp_path, settings(root))
    assert len(images.train) == 7 and images.image_shape == (3, 5, 6)
    assert (images.train.images[0].numpy() == pixels).all()


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_what_is_left_out_is_counted_by_its_ending(tmp_path, capfd, packed):
    root = write_folder(tmp_path / "root")
    for name in ("0.heic", "1.heic", "2.HEIC", "notes.txt", "README", ".DS_Store"):
        (root / "train" / "cat" / name).write_text("no image that can be read")
    where = pack(root, tmp_path / "pets.tar") if packed else root
    sources.check("pets", settings(where))
    assert (
        "datasets.pets.root: 5 files are left out, whose endings are not those of images: "
        "3 of .heic, 1 of " in capfd.readouterr().err
    )
    assert len(prepared(tmp_path, settings(where)).train) == 6
    assert "5 files are left out" in capfd.readouterr().err


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
    assert {path.name for path in tmp_path.iterdir()} == {*"ab", "pets.tar.gz", "packed", *BYTES}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_a_log_says_how_far_decoding_is(tmp_path, capfd, monkeypatch, packed):
    monkeypatch.setattr(meter, "SECONDS", 0)
    root = write_folder(tmp_path / "root", size=(900, 900))
    where = pack(root, tmp_path / "pets.tar") if packed else root
    prepared(tmp_path, settings(where))
    said = capfd.readouterr()
    # Six folders and twelve files; or twelve noisy images of 2.4 MB.
    assert re.search(
        r"^MB 2[0-9]/2[0-9], \d+m\d\ds left$" if packed else r"^file 17/18, ", said.err, re.M
    )
    assert "12 images are decoded" in said.out


@pytest.mark.slow
def test_the_first_unfit_image_is_named_by_several_processes_too(tmp_path):
    root = write_folder(tmp_path / "root")
    make_damaged_image(root)
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"train/cat/0.png cannot be decoded"):
            sources.prepare("pets", settings(root), tmp_path / "out", workers)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_processes_end_with_a_killed_parent(tmp_path):
    image = write_folder(tmp_path / "root") / "train" / "cat" / "1.png"
    (tmp_path / "program.py").write_text(f"""
import os
from bayesian_lottery.data.sources import pictures
if __name__ == "__main__":
    for _ in pictures.decode_all("pets", [(("cat", "1.png"), "{image}")] * 100, None, 2):
        os.kill(os.getpid(), 9)
""")
    # Its output ends when the last process that has inherited it ends.
    run = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, timeout=60)
    assert run.returncode == -9


# Refusals


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"source": "svhn"}, ["source: 'svhn'", "cifar10", "imagefolder"]),
        ({}, ["source: None"]),
        ({"source": "digits", "size": 8}, ["size: 8", "imagefolder"]),
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
    ],
)
def test_faults_inside_are_named(tmp_path, damage, words, packed):
    root = write_folder(tmp_path / "root")
    damage(root)
    where = pack(root, tmp_path / "pets.tar.gz") if packed else root
    for sentence in refusals(tmp_path, settings(where)):
        assert words in sentence, sentence


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    assert "0 classes" in refusals(tmp_path, settings(tmp_path / "root"))[0]


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
    assert sources.check("pets", {**digits, "classes": [7, 2]}) == ((1, 8, 8), 2)


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
