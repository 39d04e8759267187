"""What is read from folders and archives of images, by one process or several."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from image_files import TARS, pack, prepared, refusals, same, settings, write_folder, write_image
from PIL import Image

from bayesian_lottery import meter
from bayesian_lottery.data import sources


def test_an_image_folder_keeps_pixels_classes_and_the_order_of_names(tmp_path):
    root = write_folder(tmp_path / "root")
    (root / "train" / "cat" / "notes.txt").write_text("not an image")
    (root / "train" / "cat" / "._1.png").write_bytes(b"left by macOS")
    assert sources.check("pets", settings(root)) == ((3, 5, 6), [3, 3])
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
    assert sources.check("pets", settings(root)) == ((3, 5, 6), [3, 3])


def test_classes_alone_are_divided(tmp_path):
    root = write_folder(tmp_path / "root", ("",))
    first, second = (prepared(tmp_path, settings(root, test_fraction=0.34)) for _ in range(2))
    assert first.train.labels.tolist() == [0, 0, 1, 1] and first.test.labels.tolist() == [0, 1]
    assert same(first.train, second.train) and same(first.test, second.test)
    assert sources.check("pets", settings(root, test_fraction=0.34)) == ((3, 5, 6), [2, 2])
    few = refusals(tmp_path, settings(root, test_fraction=0.1))
    assert all("too few images of the class cat to test on 0.1 of it" in each for each in few)


def test_size_resizes_to_a_square(tmp_path):
    root = write_folder(tmp_path / "root", size=(12, 8))
    write_image(root / "train" / "cat" / "0.png", 0, size=(40, 40))
    assert sources.check("pets", settings(root, size=4)) == ((3, 4, 4), [4, 3])
    images = prepared(tmp_path, settings(root, size=4))
    assert images.image_shape == (3, 4, 4)
    with Image.open(root / "train" / "cat" / "0.png") as original:
        # Antialiased: close to the mean of each 10x10 block, far from any one of its pixels.
        blocks = np.asarray(original).reshape(4, 10, 4, 10, 3).mean((1, 3))
    assert np.abs(images.train.images[0].permute(1, 2, 0).numpy() - blocks).max() < 40


def test_grey_images_stay_grey_unless_one_is_coloured(tmp_path):
    root = write_folder(tmp_path / "root", mode="L")
    assert sources.check("pets", settings(root)) == ((1, 5, 6), [3, 3])
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
