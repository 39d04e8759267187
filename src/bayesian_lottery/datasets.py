"""What is known of a configured data set before any job: from its source, or its decoded file.

The Snakefile imports this module; it needs no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bayesian_lottery import sources, study
from bayesian_lottery.files import Damaged, read_shapes


@dataclass(frozen=True)
class Images:
    """A data set's numbers of images, their shape (C, H, W), and its number of classes.

    The numbers are None all three, and so may the others be, where only decoding can tell.
    """

    train: int | None
    validation: int | None
    test: int | None
    shape: tuple[int, int, int] | None
    classes: int | None

    @property
    def stored_bytes(self) -> int:
        """Of the decoded file: a byte a pixel and channel, eight a label."""
        return (self.train + self.validation + self.test) * (math.prod(self.shape) + 8)


def images_of(config: Mapping, name: str) -> Images:
    """What is known of the data set `name`.

    Raises:
        InputError: its settings are wrong, or its decoded file is damaged.
    """
    settings, prepared = config["datasets"][name], Path(study.data_file(config, name))
    if prepared.exists():
        (train, test), shape, classes = _prepared(prepared)
    else:
        shape, classes = sources.check(name, settings)
        train, test = sources.SOURCES[settings["source"]].sizes or (None, None)
    if train is None:
        return Images(None, None, None, shape, classes)
    held_out = round(train * settings["validation"])
    return Images(train - held_out, held_out, test, shape, classes)


def _prepared(path: Path) -> tuple[tuple[int, int], tuple[int, int, int], int]:
    """(Training, test) images, their shape and the number of classes of a decoded data set."""
    shapes, metadata = read_shapes(path)
    try:
        train, *shape = shapes["train_images"]
        return (train, shapes["test_images"][0]), tuple(shape), len(metadata["classes"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Damaged(path, f"not a data set ({error!r})") from None
