"""The batches of a training run: which images each step takes, augmented and normalised."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from bayesian_lottery.data.decoded import (
    Images,
    Split,
    augment,
    hold_out,
    normalise,
    to_device,
)
from bayesian_lottery.errors import InputError
from bayesian_lottery.randomness import generator


def divide(images: Images, settings: Mapping, split: Split | None = None) -> tuple[Split, Split]:
    """The images that a node of `settings` trains on, and those that it holds out: the same ones
    for all nodes of a data set.

    Args:
        split: what is divided in place of the training images, such as their numbers.
    """
    stream = generator("hold_out", images.name)
    whole = images.train if split is None else split
    return hold_out(whole, settings["validation"], stream)


class Batches:
    """Batches for networks that train side by side, each in an order of its own.

    Args:
        images: the data set.
        training: those of its images that are trained on.
        size: images a step and network. The last, smaller batch of an epoch is left out.
        options: `augment`'s.
        streams: of each network, the coordinates that name its random streams.

    Raises:
        InputError: there are fewer images than a batch takes.
    """

    def __init__(
        self,
        images: Images,
        training: Split,
        size: int,
        options: Mapping,
        streams: Sequence[Sequence[object]],
    ):
        self.images, self.training, self.size, self.options = images, training, size, options
        self.streams, self.device = streams, images.mean.device
        self.generators = [
            generator(*stream, "augmentation", device=self.device) for stream in streams
        ]
        self.per_epoch = len(training) // size
        if self.per_epoch == 0:
            raise InputError(
                f"batch_size: {size} is more than the {len(training)} training images."
            )
        self.epoch, self.orders = -1, torch.empty(0)

    @property
    def on_device(self) -> bool:
        """Whether the images are where networks are."""
        return self.training.labels.device.type == self.device.type

    def rows(self, step: int) -> Tensor:
        """The numbers of a step's images, (networks, B) int64, where the images are."""
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch, self.orders = epoch, self._orders(epoch)
        return self.orders[:, index * self.size : (index + 1) * self.size]

    def of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images (networks x B, C, H, W) float32 and labels of `rows`, network after network."""
        augmented = [
            augment(to_device(self.training.images[chosen], self.device), stream, **self.options)
            for chosen, stream in zip(rows, self.generators, strict=True)
        ]
        inputs = normalise(torch.cat(augmented), self.images.mean, self.images.std)
        return inputs, to_device(self.training.labels[rows].flatten(), self.device)

    def as_they_are(self, stream: Sequence[object]) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of all training images without augmentation, inputs and labels; always in the
        order that a stream names."""
        order = torch.randperm(len(self.training), generator=generator(*stream, "as they are"))
        for rows in order.to(self.training.labels.device).split(self.size):
            pixels = to_device(self.training.images[rows], self.device)
            labels = to_device(self.training.labels[rows], self.device)
            yield normalise(pixels, self.images.mean, self.images.std), labels

    def _orders(self, epoch: int) -> Tensor:
        """The order of all images in an epoch, a row a network; where the images are."""
        shuffles = [generator(*stream, "order", epoch) for stream in self.streams]
        orders = [torch.randperm(len(self.training), generator=each) for each in shuffles]
        return torch.stack(orders).to(self.training.labels.device)
