"""Where data come from: each source is decoded once, into the one file that `decoded` reads.

The Snakefile imports this package to check the configuration, so everything slow to import (torch,
torchvision, scikit-learn, Pillow) is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bayesian_lottery import files
from bayesian_lottery.data import subsets
from bayesian_lottery.data.sources import folders, published, tables
from bayesian_lottery.errors import InputError, choice, few, short

if TYPE_CHECKING:
    from bayesian_lottery.data.decoded import Images, Split

Shape = tuple[int, int, int]  # (C, H, W)


@dataclass(frozen=True)
class Source:
    """What is known of a source before it is read.

    Attributes:
        sizes: how many images to train with (some of which a study may hold out) and to test with.
        image_shape: (C, H, W).
        classes: how many. All three are None where only the data can tell.
        needs: the path below `root` that holds it, or to which it is downloaded, if it can be.
        decode: takes `root`; gives the classes' names and [training, test] images, or one part
            that is still to be divided. None: `read` does it, with more than a root.
        read: gives the whole data set.
        look: gives the shape, and the training images of each class, that `read` will find, where
            only the data tell.
        root: what `root` has to be, of data that cannot be downloaded.
        options: the settings that not all sources have, of those that this one has, but for `root`.
        value_bytes: what a pixel and channel, or a column, takes.
    """

    sizes: tuple[int, int] | None = None
    image_shape: tuple[int, int, int] | None = None
    classes: int | None = None
    needs: str | None = None
    decode: Callable[[Path], tuple[tuple[str, ...], list]] | None = None
    read: Callable[[Request, Means], Images] | None = None
    look: Callable[[Request], tuple[Shape, list[int]]] | None = None
    root: str | None = None
    options: tuple[str, ...] = ()
    value_bytes: int = 1

    @property
    def takes(self) -> tuple[str, ...]:
        """The settings that not all sources have, of those that this one has."""
        return ("root", *self.options) if self.needs or self.root else self.options

    def seen(self, given: Request) -> tuple[Shape, list[int]]:
        """The shape, and the training images of each class: where the size is known about so many,
        as if all classes had the same number."""
        if self.look:
            return self.look(given)
        assert self.sizes and self.image_shape and self.classes  # as all without `look`
        return self.image_shape, [
            len(range(n, self.sizes[0], self.classes)) for n in range(self.classes)
        ]


class Request(NamedTuple):
    """A data set to look at or to decode: its name, root and settings, and the share to test on."""

    name: str
    root: Path
    settings: Mapping
    fraction: float


class Means(NamedTuple):
    """What decoding takes: how to divide what comes in one part, a folder on the disk of the
    output, and how many processes to use."""

    divide: Callable[[Split], tuple[Split, Split]]
    scratch: Path
    workers: int


def _digits(_: object):
    """The 8x8 digits inside scikit-learn."""
    import torch
    from sklearn.datasets import load_digits

    from bayesian_lottery.data import decoded

    digits = load_digits()
    images = torch.from_numpy(digits.images)[:, None].mul(255 / 16).round().to(torch.uint8)
    split = decoded.Split(images, torch.from_numpy(digits.target).long())
    return tuple(map(str, digits.target_names)), [split]


def _folder(given: Request, means: Means) -> Images:
    """The images of a folder or archive, with the statistics of their channels."""
    from bayesian_lottery.data import decoded

    size = given.settings.get("size")
    classes, (train, test) = folders.decode(given.name, given.root, size, given.fraction, *means)
    statistics = decoded.channel_statistics(train.images)
    return decoded.Images(given.name, classes, train, test, *statistics)


CIFAR10, CIFAR100 = published.CIFAR10, published.CIFAR100
SOURCES = {
    "digits": Source((1438, 359), (1, 8, 8), 10, None, _digits),
    "mnist": Source(
        (60_000, 10_000), (1, 28, 28), 10, "MNIST/raw/*-ubyte", partial(published.mnist, "MNIST")
    ),
    "fashion_mnist": Source(
        (60_000, 10_000),
        (1, 28, 28),
        10,
        "FashionMNIST/raw/*-ubyte",
        partial(published.mnist, "FashionMNIST"),
    ),
    "cifar10": Source(
        (50_000, 10_000), (3, 32, 32), 10, CIFAR10.archive, partial(published.cifar, CIFAR10)
    ),
    "cifar100": Source(
        (50_000, 10_000), (3, 32, 32), 100, CIFAR100.archive, partial(published.cifar, CIFAR100)
    ),
    "imagefolder": Source(
        read=_folder,
        look=lambda given: folders.look(
            given.name, given.root, given.settings.get("size"), given.fraction
        ),
        root=f"a folder or tar archive of {folders.LAYOUTS}",
        options=("test_fraction", "size"),
    ),
    "table": Source(
        read=lambda given, means: tables.decode(*given, means.divide),
        look=lambda given: tables.look(*given),
        root=tables.ROOT,
        options=("test_fraction", "target", "numeric", "categorical"),
        value_bytes=4,
    ),
    "breast_cancer": Source(
        (456, 113),
        (30, 1, 1),
        2,
        read=lambda given, means: tables.breast_cancer(given.name, means.divide),
        value_bytes=4,
    ),
}
TEST_FRACTION = 0.2

# The settings that a decoded file depends on, in the order in which jobs have ever been told them.
DECODED_BY = (
    *("source", "root", "size", "test_fraction", "target", "numeric", "categorical"),
    *("classes", "images"),
)


def decoded_by(settings: Mapping) -> dict:
    """Those of a data set's settings that its decoded file depends on."""
    return {name: settings[name] for name in DECODED_BY if settings.get(name) is not None}


