"""Data sets in memory: the file, the held-out part, and augmentation against a plain loop."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from bayesian_lottery import files
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.training import checkpoints


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(count: int, shape=(3, 5, 4), seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=seeded(seed))


def small(**changes) -> decoded.Images:
    train = decoded.Split(random_images(6), torch.tensor([0, 1, 2, 0, 1, 2]))
    test = decoded.Split(random_images(3, seed=1), torch.tensor([2, 1, 0]))
    mean, std = decoded.channel_statistics(train.images)
    fields = {"name": "toy", "classes": ("a", "b", "c"), "train": train, "test": test}
    return decoded.Images(**{**fields, "mean": mean, "std": std, **changes})


@pytest.mark.slow
def test_importing_data_does_not_import_torchvision():
    command = "import sys, bayesian_lottery.data.decoded; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


# The file


def test_a_saved_data_set_loads_unchanged(tmp_path):
    saved = small()
    decoded.save(tmp_path / "toy.safetensors", saved, "somewhere")
    loaded = decoded.load(tmp_path / "toy.safetensors")
    assert (loaded.name, loaded.classes) == ("toy", ("a", "b", "c"))
    assert loaded.image_shape == (3, 5, 4)
    for half in ("train", "test"):
        for field in ("images", "labels"):
            before, after = (getattr(getattr(x, half), field) for x in (saved, loaded))
            assert torch.equal(before, after) and before.dtype == after.dtype
    assert torch.equal(saved.mean, loaded.mean) and torch.equal(saved.std, loaded.std)
    assert files.read_tensors(tmp_path / "toy.safetensors")[1]["source"] == "somewhere"


def rewritten(path, tensors=None, metadata=None):
    """A good file at `path` with some tensors and metadata replaced; None removes an entry."""
    decoded.save(path, small(), "test")
    parts = files.read_tensors(path)
    for part, changes in zip(parts, (tensors or {}, metadata or {}), strict=True):
        part.update(changes)
    files.write_tensors(path, *({k: v for k, v in p.items() if v is not None} for p in parts))
    return path


def test_labels_may_be_bytes_on_disk(tmp_path):
    labels = torch.tensor([0, 1, 2, 0, 1, 2], dtype=torch.uint8)
    loaded = decoded.load(rewritten(tmp_path / "d.safetensors", {"train_labels": labels}))
    assert loaded.train.labels.dtype == torch.int64
    assert loaded.train.labels.tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        ({"test_labels": None}, {}, "test_labels"),
        ({}, {"mean": None}, "mean"),
        ({}, {"mean": [0.5]}, "each of 3 channels"),
        ({}, {"std": [0.1, 0.0, 0.1]}, "std above 0"),
        ({}, {"std": ["a", "b", "c"]}, "not a prepared data set"),
        ({}, {"classes": ["a", "b", "c", "d"]}, "no train image has the class d"),
        ({}, {"classes": ["a", "b"]}, "labels run from 0 to 2, with 2 classes"),
        ({"train_labels": torch.tensor([0, 1, 1, 0, 1, 1])}, {}, "no train image has the class c"),
        ({"train_labels": torch.tensor([-1, 1, 2, 0, 1, 2])}, {}, "from -1 to 2"),
        ({"train_labels": torch.zeros(6)}, {}, "torch.float32"),
        ({"train_labels": torch.tensor([0, 1, 2])}, {}, "one integer for each of 6"),
        ({"train_images": torch.zeros(6, 3, 5, 4)}, {}, "not uint8"),
        ({"train_images": torch.zeros(6, 5, 4, dtype=torch.uint8)}, {}, "shape (6, 5, 4)"),
        ({"test_images": torch.zeros(3, 1, 5, 4, dtype=torch.uint8)}, {}, "test images (1, 5, 4)"),
        (
            {
                "test_images": torch.zeros(0, 3, 5, 4, dtype=torch.uint8),
                "test_labels": torch.zeros(0, dtype=torch.int64),
            },
            {},
            "no test images",
        ),
    ],
)
def test_an_inconsistent_file_is_refused_by_name(tmp_path, tensors, metadata, words):
    path = rewritten(tmp_path / "bad.safetensors", tensors, metadata)
    with pytest.raises(InputError) as caught:
        decoded.load(path)
    assert str(path) in str(caught.value) and words in str(caught.value)


def test_an_inconsistent_data_set_is_not_written(tmp_path):
    with pytest.raises(InputError, match="class d"):
        decoded.save(tmp_path / "d.safetensors", small(classes=("a", "b", "c", "d")), "test")
    assert not list(tmp_path.iterdir())


def test_a_large_file_is_verified_when_it_is_written_and_not_when_it_is_loaded(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(files, "LARGE", 100)
    path = tmp_path / "toy.safetensors"
    decoded.save(path, small(), "somewhere")
    before = checkpoints.fingerprint({}, [path])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # a pixel
    path.write_bytes(content)
    decoded.load(path)
    assert checkpoints.fingerprint({}, [path]) == before
    path.write_bytes(content[:-1])
    with pytest.raises(files.Damaged):
        decoded.load(path)
    decoded.save(path, small(classes=("a", "b", "d")), "somewhere")
    assert checkpoints.fingerprint({}, [path]) != before, "it is of another content"

    def write(path, *_):
        path.write_bytes(content)

    monkeypatch.setattr(files, "write_tensors", write)
    with pytest.raises(files.Damaged):
        decoded.save(path, small(), "somewhere")


# Statistics and normalising


def test_channel_statistics_are_those_of_the_pixels():
    images = random_images(5000, (2, 3, 3))
    mean, std = decoded.channel_statistics(images)
    pixels = images.double().div(255).transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean, pixels.mean(1).float())
    torch.testing.assert_close(std, pixels.std(1, correction=0).float())


def test_normalised_training_images_have_mean_zero_and_deviation_one():
    images = random_images(1000)
    normal = decoded.normalise(images, *decoded.channel_statistics(images))
    assert normal.dtype == torch.float32 and normal.shape == images.shape
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std((0, 2, 3), correction=0), torch.ones(3))


def test_a_constant_channel_normalises_to_zero():
    images = random_images(10)
    images[:, 1] = 7
    normal = decoded.normalise(images, *decoded.channel_statistics(images))
    torch.testing.assert_close(normal[:, 1], torch.zeros(10, 5, 4), atol=1e-6, rtol=0)


# Holding out


@given(
    labels=st.lists(st.integers(0, 4), max_size=60),
    fraction=st.floats(0, 0.99),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=50)
def test_hold_out_divides_every_class_in_proportion(labels, fraction, seed):
    labels = torch.tensor(labels, dtype=torch.int64)
    # Each image is its own index, so that images can be followed.
    images = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1)
    parts = decoded.hold_out(decoded.Split(images, labels), fraction, seeded(seed))
    indices = [part.images.flatten().tolist() for part in parts]
    assert sorted(indices[0] + indices[1]) == list(range(len(labels)))
    for part, index in zip(parts, indices, strict=True):
        assert index == sorted(index)
        assert part.labels.tolist() == labels[index].tolist()
        assert part.images.shape[1:] == (1, 1, 1)
    for label in set(labels.tolist()):
        count = int((labels == label).sum())
        held = int((parts[1].labels == label).sum())
        assert held == min(round(fraction * count), count - 1)
    again = decoded.hold_out(decoded.Split(images, labels), fraction, seeded(seed))
    assert again[1].images.flatten().tolist() == indices[1]


def test_hold_out_depends_on_the_generator_and_refuses_everything():
    split = decoded.Split(random_images(100), torch.arange(100) % 2)
    first, second = (decoded.hold_out(split, 0.5, seeded(seed))[1] for seed in (0, 1))
    assert not torch.equal(first.images, second.images)
    assert len(decoded.hold_out(split, 0, seeded())[1]) == 0
    for fraction in (-0.1, 1):
        with pytest.raises(ValueError, match="fraction"):
            decoded.hold_out(split, fraction, seeded())


# Augmentation


def plain_augment(images, generator, flip, crop):
    """The same draws, applied to one image after the other by slicing and flipping."""
    batch, _, height, width = images.shape
    tops, lefts = torch.randint(2 * crop + 1, (2, batch), generator=generator).tolist()
    flips = torch.randint(2, (batch,), generator=generator).tolist() if flip else [0] * batch
    out = []
    for image, top, left, mirror in zip(images, tops, lefts, flips, strict=True):
        window = pad(image, (crop,) * 4)[:, top : top + height, left : left + width]
        out.append(window.flip(2) if mirror else window)
    return torch.stack(out)


@given(
    batch=st.integers(1, 9),
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 7), st.integers(1, 7)),
    flip=st.booleans(),
    crop=st.integers(0, 8),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=100)
def test_augment_equals_a_loop_over_images(batch, shape, flip, crop, seed):
    images = random_images(batch, shape, seed)
    before = images.clone()
    augmented = decoded.augment(images, seeded(seed), flip, crop)
    assert augmented.dtype == torch.uint8
    assert torch.equal(augmented, plain_augment(images, seeded(seed), flip, crop))
    assert torch.equal(images, before)


def test_augment_does_nothing_when_nothing_is_asked():
    images, generator = random_images(8), seeded()
    state = generator.get_state()
    assert torch.equal(decoded.augment(images, generator, flip=False, crop=0), images)
    assert torch.equal(generator.get_state(), state)


def test_flips_mirror_half_of_the_images():
    images = random_images(2000)
    augmented = decoded.augment(images, seeded(), flip=True, crop=0)
    mirrored = (augmented == images.flip(3)).flatten(1).all(1)
    kept = (augmented == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 900 < int(mirrored.sum()) < 1100  # 1000 +- 4.5 standard deviations


def test_offsets_are_uniform_in_both_directions_and_independent():
    # One white pixel in the middle of black shows where the window was.
    images = torch.zeros(9000, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 2] = 255
    augmented = decoded.augment(images, seeded(), flip=False, crop=1)
    where = augmented.flatten(1).int().argmax(1)
    counts = torch.bincount(where, minlength=25).reshape(5, 5)
    assert counts.sum() == counts[1:4, 1:4].sum()
    assert (counts[1:4, 1:4] - 1000).abs().max() < 140  # 4.7 standard deviations


def test_padding_is_black():
    white = torch.full((200, 3, 4, 4), 255, dtype=torch.uint8)
    augmented = decoded.augment(white, seeded(), flip=True, crop=2)
    assert set(augmented.unique().tolist()) == {0, 255}
