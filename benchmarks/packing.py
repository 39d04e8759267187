"""What networks side by side gain on the test cluster, against one network a job.

    python benchmarks/packing.py                # eight branches of some seconds each, three times
    python benchmarks/packing.py --branches 16 --repeats 1

Prints a table for docs/slurm.md. It needs what tests/slurm/cluster.py needs: root and SLURM. The
cluster has one GPU, which is a stand-in: training runs on this machine's cores.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/slurm"))

from cluster import Cluster  # noqa: E402
from project import Project  # noqa: E402
from test_packing import LEVEL, TRUNK  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--branches", type=int, default=8, help="default: 8")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    given = parser.parse_args()
    ways = {"one a job": 1, f"{given.branches} a job": given.branches}
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with (
        tempfile.TemporaryDirectory(prefix="lottery-packing-") as name,
        Cluster(gpu_nodes=1, gpus=1) as cluster,
    ):
        for _ in range(given.repeats):
            for way, together in ways.items():
                folder = Path(name) / "project"
                folder.mkdir()
                measured[way].append(run(folder, cluster, given.branches, together))
                shutil.rmtree(folder)
    cores = len(os.sched_getaffinity(0))
    print(f"{given.branches} branches, {given.repeats} repeats, {cores} cores, ", end="")
    print(f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}\n")
    print("| | " + " | ".join(measured) + " |\n| --- | --- | --- |")
    for what in ("jobs submitted", "until all is done, s", "a GPU is held, s"):
        values = [[f"{one[what]:.0f}" for one in found] for found in measured.values()]
        print(f"| {what} | " + " | ".join(", ".join(each) for each in values) + " |")
    medians = [
        statistics.median(one["until all is done, s"] for one in found)
        for found in measured.values()
    ]
    print(f"\nmedian gain: {medians[0] / medians[1]:.2f} times")


def run(folder: Path, cluster: Cluster, branches: int, together: int) -> dict[str, float]:
    """Train all branches, `together` of them a job, and measure."""
    targets = [f"results/{LEVEL}/reinit_{i}/metrics.json" for i in range(branches)]
    project = Project.fresh(folder, "packing.yaml", *targets)
    path = folder / "config/packing.yaml"
    config = yaml.safe_load(path.read_text())
    config["networks_per_job"] = together
    config["branches"][0]["replicates"] = branches
    path.write_text(yaml.safe_dump(config))
    dense = f"results/{TRUNK}/dense/metrics.json"  # what the branches start from
    Project(folder, "packing.yaml", dense).locally().finish()

    before = set(cluster.squeue())
    rule = "train_branch" if together == 1 else "train_pack_3"
    started = time.perf_counter()
    project.on_cluster("--set-resources", f"{rule}:mem_mb=1600").finish(1200)
    seconds = time.perf_counter() - started
    jobs = set(cluster.squeue()) - before
    return {
        "jobs submitted": len(jobs),
        "until all is done, s": seconds,
        "a GPU is held, s": sum(map(elapsed, jobs)),
    }


def elapsed(job: int) -> int:
    """Seconds that the job ran."""
    command = ["squeue", "--states=all", "--noheader", f"--jobs={job}", "--Format=TimeUsed"]
    used = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    minutes, seconds = used.split(":")[-2:]
    return int(minutes) * 60 + int(seconds)


if __name__ == "__main__":
    main()
