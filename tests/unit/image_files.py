"""Small data sets in files, and how sources take or refuse them."""

import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bayesian_lottery.data import decoded, sources
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
