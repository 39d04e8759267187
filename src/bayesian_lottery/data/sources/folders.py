"""Image folders and tar archives of them: `train/<class>/*` and `test/<class>/*`, or only classes.

A folder or archive is read once, front to back, whether to look at it or to decode it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from bayesian_lottery.data.sources import archives, pictures
from bayesian_lottery.data.sources.archives import Parts
from bayesian_lottery.errors import InputError, few

LAYOUTS = "train/<class>/* and test/<class>/* (or val/, valid/), or <class>/* alone"
TEST_FOLDERS = ("test", "val", "valid")  # the first that is there is used


def look(name: str, root: Path, size: int | None, fraction: float) -> tuple[pictures.Shape, int]:
    """The shape (C, H, W) and the number of classes that `decode` will find, by one image a class.

    Args:
        name: the data set's.
        root: a folder or tar archive.
        size: pixels to which images are resized.
        fraction: the share of each class to test on, where the images come in one part.
    """
    shapes, sampled, files, folders = {}, set(), [], []
    for parts, file in archives.entries(name, root):
        if file is None:
            folders.append(parts)
            continue
        files.append(parts)
        if parts[:-1] not in sampled:
            sampled.add(parts[:-1])
            with pictures.opened(name, parts, file) as image:
                shapes[parts] = pictures.shape_of(image, size)
    classes, halves = _arrange(name, root, fraction, files, folders)
    used = shapes.keys() & {parts for half in halves for parts in half}
    shape = pictures.common_shape(name, {parts: shapes[parts] for parts in sorted(used)})
    return shape, len(classes)


def decode(name: str, root: Path, size: int | None, fraction: float):
    """Classes and images of a folder or archive, in one pass; images are ordered by file name.

    Arguments are those of `look`.
    """
    import numpy as np
    import torch

    from bayesian_lottery.data import decoded

    pixels, folders = {}, []
    for parts, file in archives.entries(name, root):
        if file is None:
            folders.append(parts)
        else:
            pixels[parts] = pictures.decode(name, parts, file, size)
    classes, halves = _arrange(name, root, fraction, pixels, folders)
    used = {parts: pixels[parts].shape for half in halves for parts in half}
    shape = pictures.common_shape(name, used)
    labels = {label: index for index, label in enumerate(classes)}

    def split(half: list[Parts]) -> decoded.Split:
        images = np.empty((len(half), *shape), np.uint8)
        for image, parts in zip(images, half, strict=True):
            image[:] = pixels.pop(parts)  # a grey image among coloured ones fills all channels
        return decoded.Split(
            torch.from_numpy(images), torch.tensor([labels[parts[-2]] for parts in half])
        )

    return classes, [split(half) for half in halves]


def _arrange(
    name: str,
    root: Path,
    fraction: float,
    files: Collection[Parts],
    folders: Collection[Parts],
) -> tuple[tuple[str, ...], list[list[Parts]]]:
    """The sorted classes, and the sorted images of [train, test], or of one part to be divided."""

    def require(condition: object, fault: str) -> None:
        if not condition:
            raise InputError(f"datasets.{name}.root: '{root}' {fault}; allowed is {LAYOUTS}.")

    tops = {parts[0] for parts in (*files, *folders)}
    test = next((folder for folder in TEST_FOLDERS if folder in tops), None)
    alone = "train/ without test/" if test is None else f"{test}/ without train/"
    require((test is None) == ("train" not in tops), f"has {alone}")
    halves = [("train",), (test,)] if test else [()]

    # The images of each class.
    members: dict[Parts, list[Parts]] = {parts: [] for parts in folders if parts[:-1] in halves}
    for parts in sorted(set(files)):
        if len(parts) > 1 and parts[:-2] in halves:
            members.setdefault(parts[:-1], []).append(parts)
        else:  # `valid` beside `test` may stay unused
            unused = test and parts[0] != test and parts[0] in TEST_FOLDERS
            require(unused, f"has the misplaced image {'/'.join(parts)}")
    empty = ["/".join(group) for group in sorted(members) if not members[group]]
    require(not empty, f"has no image of the class {few(empty)}")

    classes = [{group[-1] for group in members if group[:-1] == half} for half in halves]
    single = few(sorted(classes[0] ^ classes[-1]))
    require(not single, f"has the class {single} in only one of train/ and {test}/")
    require(len(classes[0]) > 1, f"has {len(classes[0])} classes where two are the least")
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
