"""MNIST and CIFAR are read from the files in which they are published."""

import dataclasses
import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from image_files import pack, prepared, refusal, write_mnist

from bayesian_lottery.data import sources
from bayesian_lottery.data.sources import published


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def test_mnist_is_read_from_a_local_root(tmp_path, no_network):
    pixels, labels = write_mnist(tmp_path)
    given = {"source": "mnist", "root": str(tmp_path)}
    assert sources.check("pets", given) == ((1, 28, 28), [6000] * 10)
    images = prepared(tmp_path, given)
    assert images.image_shape == (1, 28, 28) and len(images.classes) == 10
    for part in (images.train, images.test):
        assert np.array_equal(part.images[:, 0].numpy(), pixels)
        assert np.array_equal(part.labels.numpy(), labels)


@pytest.mark.parametrize("source", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_without_a_network_the_missing_files_are_named(tmp_path, no_network, source):
    given = {"source": source, "root": str(tmp_path / "nothing")}
    assert len(sources.check("pets", given)[1]) == sources.SOURCES[source].classes
    sentence = refusal(given, sources.prepare, tmp_path / "out")
    assert str(tmp_path / "nothing") in sentence and sources.SOURCES[source].needs in sentence


def test_a_truncated_mnist_is_refused(tmp_path, no_network):
    write_mnist(tmp_path)
    images = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-100])
    sentence = refusal({"source": "mnist", "root": str(tmp_path)}, sources.prepare, tmp_path / "o")
    assert "complete MNIST/raw" in sentence


def write_cifar(root: Path, version: published.Cifar) -> published.Cifar:
    """An archive of `version`'s layout with five images a member, and its description."""
    (root / version.folder).mkdir(parents=True)
    for number, name in enumerate((*version.train, *version.test)):
        random = np.random.default_rng(number)
        rows = random.integers(256, size=(5, version.labels + 3072), dtype=np.uint8)
        rows[:, : version.labels] = np.arange(5)[:, None] + 10 * np.arange(version.labels)[::-1]
        (root / version.folder / name).write_bytes(rows.tobytes())
    (root / version.folder / version.names).write_text("a\nb\nc\nd\ne\n\n")
    archive = pack(root, root / version.archive)
    return dataclasses.replace(version, md5=hashlib.md5(archive.read_bytes()).hexdigest())


@pytest.mark.parametrize("version", [published.CIFAR10, published.CIFAR100])
def test_cifar_is_read_from_its_binary_archive(tmp_path, no_network, version):
    version = write_cifar(tmp_path, version)
    classes, (train, test) = published.cifar(version, tmp_path)
    assert classes == ("a", "b", "c", "d", "e")
    assert len(train) == 5 * len(version.train) and len(test) == 5
    assert test.labels.tolist() == list(range(5)), "the last byte before an image is its class"
    for part, names in ((train, version.train), (test, version.test)):
        stored = (tmp_path / version.folder / names[0]).read_bytes()
        first = stored[version.labels : version.labels + 3072]  # red, green, blue; row by row
        assert part.images[0].numpy().tobytes() == first
        assert part.images.shape[1:] == (3, 32, 32)


def test_another_archive_than_the_published_one_is_refused(tmp_path, no_network):
    write_cifar(tmp_path, published.CIFAR10)
    given = {"source": "cifar10", "root": str(tmp_path)}
    assert "complete cifar-10-binary.tar.gz" in refusal(given, sources.prepare, tmp_path / "o")
