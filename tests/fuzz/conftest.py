"""One folder for all examples: they leave nothing in it."""

import contextlib

import pytest
from configurations import checkout


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    checkout(folder)
    with contextlib.chdir(folder):
        yield folder
