"""The demo's whole graph, in small, through SLURM, with the real plugin and the real profile."""

from pathlib import Path

import pytest
import yaml
from cluster import Cluster
from project import ROOT, SITE, Project

pytestmark = pytest.mark.slurm

NODES = 16  # of study.yaml: two trunks of three levels, four branches from each, two transplants


def test_the_study_gives_the_tables_of_a_local_run(idle_cluster: Cluster, tmp_path: Path) -> None:
    here, there = (tmp_path / name for name in ("here", "there"))
    here.mkdir(), there.mkdir()
    local = Project.fresh(here, "study.yaml")
    remote = Project.fresh(there, "study.yaml")
    try:
        local.locally().finish()
        remote.on_cluster().finish(600)
    finally:
        local.close(), remote.close()
    assert len(remote.table("runs")) == NODES
    for name in ("runs", "layers"):
        assert remote.table(name) == local.table(name)
    assert without_times(remote.table("claims")) == without_times(local.table("claims"))
    assert remote.figures() == local.figures() != set()
    # Training, and nothing else, was queued: every node once.
    jobs = sorted(idle_cluster.squeue().values())[-NODES:]  # by number: other tests' come first
    assert [job.state for job in jobs] == ["COMPLETED"] * NODES
    assert remote.runs[0].output.count("has been submitted with SLURM jobid") == NODES


def without_times(claims: list[dict]) -> list[dict]:
    """The claims that are not about how long training takes."""
    kept = [row for row in claims if "seconds" not in row["statistic"]]
    assert len(kept) > len(claims) / 2
    return kept


def test_the_profile_needs_no_accounting(idle_cluster: Cluster) -> None:
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
    assert profile["slurm-status-command"] == "squeue"
    assert "slurm-no-requeue" not in profile and "slurm-array-jobs" not in profile
    assert not any("sacct" in word for word in SITE)
    assert "accounting_storage/none" in (Path("/etc/slurm/slurm.conf")).read_text()
