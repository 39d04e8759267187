"""Data sets as tensors on the training device, and whole-batch augmentation.

A table's rows stand in the place of images, as 1 x 1 pixels with a channel a column.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from bayesian_lottery import files
from bayesian_lottery.data import subsets
from bayesian_lottery.errors import InputError

# The share of a GPU's free memory that a data set may take; training copies its part of it.
ROOM = 0.25


@dataclass(frozen=True, eq=False)
class Split:
    """Images (uint8, N x C x H x W; of a table float32, N x columns x 1 x 1) and their labels
    (int64, N)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> Split:
        """The part of the split that `index` (anything that indexes a tensor) selects."""
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True, eq=False)
class Images:
    """A data set: the label `i` means `classes[i]`; `mean` and `std` (float32, C) are those of
    each channel over the training images, with pixels scaled to [0, 1].

    `mean` and `std` are on the device that computes. The splits are there too, or, where they would
    take too much of it, in main memory: `to_device` brings a batch over.

    A table's rows are standardised already; `mean` and `std` (float64) are those by which each of
    its `columns` was."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    mean: Tensor
    std: Tensor
    columns: tuple[str, ...] = ()

    @property
    def ranked(self) -> bool:
        """Whether AUC and average precision are measured: of a table with two classes."""
        return bool(self.columns) and len(self.classes) == 2

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


def save(path: str | Path, images: Images, source: str) -> None:
    """Write `images` as one safetensors file, atomically; `source` says where they came from.

    Raises:
        InputError: `load` would refuse the file, and nothing is written; or it was written, and
            what can be read is something else.
    """
    _validate(path, images)
    metadata = {
        "name": images.name,
        "source": source,
        "classes": list(images.classes),
        "mean": images.mean.tolist(),
        "std": images.std.tolist(),
        **({"columns": list(images.columns)} if images.columns else {}),
    }
    tensors = {
        "train_images": images.train.images,
        "train_labels": images.train.labels,
        "test_images": images.test.images,
        "test_labels": images.test.labels,
    }
    files.write_tensors(path, tensors, metadata)
    files.read_tensors(path)  # verifies it, large or not


def load(path: str | Path, device: torch.device | str = "cpu") -> Images:
    """Read a file that `save` wrote, for computing on `device`; labels become int64.

    The splits are on `device` if it has room, else in main memory. The checksum of a large file is
    not verified again; `save` has done that.

    Raises:
        InputError: the file is missing, truncated, or not a consistent data set.
    """
    home = _home(path, torch.device(device))
    tensors, metadata = files.read_tensors(path, home, verified=files.is_large(path))
    try:
        train, test = (
            Split(tensors[f"{half}_images"], _integers(tensors[f"{half}_labels"]))
            for half in ("train", "test")
        )
        columns = tuple(metadata.get("columns", ()))
        dtype = torch.float64 if columns else torch.float32
        mean, std = (
            torch.tensor(metadata[key], dtype=dtype, device=device) for key in ("mean", "std")
        )
        images = Images(
            metadata["name"], tuple(metadata["classes"]), train, test, mean, std, columns
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a prepared data set ({error!r}).") from None
    _validate(path, images)
    return images


def _home(path: str | Path, device: torch.device) -> torch.device:
    """Where the splits of a file are to be: on a GPU only if they leave most of it free."""
    if device.type == "cpu" or not Path(path).exists():
        return device
    size, (free, _) = Path(path).stat().st_size, torch.cuda.mem_get_info(device)
    if size <= ROOM * free:
        return device
    sizes = f"{size / 1e9:.1f} GB, of the GPU's {free / 1e9:.1f} GB"
    print(f"the data set stays in main memory, for it takes {sizes}", flush=True)
    return torch.device("cpu")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on `device`.

    From main memory to a GPU it goes by way of pinned memory, so that nothing waits for it: the CPU
    prepares batches while the GPU computes the steps before.
    """
    if tensor.device.type == device.type:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def _integers(labels: Tensor) -> Tensor:
    """uint8 labels as int64; other types are left for `_validate` to refuse."""
    return labels.long() if labels.dtype == torch.uint8 else labels


