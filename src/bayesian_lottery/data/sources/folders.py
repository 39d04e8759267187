"""Image folders and tar archives of them: `train/<class>/*` and `test/<class>/*`, or only classes.

A folder or archive is read once, front to back, whether to look at it or to decode it.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bayesian_lottery.data import subsets
from bayesian_lottery.data.sources import archives, pictures
from bayesian_lottery.data.sources.archives import File, Parts
from bayesian_lottery.errors import InputError, few

if TYPE_CHECKING:
    from torch import Tensor

    from bayesian_lottery.data.decoded import Split

LAYOUTS = "train/<class>/* and test/<class>/* (or val/, valid/), or <class>/* alone"
TEST_FOLDERS = ("test", "val", "valid")  # the first that is there is used


def look(
    name: str, root: Path, size: int | None, fraction: float
) -> tuple[pictures.Shape, list[int]]:
    """The shape (C, H, W), by one image a class, and the training images of each class that
    `decode` will find.

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
    images = Counter(parts[-2] for parts in halves[0])
    tested = {
        label: subsets.held(images[label], fraction) if len(halves) == 1 else 0 for label in classes
    }
    return shape, [images[label] - tested[label] for label in classes]


def decode(
    name: str,
    root: Path,
    size: int | None,
    fraction: float,
    divide: Callable[[Split], tuple[Split, Split]],
    scratch: Path,
    workers: int,
) -> tuple[tuple[str, ...], list[Split]]:
    """Classes, and (training, test) images, of a folder or archive, in one pass.

    Images are ordered by file name. They lie in nameless files in the folder `scratch`, not in
    memory: while the output is written, the disk holds the images twice.

    Args:
        name, root, size, fraction: as `look` takes them.
        divide: divides images that come in one part.
        scratch: a folder on the disk of the output.
        workers: processes that decode.
    """
    import torch

    from bayesian_lottery.data.decoded import Split

    shapes, folders = {}, []

    def files() -> Iterator[tuple[Parts, File]]:
        for parts, file in archives.entries(name, root):
            if file is None:
                folders.append(parts)
            else:
                yield parts, file

    with tempfile.TemporaryFile(dir=scratch) as pixels:
        for parts, image in pictures.decode_all(name, files(), size, workers):
            pixels.write(image.tobytes())
            shapes[parts] = image.shape
        print(f"{len(shapes)} images are decoded; now they are sorted and written", flush=True)
        classes, halves = _arrange(name, root, fraction, shapes, folders)
        shape = pictures.common_shape(name, {parts: shapes[parts] for h in halves for parts in h})
        labels = {label: index for index, label in enumerate(classes)}
        places = {parts: index for index, parts in enumerate(shapes)}
        numbered = [  # images are numbers of places as yet
            Split(
                torch.tensor([places[parts] for parts in half]),
                torch.tensor([labels[parts[-2]] for parts in half]),
            )
            for half in halves
        ]
        train, test = numbered if len(numbered) == 2 else divide(numbered[0])
        stored = _Stored(pixels, list(shapes.values()))
        return classes, [
            Split(stored.collect(half.images.tolist(), shape, scratch), half.labels)
            for half in (train, test)
        ]


class _Stored:
    """Images one after another in a file, of the given shapes."""

    def __init__(self, file: BinaryIO, shapes: list[pictures.Shape]):
        import numpy as np

        file.flush()
        self.pixels, self.shapes = np.memmap(file, np.uint8, "r"), shapes
        self.starts = np.cumsum([0, *map(math.prod, shapes)])

    def collect(self, places: list[int], shape: pictures.Shape, scratch: Path) -> Tensor:
        """The images at `places`, (N, C, H, W), in a nameless file of their own."""
        import numpy as np
        import torch

        with tempfile.TemporaryFile(dir=scratch) as file:
            for place in places:
                image = self.pixels[self.starts[place] : self.starts[place + 1]]
                # A grey image among coloured ones fills all channels.
                file.write(np.broadcast_to(image.reshape(self.shapes[place]), shape).tobytes())
            file.flush()
            # Copy on write, which will not happen: torch warns of memory that cannot be written.
            return torch.from_numpy(np.memmap(file, np.uint8, "c", shape=(len(places), *shape)))


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
