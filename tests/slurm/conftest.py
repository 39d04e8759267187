"""The test cluster as a fixture, one for the session."""

import os
from collections.abc import Iterator

import pytest
from cluster import Cluster
from machine import obstacle


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running cluster; without SLURM or root a skip, or a failure where SLURM is required."""
    if reason := obstacle():
        required = os.environ.get("CI") == "true" or os.environ.get("LOTTERY_REQUIRE_SLURM") == "1"
        (pytest.fail if required else pytest.skip)(reason)
    with Cluster() as running:
        yield running


@pytest.fixture
def idle_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with no jobs before and after the test."""
    yield cluster
    cluster.clear()