def note_of(decoded: str | Path) -> Path:
    """The file beside a decoded one that says by which settings it was made."""
    return Path(decoded).with_suffix(".json")


def check(name: str, settings: Mapping) -> tuple[Shape, list[int]]:
    """Check the settings of the data set `name` before any job starts.

    Nothing is downloaded. Of an image folder the names of all files and the header of one image a
    class are read; a tar archive has to be read through for that.

    Args:
        settings: `source`; `root`, `size` (pixels) and `test_fraction` where the source has them;
            `classes`, those to keep; `images`, how many of training. Other keys are ignored, and
            None counts as absent.

    Returns:
        The shape (C, H, W), and the training images of each class; of sources of known size these
        are about so many, as if all classes had the same number.

    Raises:
        InputError: one sentence that names the key, its value and what is allowed.
    """
    source, root = _validated(name, settings)
    shape, counts = source.seen(Request(name, root, settings, _test_fraction(settings)))
    if chosen := settings.get("classes"):
        subsets.check(name, chosen, len(counts))
        counts = [counts[each] for each in chosen]
    if count := settings.get("images"):
        if source.look or not chosen:  # of some classes of the others the sum is not known
            subsets.check_count(name, count, counts)
        counts = [subsets.held(images, count / sum(counts)) for images in counts]
    return shape, counts


def prepare(name: str, settings: Mapping, out: str | Path, workers: int = 1) -> None:
    """Decode the data set `name` into the file `out`, downloading it if its root lacks it, and note
    beside it by which settings.

    Args:
        settings: as for `check`.
        workers: processes that decode single images.

    Raises:
        InputError: the settings or the data are wrong, or there is no network to download from.
    """
    from bayesian_lottery import randomness
    from bayesian_lottery.data import decoded

    def divide(whole: decoded.Split) -> tuple[decoded.Split, decoded.Split]:
        """Class by class, and the same on every machine."""
        return decoded.hold_out(whole, fraction, randomness.generator("sources", "test"))

    source, root = _validated(name, settings)
    fraction = _test_fraction(settings)
    if source.read:
        scratch = Path(out).parent
        scratch.mkdir(parents=True, exist_ok=True)
        given = Request(name, root, settings, fraction)
        images = source.read(given, Means(divide, scratch, workers))
    elif source.decode:
        try:
            classes, parts = source.decode(root)
        except (OSError, RuntimeError, ValueError, AssertionError) as error:
            raise InputError(
                f"datasets.{name}.root: '{root}' does not hold a complete {source.needs} and"
                f" downloading it failed ({' '.join(str(error).split())}); without a network, put"
                " it there."
            ) from None
        train, test = parts if len(parts) == 2 else divide(parts[0])
        statistics = decoded.channel_statistics(train.images)
        images = decoded.Images(name, classes, train, test, *statistics)
    if chosen := settings.get("classes"):
        images = subsets.of_classes(images, chosen)
    if count := settings.get("images"):
        images = subsets.of_images(images, count)
    decoded.save(out, images, str(settings["source"]))
    files.write_json(note_of(out), decoded_by(settings))


def _test_fraction(settings: Mapping) -> float:
    return settings.get("test_fraction") or TEST_FRACTION


def _validated(name: str, settings: Mapping) -> tuple[Source, Path]:
    """The source and root that `settings` ask for, once each value has been found possible.

    A source that needs no root gets one that means nothing.
    """
    key, chosen = f"datasets.{name}", settings.get("source")
    if chosen not in SOURCES:
        raise choice(f"{key}.source", chosen, SOURCES)
    size, fraction = settings.get("size"), settings.get("test_fraction")
    for option in dict.fromkeys(each for source in SOURCES.values() for each in source.takes):
        if settings.get(option) is not None and option not in SOURCES[chosen].takes:
            owners = few(owner for owner, source in SOURCES.items() if option in source.takes)
            raise InputError(
                f"{key}.{option}: {short(settings[option])} given, but the source {chosen} takes "
                f"none; it goes with {owners}."
            )
    if size is not None and not (type(size) is int and size > 0):
        raise InputError(f"{key}.size: {size!r} is not a whole number of pixels above 0.")
    if fraction is not None and not (isinstance(fraction, float) and 0 < fraction < 1):
        raise InputError(f"{key}.test_fraction: {fraction!r} is not a number between 0 and 1.")
    source = SOURCES[chosen]
    if "root" not in source.takes:
        return source, Path()
    if not isinstance(settings.get("root"), str):
        raise InputError(f"{key}.root: missing; the source {chosen} needs a path here.")
    try:
        root = Path(settings["root"]).expanduser()
        exists, readable = root.exists(), root.is_dir() or root.is_file()
    except (OSError, RuntimeError, UnicodeEncodeError) as error:  # too long, no such home, ...
        raise InputError(
            f"{key}.root: {short(settings['root'])} cannot be looked at ({error})."
        ) from None
    if source.root and not readable:
        fault = "is neither a folder nor a file" if exists else "does not exist"
        raise InputError(f"{key}.root: {str(root)!r} {fault}; give {source.root}.")
    if source.needs and exists and not root.is_dir():
        raise InputError(
            f"{key}.root: {str(root)!r} is a file; the source {chosen} needs a folder, one that"
            f" holds {source.needs} or into which it can be downloaded."
        )
    return source, root
