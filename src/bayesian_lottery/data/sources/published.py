"""Data sets as their authors publish them: downloaded where they are missing, and verified.

A function raises what its library does when files are missing or damaged; `sources` says it well.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

from bayesian_lottery.data.sources.archives import read_member


@dataclass(frozen=True)
class Cifar:
    """A CIFAR in its authors' binary version (Krizhevsky, 2009, cs.toronto.edu/~kriz/cifar.html).

    Theirs for Python, which torchvision reads, holds the same bytes in pickles, and a pickle can
    run any program.

    Attributes:
        archive: the file's name.
        md5: its digest, as published.
        folder: of the members in it.
        train, test, names: members; images of the first two, class names a line in the last.
        labels: bytes before an image, of which the last is the class.
    """

    archive: str
    md5: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    labels: int


CIFAR10 = Cifar(
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-10-batches-bin",
    tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    ("test_batch.bin",),
    "batches.meta.txt",
    labels=1,
)
CIFAR100 = Cifar(
    "cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
    "cifar-100-binary",
    ("train.bin",),
    ("test.bin",),
    "fine_label_names.txt",
    labels=2,
)


def cifar(version: Cifar, root: Path):
    """Classes, and [training, test] images, of the archive in the folder `root`."""
    import numpy as np
    import torch
    from torchvision.datasets.utils import download_url

    from bayesian_lottery.data import decoded

    address = f"https://www.cs.toronto.edu/~kriz/{version.archive}"
    download_url(address, str(root), version.archive, version.md5)  # if it is not there, or bad
    members = {}
    with tarfile.open(root / version.archive) as archive:
        for member in archive:
            if member.isfile():
                name = member.name.removeprefix(f"{version.folder}/")
                members[name] = read_member(archive, member)

    def split(names: tuple[str, ...]) -> decoded.Split:
        stored = np.frombuffer(b"".join(members[name] for name in names), np.uint8)
        rows = stored.reshape(-1, version.labels + 3072)
        images = torch.tensor(rows[:, version.labels :]).view(-1, 3, 32, 32)
        return decoded.Split(images, torch.tensor(rows[:, version.labels - 1]).long())

    classes = tuple(members[version.names].decode().split())
    return classes, [split(version.train), split(version.test)]


def mnist(loader: str, root: Path):
    """Classes, and [training, test] images, of a class in torchvision.datasets."""
    from torchvision import datasets

    from bayesian_lottery.data import decoded

    load = getattr(datasets, loader)
    halves = [load(root, train=train, download=True) for train in (True, False)]
    return tuple(halves[0].classes), [decoded.Split(h.data[:, None], h.targets) for h in halves]
