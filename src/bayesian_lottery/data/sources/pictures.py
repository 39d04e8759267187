"""Single images: opened, refused if unfit, decoded to uint8."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import TYPE_CHECKING

from bayesian_lottery.data.sources.archives import File, Parts
from bayesian_lottery.errors import InputError

if TYPE_CHECKING:
    import numpy as np

CHUNK = 16  # images that a process is sent at once

Shape = tuple[int, int, int]  # (C, H, W)


@contextlib.contextmanager
def opened(name: str, parts: Parts, file: File):
    """A Pillow image (of an animation the first); an `InputError` names one that is unfit."""
    from PIL import Image

    where = f"datasets.{name}.root: the image {'/'.join(parts)}"
    if isinstance(file, str) and not os.path.isfile(file):  # opening a pipe would wait for ever
        raise InputError(f"{where} is not a file, or a link to none.")
    try:
        with Image.open(file) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;"):  # Pillow would clip these
                raise InputError(f"{where} has pixels of more than 8 bits; convert it to 8.")
            yield image
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{where} cannot be decoded ({error}).") from None


def shape_of(image, size: int | None) -> Shape:
    """What `decode` will give, from the header alone."""
    width, height = (size, size) if size else image.size
    return (1 if image.mode in ("1", "L", "LA") else 3), height, width


def decode(name: str, parts: Parts, file: File, size: int | None):
    """An image as a numpy array, uint8, C x H x W, resized to a square if `size` is given."""
    import numpy as np
    from PIL import Image

    with opened(name, parts, file) as image:
        channels, height, width = shape_of(image, size)
        mode = "L" if channels == 1 else "RGB"
        if image.mode != mode:
            image = image.convert(mode)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)  # antialiased
        return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def decode_all(
    name: str, files: Iterable[tuple[Parts, File]], size: int | None, workers: int
) -> Iterator[tuple[Parts, np.ndarray]]:
    """`decode` of every file, in their order, by so many processes.

    However many files there are, only some of each process are in memory.

    Raises:
        InputError: as `opened` says, of the first image that is unfit; or a process was killed.
    """
    if workers == 1:
        yield from ((parts, decode(name, parts, file, size)) for parts, file in files)
        return
    remaining, waiting = iter(files), deque[Future]()
    # Not forked: torch's threads may hold locks, which a fork would keep for ever.
    with ProcessPoolExecutor(workers, get_context("spawn"), _end_with_parent) as pool:
        try:
            while chunk := list(islice(remaining, CHUNK)):
                waiting.append(pool.submit(_decode_chunk, name, chunk, size))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise InputError(
                f"datasets.{name}: a process that decodes images was killed, most often for want"
                " of memory; start again with fewer threads."
            ) from None


def _decode_chunk(name: str, files: list[tuple[Parts, File]], size: int | None) -> list:
    return [(parts, decode(name, parts, file, size)) for parts, file in files]


def _end_with_parent() -> None:
    """End this process when its parent is gone, killed perhaps; a pool would wait for ever."""

    def watch(parent: BaseProcess) -> None:
        parent.join()
        os._exit(1)

    if parent := parent_process():
        Thread(target=watch, args=(parent,), daemon=True).start()


def common_shape(name: str, shapes: Mapping[Parts, Shape]) -> Shape:
    """The one shape of all images; a grey image among coloured ones counts as coloured."""
    (first, (_, height, width)), *others = shapes.items()
    for parts, shape in others:
        if shape[1:] != (height, width):
            raise InputError(
                f"datasets.{name}.size: must be given in pixels, for the images differ:"
                f" {'/'.join(first)} is {width}x{height}, {'/'.join(parts)} {shape[2]}x{shape[1]}."
            )
    return max(channels for channels, _, _ in shapes.values()), height, width
