"""Where images come from: each source is decoded once, into the one file that `data` reads.

The Snakefile imports this module to check the configuration, so everything slow to import (torch,
torchvision, scikit-learn, Pillow) is imported where it is used.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import sys
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bayesian_lottery.errors import InputError, choice


@dataclass(frozen=True)
class Source:
    """What is known of a source before it is read.

    `image_shape` is (C, H, W); it and `classes` are None where only the data can tell. `loader` is
    the class in torchvision.datasets, and `needs` the path below `root` that it reads.
    """

    image_shape: tuple[int, int, int] | None = None
    classes: int | None = None
    loader: str | None = None
    needs: str | None = None


SOURCES = {
    "digits": Source((1, 8, 8), 10),
    "mnist": Source((1, 28, 28), 10, "MNIST", "MNIST/raw/*-ubyte"),
    "fashion_mnist": Source((1, 28, 28), 10, "FashionMNIST", "FashionMNIST/raw/*-ubyte"),
    "cifar10": Source((3, 32, 32), 10, "CIFAR10", "cifar-10-batches-py/"),
    "cifar100": Source((3, 32, 32), 100, "CIFAR100", "cifar-100-python/"),
    "imagefolder": Source(),
}

LAYOUTS = "train/<class>/* and test/<class>/* (or val/, valid/), or <class>/* alone"
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TEST_FOLDERS = ("test", "val", "valid")  # the first that is there is used
TEST_FRACTION = 0.2
UNPACKERS = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".txz": lzma.open,
}

Parts = tuple[str, ...]  # a path below the root, split at its slashes
Shape = tuple[int, int, int]  # (C, H, W)


def check(name: str, settings: Mapping[str, object]) -> tuple[Shape | None, int | None]:
    """Check the settings of the data set `name` before any job starts.

    Nothing is downloaded. Of an image folder the names of all files and the header of one image a
    class are read; a tar archive has to be read through for that.

    Args:
        settings: `source`; `root`, `size` (pixels) and `test_fraction` where the source has them.
            Other keys are ignored, and None counts as absent.

    Returns:
        The shape (C, H, W) and the number of classes; either is None where it is not known.

    Raises:
        InputError: one sentence that names the key, its value and what is allowed.
    """
    spec = _validated(name, settings)
    if settings["source"] != "imagefolder":
        return spec.image_shape, spec.classes
    shapes, sampled, files, folders = {}, set(), [], []
    for parts, file in _entries(name, _root(settings)):
        if file is None:
            folders.append(parts)
            continue
        files.append(parts)
        if parts[:-1] not in sampled:
            sampled.add(parts[:-1])
            with _opened(name, parts, file) as image:
                shapes[parts] = _shape(image, settings.get("size"))
    classes, halves = _arrange(name, settings, files, folders)
    used = shapes.keys() & {parts for half in halves for parts in half}
    return _common_shape(name, {parts: shapes[parts] for parts in sorted(used)}), len(classes)


def prepare(name: str, settings: Mapping[str, object], out: str | Path) -> None:
    """Decode the data set `name` into the file `out`, downloading it if its root lacks it.

    Args:
        settings: as for `check`.

    Raises:
        InputError: the settings or the data are wrong, or there is no network to download from.
    """
    from bayesian_lottery import data

    spec = _validated(name, settings)
    if settings["source"] == "digits":
        classes, train, test = _digits()
    elif spec.loader:
        classes, train, test = _torchvision(name, spec, _root(settings))
    else:
        classes, train, test = _imagefolder(name, settings)
    mean, std = data.channel_statistics(train.images)
    data.save(out, data.Images(name, classes, train, test, mean, std), str(settings["source"]))


def _validated(name: str, settings: Mapping[str, object]) -> Source:
    """The source that `settings` ask for, once each value has been found possible."""
    key, source = f"datasets.{name}", settings.get("source")
    if source not in SOURCES:
        raise choice(f"{key}.source", source, SOURCES)
    size, fraction = settings.get("size"), settings.get("test_fraction")
    if size is not None and source != "imagefolder":
        raise InputError(f"{key}.size: {size!r} given, but only the source imagefolder has it.")
    if size is not None and not (type(size) is int and size > 0):
        raise InputError(f"{key}.size: {size!r} is not a whole number of pixels above 0.")
    if fraction is not None and not (isinstance(fraction, float) and 0 < fraction < 1):
        raise InputError(f"{key}.test_fraction: {fraction!r} is not a number between 0 and 1.")
    if source == "digits":
        return SOURCES[source]
    if not isinstance(settings.get("root"), str):
        raise InputError(f"{key}.root: missing; the source {source} needs a path here.")
    root = _root(settings)
    if source == "imagefolder" and not root.exists():
        raise InputError(
            f"{key}.root: '{root}' does not exist; give a folder or tar archive of {LAYOUTS}."
        )
    if source != "imagefolder" and root.exists() and not root.is_dir():
        raise InputError(
            f"{key}.root: '{root}' is a file; the source {source} needs a folder, one that holds"
            f" {SOURCES[source].needs} or into which it can be downloaded."
        )
    return SOURCES[source]


def _root(settings: Mapping[str, object]) -> Path:
    return Path(str(settings["root"])).expanduser()


def _fraction(settings: Mapping[str, object]) -> float:
    return settings.get("test_fraction") or TEST_FRACTION


def _digits():
    """The 8x8 digits inside scikit-learn, divided 80/20 class by class."""
    import torch
    from sklearn.datasets import load_digits

    from bayesian_lottery import data

    digits = load_digits()
    images = torch.from_numpy(digits.images)[:, None].mul(255 / 16).round().to(torch.uint8)
    split = data.Split(images, torch.from_numpy(digits.target).long())
    return tuple(map(str, digits.target_names)), *_divide(split, TEST_FRACTION)


def _divide(split, fraction: float):
    """(train, test), the same on every machine."""
    from bayesian_lottery import data, randomness

    return data.hold_out(split, fraction, randomness.generator("sources", "test"))


def _torchvision(name: str, spec: Source, root: Path):
    """A torchvision data set. It keeps CIFAR in pickles, and verifies their MD5 before reading."""
    import torch
    from torchvision import datasets

    from bayesian_lottery import data

    loader = getattr(datasets, spec.loader)
    try:
        halves = [loader(root, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise InputError(
            f"datasets.{name}.root: '{root}' does not hold a complete {spec.needs} and downloading"
            f" it failed ({' '.join(str(error).split())}); without a network, put it there."
        ) from None

    def split(half) -> data.Split:
        images = torch.as_tensor(half.data)  # N x H x W, or N x H x W x C
        images = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)
        return data.Split(images, torch.as_tensor(half.targets).long())

    return tuple(halves[0].classes), split(halves[0]), split(halves[1])


def _imagefolder(name: str, settings: Mapping[str, object]):
    """A folder or archive of images, decoded in one pass; images are ordered by file name."""
    import numpy as np
    import torch

    from bayesian_lottery import data

    pixels, folders = {}, []
    for parts, file in _entries(name, _root(settings)):
        if file is None:
            folders.append(parts)
        else:
            pixels[parts] = _decode(name, parts, file, settings.get("size"))
    classes, halves = _arrange(name, settings, pixels, folders)
    shape = _common_shape(name, {parts: pixels[parts].shape for half in halves for parts in half})
    labels = {label: index for index, label in enumerate(classes)}

    def split(half: list[Parts]) -> data.Split:
        images = np.empty((len(half), *shape), np.uint8)
        for image, parts in zip(images, half, strict=True):
            image[:] = pixels.pop(parts)  # a grey image among coloured ones fills all channels
        return data.Split(
            torch.from_numpy(images), torch.tensor([labels[parts[-2]] for parts in half])
        )

    if len(halves) == 1:
        return classes, *_divide(split(halves[0]), _fraction(settings))
    return classes, split(halves[0]), split(halves[1])


def _entries(name: str, root: Path) -> Iterator[tuple[Parts, Path | BinaryIO | None]]:
    """Every folder (with None) and every image (with what Pillow opens) of a folder or archive."""
    from tqdm import tqdm

    interval = 0.5 if sys.stderr.isatty() else 10  # seconds; a log file needs few lines
    options = {"desc": f"reading {root.name}", "delay": 3, "mininterval": interval}
    if root.is_dir():
        yield from tqdm(list(_walk(root)), unit=" files", **options)
        return
    try:
        with (
            open(root, "rb") as file,
            tqdm(total=root.stat().st_size, unit="B", unit_scale=True, **options) as progress,
        ):
            for entry in _stream(name, file):
                yield entry
                progress.update(file.tell() - progress.n)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise InputError(
            f"datasets.{name}.root: '{root}' is neither a folder nor a complete .tar, .tar.gz,"
            f" .tar.bz2 or .tar.xz archive ({error})."
        ) from None


def _walk(root: Path) -> Iterator[tuple[Parts, Path | None]]:
    """The visible folders and images of a folder, as deep as a layout can be."""
    for where, folders, names in os.walk(root, followlinks=True):
        above = Path(where).relative_to(root).parts
        folders.sort()
        for folder in folders:
            if _visible((*above, folder)):
                yield (*above, folder), None
        for name in sorted(names):
            if _visible((*above, name)) and _is_image(name):
                yield (*above, name), Path(where, name)
        if len(above) == 3:
            folders.clear()  # also ends a circle of links


def _stream(name: str, file: BinaryIO) -> Iterator[tuple[Parts, BinaryIO | None]]:
    """The visible folders and images of a tar archive, read once, front to back.

    tarfile takes a broken header for the end of the archive, and by itself checks no compressor's
    checksum; so the stream is read to its end, where only zeros may follow the last member.
    """
    unpack = UNPACKERS.get(PurePosixPath(file.name).suffix.lower(), contextlib.nullcontext)
    file.seek(max(0, file.seek(0, os.SEEK_END) - 1024))
    end = file.read()
    file.seek(0)
    # A cheap look at the end spares reading gigabytes of a truncated archive.
    if unpack is lzma.open and not end.rstrip(b"\0").endswith(b"YZ"):
        raise EOFError("the end of the xz stream is missing")
    if unpack is contextlib.nullcontext and end.strip(b"\0"):
        raise EOFError("the end of a tar archive is missing")
    with unpack(file) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            parts = PurePosixPath(member.name.lstrip("/")).parts
            if not _visible(parts):
                continue
            if member.isdir():
                yield parts, None
            elif _is_image(parts[-1]):
                if not member.isreg():
                    raise InputError(
                        f"datasets.{name}.root: '{member.name}' in the archive is a link; pack it"
                        " with tar --dereference --hard-dereference."
                    )
                yield parts, io.BytesIO(archive.extractfile(member).read())
        while rest := archive.fileobj.read(1 << 20):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("it is damaged in the middle")


def _visible(parts: Parts) -> bool:
    """Whether to look at a path; macOS adds `.DS_Store`, `._name` and `__MACOSX`."""
    return bool(parts) and not any(part.startswith((".", "__MACOSX")) for part in parts)


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _arrange(
    name: str,
    settings: Mapping[str, object],
    files: Collection[Parts],
    folders: Collection[Parts],
) -> tuple[tuple[str, ...], list[list[Parts]]]:
    """The sorted classes, and the sorted images of [train, test], or of one part to be divided."""

    def require(condition: object, fault: str) -> None:
        if not condition:
            root = _root(settings)
            raise InputError(f"datasets.{name}.root: '{root}' {fault}; allowed is {LAYOUTS}.")

    tops = {parts[0] for parts in (*files, *folders)}
    test = next((folder for folder in TEST_FOLDERS if folder in tops), None)
    alone = "train/ without test/" if test is None else f"{test}/ without train/"
    require((test is None) == ("train" not in tops), f"has {alone}")
    halves = [("train",), (test,)] if test else [()]

    members = {parts: [] for parts in folders if parts[:-1] in halves}  # images of each class
    for parts in sorted(set(files)):
        if len(parts) > 1 and parts[:-2] in halves:
            members.setdefault(parts[:-1], []).append(parts)
        else:  # `valid` beside `test` may stay unused
            unused = test and parts[0] != test and parts[0] in TEST_FOLDERS
            require(unused, f"has the misplaced image {'/'.join(parts)}")
    empty = ["/".join(group) for group in sorted(members) if not members[group]]
    require(not empty, f"has no image of the class {', '.join(empty)}")

    classes = [{group[-1] for group in members if group[:-1] == half} for half in halves]
    single = ", ".join(sorted(classes[0] ^ classes[-1]))
    require(not single, f"has the class {single} in only one of train/ and {test}/")
    require(len(classes[0]) > 1, f"has {len(classes[0])} classes where two are the least")
    fraction = _fraction(settings)
    for group, images in members.items():
        enough = test or (len(images) > 1 and round(fraction * len(images)) > 0)
        require(
            enough, f"has too few images of the class {group[-1]} to test on {fraction:g} of it"
        )
    groups = sorted(members)
    return tuple(sorted(classes[0])), [
        [parts for group in groups if group[:-1] == half for parts in members[group]]
        for half in halves
    ]


@contextlib.contextmanager
def _opened(name: str, parts: Parts, file: Path | BinaryIO):
    """A Pillow image; an `InputError` names one that is damaged or has more than 8 bits."""
    from PIL import Image

    where = f"datasets.{name}.root: the image {'/'.join(parts)}"
    try:
        with Image.open(file) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;"):  # Pillow would clip these
                raise InputError(f"{where} has pixels of more than 8 bits; convert it to 8.")
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{where} cannot be decoded ({error}).") from None


def _shape(image, size: int | None) -> Shape:
    """What `_decode` will give, from the header alone."""
    width, height = (size, size) if size else image.size
    return (1 if image.mode in ("1", "L", "LA") else 3), height, width


def _decode(name: str, parts: Parts, file: Path | BinaryIO, size: int | None):
    """An image as a numpy array, uint8, C x H x W, resized to a square if `size` is given."""
    import numpy as np
    from PIL import Image

    with _opened(name, parts, file) as image:
        channels, height, width = _shape(image, size)
        image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)  # antialiased
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _common_shape(name: str, shapes: Mapping[Parts, Shape]) -> Shape:
    """The one shape of all images; a grey image among coloured ones counts as coloured."""
    (first, (_, height, width)), *others = shapes.items()
    for parts, shape in others:
        if shape[1:] != (height, width):
            raise InputError(
                f"datasets.{name}.size: must be given in pixels, for the images differ:"
                f" {'/'.join(first)} is {width}x{height}, {'/'.join(parts)} {shape[2]}x{shape[1]}."
            )
    return max(channels for channels, _, _ in shapes.values()), height, width
