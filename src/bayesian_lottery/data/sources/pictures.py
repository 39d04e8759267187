"""Single images: opened, refused if unfit, decoded to uint8."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from bayesian_lottery.data.sources.archives import Parts
from bayesian_lottery.errors import InputError

Shape = tuple[int, int, int]  # (C, H, W)


@contextlib.contextmanager
def opened(name: str, parts: Parts, file: Path | BinaryIO):
    """A Pillow image (of an animation the first); an `InputError` names one that is unfit."""
    from PIL import Image

    where = f"datasets.{name}.root: the image {'/'.join(parts)}"
    if isinstance(file, Path) and not file.is_file():  # opening a pipe would wait for ever
        raise InputError(f"{where} is not a file, or a link to none.")
    try:
        with Image.open(file) as image:
            if image.mode in ("I", "F") or image.mode.startswith("I;"):  # Pillow would clip these
                raise InputError(f"{where} has pixels of more than 8 bits; convert it to 8.")
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{where} cannot be decoded ({error}).") from None


def shape_of(image, size: int | None) -> Shape:
    """What `decode` will give, from the header alone."""
    width, height = (size, size) if size else image.size
    return (1 if image.mode in ("1", "L", "LA") else 3), height, width


def decode(name: str, parts: Parts, file: Path | BinaryIO, size: int | None):
    """An image as a numpy array, uint8, C x H x W, resized to a square if `size` is given."""
    import numpy as np
    from PIL import Image

    with opened(name, parts, file) as image:
        channels, height, width = shape_of(image, size)
        image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)  # antialiased
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


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
