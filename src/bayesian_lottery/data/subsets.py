"""Data sets of some of the classes of a source, or of some of its training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bayesian_lottery.errors import InputError, few

if TYPE_CHECKING:
    from bayesian_lottery.data.decoded import Images, Split


def check(name: str, chosen: Sequence[int], classes: int) -> None:
    """Raise an `InputError` if the data set `name` has fewer `classes` than those chosen need."""
    if beyond := [each for each in chosen if each >= classes]:
        raise InputError(
            f"datasets.{name}.classes: {few(beyond)} given, but its source has {classes} classes, "
            f"which count from 0 to {classes - 1}."
        )


def of_classes(images: Images, chosen: Sequence[int]) -> Images:
    """The images of the classes `chosen`, which become 0, 1, ... in this order.

    An image stays where it was, among those of training or of test. The statistics of the channels
    are those of what is left; a table's rows stay standardised as they were.

    Raises:
        InputError: there is no such class.
    """
    import torch

    from bayesian_lottery.data.decoded import channel_statistics

    check(images.name, chosen, len(images.classes))
    label_of = torch.full((len(images.classes),), -1)
    label_of[list(chosen)] = torch.arange(len(chosen))

    def part(split: Split) -> Split:
        labels = label_of[split.labels]
        kept = split[labels >= 0]
        return replace(kept, labels=label_of[kept.labels])

    train, test = part(images.train), part(images.test)
    mean, std = images.mean, images.std
    if not images.columns:
        mean, std = channel_statistics(train.images)
    names = tuple(images.classes[each] for each in chosen)
    return replace(images, classes=names, train=train, test=test, mean=mean, std=std)


def held(images: int, fraction: float) -> int:
    """How many of a class's images `decoded.hold_out` holds out: its share, but never the last."""
    return min(round(fraction * images), images - 1)


def check_count(name: str, count: int, counts: Sequence[int]) -> None:
    """Raise an `InputError` unless the data set `name`, of so many training images of each class,
    has more of them than `count`, and some of each class are among so few."""
    available = sum(counts)
    if count >= available:
        raise InputError(
            f"datasets.{name}.images: {count} is not fewer than the {available} training images; "
            "leave it out for all of them."
        )
    if not held(min(counts), count / available):
        raise InputError(
            f"datasets.{name}.images: {count} of the {available} training images would leave none "
            "of the smallest class; give more."
        )


def of_images(images: Images, count: int) -> Images:
    """So many of the training images, up to rounding, of each class in its share; all of the test.

    They are the same on every machine, whatever the data set is called. The statistics of the
    channels are those of what is left; a table's rows stay standardised as they were.

    Raises:
        InputError: there are not more, or a class would have none.
    """
    from bayesian_lottery.data.decoded import channel_statistics, hold_out
    from bayesian_lottery.randomness import generator

    check_count(images.name, count, images.train.labels.bincount().tolist())
    share = count / len(images.train)
    _, train = hold_out(images.train, share, generator("sources", "images"))
    mean, std = images.mean, images.std
    if not images.columns:
        mean, std = channel_statistics(train.images)
    return replace(images, train=train, mean=mean, std=std)