def _validate(path: str | Path, images: Images) -> None:
    """Raise an `InputError` that names `path` unless `images` is consistent."""

    def require(condition: bool, fault: str) -> None:
        if not condition:
            raise InputError(f"{path}: not a usable data set, {fault}.")

    table = len(images.columns)
    dtype, shape = (torch.float32, f"({table}, 1, 1)") if table else (torch.uint8, "(C, H, W)")
    for half, split in (("train", images.train), ("test", images.test)):
        require(
            split.images.dtype == dtype
            and split.images.dim() == 4
            and (not table or split.images.shape[1:] == (table, 1, 1)),
            f"{half} images are {split.images.dtype} of shape {tuple(split.images.shape)}"
            f" and not {str(dtype).removeprefix('torch.')} of shape (N, {shape[1:]}",
        )
        require(not table or bool(split.images.isfinite().all()), f"{half} rows are not finite")
        require(
            split.labels.dtype == torch.int64 and split.labels.shape == split.images.shape[:1],
            f"{half} labels are {split.labels.dtype} of shape {tuple(split.labels.shape)}"
            f" and not one integer for each of {len(split.images)} images",
        )
        require(split.images.numel() > 0, f"there are no {half} images")
        low, high = int(split.labels.min()), int(split.labels.max())
        require(
            low >= 0 and high < len(images.classes),
            f"{half} labels run from {low} to {high}, with {len(images.classes)} classes",
        )
    require(
        images.train.images.shape[1:] == images.test.images.shape[1:],
        f"train images are {tuple(images.train.images.shape[1:])}"
        f" and test images {tuple(images.test.images.shape[1:])}",
    )
    counts = torch.bincount(images.train.labels, minlength=len(images.classes)).tolist()
    absent = [name for name, count in zip(images.classes, counts, strict=True) if count == 0]
    require(not absent, f"no train image has the class {', '.join(absent)}")
    channels = images.image_shape[0]
    require(
        images.mean.shape == images.std.shape == (channels,) and bool((images.std > 0).all()),
        f"mean and std must hold one value for each of {channels} channels, std above 0",
    )


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, pixels scaled to [0, 1].

    Args:
        images: uint8, N x C x H x W.

    Returns:
        Two float32 tensors (C). They are exact up to the last rounding, whatever N. A channel
        that is constant gets the deviation 1, so that it normalises to 0 and not to NaN.
    """
    count = images.numel() // images.shape[1]
    histogram = images.new_zeros(images.shape[1], 256, dtype=torch.int64)
    for piece in images.split(4096):
        for counts, values in zip(histogram, piece.transpose(0, 1), strict=True):
            counts += torch.bincount(values.flatten(), minlength=256)
    values = torch.arange(256, device=images.device)
    total, squares = ((histogram * weight).sum(1).double() for weight in (values, values.square()))
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt() / 255
    return (mean / 255).float(), torch.where(std > 1e-6, std, 1.0).float()


def hold_out(split: Split, fraction: float, generator: torch.Generator) -> tuple[Split, Split]:
    """Divide `split` at random into (train, held out), class by class.

    Of each class of n images, round(fraction * n) are held out, but never the last one. Both
    parts keep the order of `split`. The generator may live on any device.

    Raises:
        ValueError: `fraction` is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the held-out fraction must be in [0, 1), not {fraction}")
    labels = split.labels.to(generator.device)
    shuffled = torch.randperm(len(split), generator=generator, device=generator.device)
    held = torch.zeros(len(split), dtype=torch.bool, device=generator.device)
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        held[members[: subsets.held(len(members), fraction)]] = True
    held = held.to(split.labels.device)
    return split[~held], split[held]


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 images (B x C x H x W) as float32 with zero mean and unit deviation a channel.

    A table's rows, which are float32, are so already.

    `mean` and `std` (C) are those of pixels scaled to [0, 1], as `Images` holds them.
    """
    if images.is_floating_point():
        return images
    # In place: on a CPU, fresh memory costs 15 times what the arithmetic does.
    return images.float().sub_(255 * mean[:, None, None]).div_(255 * std[:, None, None])


def augment(images: Tensor, generator: torch.Generator, flip: bool, crop: int) -> Tensor:
    """A random crop of the zero-padded image, then a random horizontal flip, for every image.

    The same distribution as torchvision's `RandomCrop(size, padding=crop)` and
    `RandomHorizontalFlip()` on uint8 images: the padding is black (0), not the mean colour. The
    whole batch takes one gather, and nothing waits for the device.

    Args:
        images: uint8, B x C x H x W.
        generator: on the device of `images`. The offsets are drawn before the flips.
        flip: mirror each image with probability 1/2.
        crop: pixels of padding on each side; offsets are uniform over 2 * crop + 1 positions a
            side.

    Returns:
        uint8, B x C x H x W; `images` itself where there is nothing to do.
    """
    if not flip and not crop:
        return images
    batch, channels, height, width = images.shape
    device = images.device
    offsets = torch.randint(2 * crop + 1, (2, batch, 1), generator=generator, device=device)
    columns = torch.arange(width, device=device)
    if flip:
        mirror = torch.randint(2, (batch, 1), generator=generator, device=device).bool()
        columns = torch.where(mirror, width - 1 - columns, columns)
    rows = offsets[0] + torch.arange(height, device=device)
    columns = offsets[1] + columns
    pixels = (rows[:, :, None] * (width + 2 * crop) + columns[:, None, :]).view(batch, 1, -1)
    padded = pad(images, (crop, crop, crop, crop)).flatten(2)
    return padded.gather(2, pixels.expand(-1, channels, -1)).view_as(images)
