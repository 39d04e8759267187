"""What is known of a configured data set before any job: from its source, or its decoded file.

The Snakefile imports this module; it needs no torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bayesian_lottery import study
from bayesian_lottery.data import sources, subsets
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import Damaged, read_json, read_shapes


@dataclass(frozen=True)
class Images:
    """A data set's numbers of images, their shape (C, H, W), and its number of classes."""

    train: int
    validation: int
    test: int
    shape: tuple[int, int, int]
    classes: int
    value_bytes: int = 1

    @property
    def stored_bytes(self) -> int:
        """Of the decoded file: a byte a pixel and channel (a table has four a column), eight a
        label."""
        row = self.value_bytes * math.prod(self.shape) + 8
        return (self.train + self.validation + self.test) * row


@dataclass(frozen=True)
class Undecoded:
    """A data set whose numbers of images only decoding can tell, but for those to train with; what
    is None is not known either."""

    shape: tuple[int, int, int] | None
    classes: int | None
    train: int | None = None


def images_of(config: Mapping, name: str) -> Images | Undecoded:
    """What is known of the data set `name`: of a decoded file only while it is of its settings, for
    of others the workflow makes it again.

    Raises:
        InputError: its settings are wrong, or its decoded file is damaged.
    """
    settings, prepared = config["datasets"][name], Path(study.data_file(config, name))
    source = sources.SOURCES.get(settings["source"], sources.Source())
    if _is_of(prepared, settings):
        (train, test), shape, classes = _prepared(prepared)
    else:
        shape, counts = sources.check(name, settings)
        classes = len(counts)
        if source.sizes is None:
            held = (subsets.held(count, settings["validation"]) for count in counts)
            return Undecoded(shape, classes, sum(counts) - sum(held))
        # Of some classes alone: about as many images as if all classes had the same number.
        train, test = (round(size * classes / (source.classes or classes)) for size in source.sizes)
        train = min(train, settings.get("images") or train)
    held_out = round(train * settings["validation"])
    return Images(train - held_out, held_out, test, shape, classes, source.value_bytes)


def check_shifts(config: Mapping, name: str, shape: tuple[int, int, int] | None) -> None:
    """Refuse shifts where a data set is a table."""
    for key in ("shifts", "out_of_distribution"):
        if config.get("evaluation", {}).get(key) and shape and shape[1:] == (1, 1):
            raise InputError(
                f"evaluation.{key}: it is of images, and {name} is a table; give one of the two a "
                "study of its own."
            )


def steps_of(curriculum: Mapping, train: int) -> int:
    """The steps of a training on so many images."""
    return curriculum["epochs"] * (train // curriculum["batch_size"])


def check_augment(name: str, augment: Mapping, shape: tuple[int, int, int]) -> None:
    """Refuse augmentation that the images of the data set `name` are too small for."""
    if (crop := augment["crop"]) >= min(shape[1:]):
        raise InputError(
            f"datasets.{name}.augment.crop: {crop} must be below the {min(shape[1:])} pixels of "
            "the images; what is cropped would be black."
        )
    if augment.get("flip") and shape[2] == 1:
        raise InputError(
            f"datasets.{name}.augment.flip: true, but a single column of pixels, or a row of a "
            "table, has no sides to swap."
        )


def _is_of(path: Path, settings: Mapping) -> bool:
    """Whether a decoded file is there, made by these settings; one without a note, from before
    there were any, counts as such."""
    note = sources.note_of(path)
    return path.exists() and (not note.exists() or read_json(note) == sources.decoded_by(settings))


def _prepared(path: Path) -> tuple[tuple[int, int], tuple[int, int, int], int]:
    """(Training, test) images, their shape and the number of classes of a decoded data set."""
    shapes, metadata = read_shapes(path)
    try:
        train, *shape = shapes["train_images"]
        channels, height, width = shape
        classes = len(metadata["classes"])
        return (train, shapes["test_images"][0]), (channels, height, width), classes
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Damaged(path, f"not a data set ({error!r})") from None
