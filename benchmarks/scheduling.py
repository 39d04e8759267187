"""What Snakemake itself costs for a study: building the graph, the first submission, each job.

    python benchmarks/scheduling.py                       # the paper's main study, five seeds each
    python benchmarks/scheduling.py --replicates 3        # and three of each branch, at all levels
    python benchmarks/scheduling.py --configfile config/config.yaml --seeds 2

Prints a table for docs/scale.md. Nothing is trained: data and initial weights are empty files, and
the commands of SLURM are stand-ins that take every job and let it run for ever.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from safetensors.numpy import save_file

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

PARTS = ("config", "profiles", "scripts", "src", "workflow")

STAND_INS = {
    "sbatch": """
        import os, time
        number = os.open("submitted", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(number, f"{time.time()}\\n".encode())
        print(os.fstat(number).st_size)
    """,
    "squeue": "",
    "scancel": "",
    "sinfo": "",
    "sacct": "",
    "sacctmgr": "",
    "scontrol": 'print("MinJobAge = 300 sec")',
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configfile", type=Path, default=ROOT / "config/cifar10.yaml")
    parser.add_argument("--seeds", type=int, default=5, help="of every trunk (default: 5)")
    parser.add_argument("--replicates", type=int, help="of every branch, at all levels")
    parser.add_argument("--submissions", type=int, default=50, help="to wait for (default: 50)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lottery-scheduling-") as name:
        folder = Path(name)
        prepare(folder, given.configfile, given.seeds, given.replicates)
        plain = dry_run(folder)
        rows = {
            "jobs in the graph": f"{plain['jobs']:,}",
            "building the graph, s": f"{plain['graph']:.0f}",
            "a dry run in all, s": f"{plain['all']:.0f}",
            "its CPU time, s": f"{plain['cpu']:.0f}",
            "its peak memory, MB": f"{plain['memory'] / 1e6:.0f}",
            "scheduling, ms a job": f"{1000 * (plain['all'] - plain['graph']) / plain['jobs']:.1f}",
        }
        real = submissions(folder, given.submissions)
        rows |= {
            "until the first submission, s": f"{real['first']:.0f}",
            "each further submission, s": f"{real['each']:.2f}",
            "peak memory of the main process, MB": f"{real['memory'] / 1e6:.0f}",
        }
    print(f"{given.configfile.name}, {given.seeds} seeds; {os.cpu_count()} cores, load ", end="")
    print(f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}\n")
    print("| | |\n| --- | --- |")
    for what, value in rows.items():
        print(f"| {what} | {value} |")


def prepare(folder: Path, configuration: Path, seeds: int, replicates: int | None) -> None:
    """Lay out the project, the study, its (empty) data and the stand-ins in `folder`."""
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    (folder / "slurm").symlink_to("profiles/slurm")
    config = yaml.safe_load(configuration.read_text())
    for entry in config["trunks"]:
        entry["seeds"] = list(range(seeds))
    for entry in config["branches"] if replicates else []:
        entry |= {"levels": "all", "replicates": replicates}
    (folder / "config/benchmark.yaml").write_text(yaml.safe_dump(config))
    results = folder / config.get("results", "results")
    for dataset in config["datasets"]:  # before the initial weights, which are made from it
        save_data(results / f"data/{dataset}.safetensors")
    for entry in config["trunks"]:
        models = entry["model"] if isinstance(entry["model"], list) else [entry["model"]]
        for model in models:
            for seed in range(seeds):
                path = results / f"initial/{entry['dataset']}/{model}/seed{seed}.safetensors"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    (folder / "bin").mkdir()
    for name, body in STAND_INS.items():
        lines = [line.removeprefix(" " * 8) for line in body.splitlines()]
        script = folder / "bin" / name
        script.write_text("\n".join([f"#!{sys.executable} -S", *lines, ""]))
        script.chmod(0o755)


def save_data(path: Path) -> None:
    """Write a data set that has the right shape, and no content."""
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    images = {f"{half}_images": np.zeros((1000, 3, 32, 32), np.uint8) for half in ("train", "test")}
    save_file(images, path, {"json": json.dumps({"classes": list("0123456789")})})


def command(*options: str) -> list[str]:
    return ["snakemake", *options, "--configfile", "config/benchmark.yaml"]


def environment(folder: Path) -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**found, "PATH": path, "PYTHONUNBUFFERED": "1"}


def dry_run(folder: Path) -> dict[str, float]:
    """Seconds until the graph stands and until the end, and of CPU; memory in bytes; jobs."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command("--dry-run", "--profile", "slurm"),
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found: dict[str, float] = {}
    last: list[str] = []
    for line in process.stdout or ():
        last = [*last[-20:], line]
        if line.startswith("Job stats") and "graph" not in found:
            found["graph"] = time.perf_counter() - started
        if count := re.match(r"total +(\d+)", line):
            found["jobs"] = int(count[1])
    found["memory"], found["cpu"] = end(process)
    found["all"] = time.perf_counter() - started
    if "graph" not in found or "jobs" not in found:
        sys.exit("".join(last))
    return found


def submissions(folder: Path, count: int) -> dict[str, float]:
    """Seconds until the first job reaches sbatch and between further ones; memory in bytes."""
    started = time.time()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command("--profile", "slurm"),
            cwd=folder,
            env=environment(folder),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    record = folder / "submitted"
    while process.poll() is None:
        times = [float(line) for line in record.read_text().split()] if record.exists() else []
        if len(times) >= count:
            break
        time.sleep(0.2)
    else:
        sys.exit((folder / "log").read_text()[-3000:])
    os.killpg(process.pid, signal.SIGKILL)
    each = (times[-1] - times[0]) / (len(times) - 1)
    return {"first": times[0] - started, "each": each, "memory": end(process)[0]}


def end(process: subprocess.Popen) -> tuple[int, float]:
    """Wait for a process; its peak memory in bytes and its seconds of CPU."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * resource_unit(), usage.ru_utime + usage.ru_stime


def resource_unit() -> int:
    """Bytes in the unit of ru_maxrss."""
    return 1 if sys.platform == "darwin" else 1024


if __name__ == "__main__":
    main()
