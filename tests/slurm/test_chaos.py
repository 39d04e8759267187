"""A short storm of random faults; `python tests/slurm/chaos.py` makes long ones."""

from pathlib import Path

import pytest
from chaos import storm
from cluster import Cluster

pytestmark = pytest.mark.slurm

FAULTS = 6


def test_a_storm_leaves_no_trace_in_the_results(idle_cluster: Cluster, tmp_path: Path) -> None:
    counts = storm(idle_cluster, tmp_path, FAULTS, seed=1)
    assert counts.total() == FAULTS
    assert len(counts) > 2
