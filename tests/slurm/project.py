"""A copy of the project in which tests run the workflow, as a person would in a fresh clone."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("config", "profiles", "scripts", "slurm", "src", "workflow")

# What a site would edit in the profile, and impatience: jobs last seconds, polling should not last
# minutes. Memory is less than the profile asks for, so that all jobs fit on the test cluster.
SITE = [
    *("--default-resources", "slurm_partition=gpu", "tasks=1"),
    *("--slurm-init-seconds-before-status-checks", "3"),
    *("--max-status-checks-per-second", "1"),
    *("--latency-wait", "5"),
]
RULES = (
    *("train_level", "train_level_lrr", "train_branch"),
    *("train_dense_deterministic", "train_dense_bayesian"),
)
MEMORY = ["--set-resources", *(f"{rule}:mem_mb=2000*attempt" for rule in RULES)]
# The cluster's GPUs are stand-ins: jobs ask SLURM for one and get it, and train on the CPU.
STAND_INS = [f"{rule}:device=cpu" for rule in (*RULES, *(f"train_pack_{n}" for n in range(1, 9)))]

# Columns of the table of runs that say what a run cost and where it was made.
NOT_RESULTS = {"peak_memory_bytes", "git_commit", "device"}


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> object:
    """Poll until `condition` gives something true, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.05)
    return found


class Run:
    """A Snakemake at work in a project."""

    def __init__(self, command: list[str], folder: Path):
        self.log = folder / f"snakemake-{time.monotonic_ns()}.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        environment.pop("LOTTERY_WARM_SOCKET", None)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                # Tests that a shell started in the background inherit that Ctrl-C is ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float = 600) -> int:
        """Wait until it ends, and return its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"Snakemake did not end in {seconds:g} s:\n{self.output}"
            ) from None

    def finish(self, seconds: float = 600) -> None:
        """Wait until it ends, well."""
        assert self.wait(seconds) == 0, self.output

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Project:
    """The project in a folder of its own, and how its workflow is run."""

    def __init__(self, folder: Path, configuration: str, *targets: str):
        self.folder = folder
        self.options = ["--configfile", f"config/{configuration}", "--", *targets]
        self.runs: list[Run] = []

    @classmethod
    def fresh(cls, folder: Path, configuration: str, *targets: str) -> "Project":
        """As cloned, with a configuration file of this folder added."""
        for part in PARTS:
            source = ROOT / part
            if source.is_symlink():
                (folder / part).symlink_to(source.readlink())
            else:
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(source, folder / part, ignore=ignored)
        shutil.copy(Path(__file__).with_name(configuration), folder / "config")
        return cls(folder, configuration, *targets)

    def locally(self, cores: int = 2, *options: str) -> Run:
        """Start the workflow on this machine."""
        return self._start("--cores", str(cores), *options)

    def on_cluster(self, *options: str, site: list[str] = SITE) -> Run:
        """Start the workflow by `snakemake --profile slurm`; `options` come last."""
        options = list(options or MEMORY)
        if "--set-resources" not in options:
            options.append("--set-resources")
        after = options.index("--set-resources") + 1
        options[after:after] = STAND_INS
        return self._start("--profile", "slurm", *site, *options)

    def _start(self, *options: str) -> Run:
        run = Run(["snakemake", *options, *self.options], self.folder)
        self.runs.append(run)
        return run

    def close(self) -> None:
        """End what is still running."""
        for run in self.runs:
            if run.process.poll() is None:
                run.kill()

    def table(self, name: str) -> list[dict]:
        """A table, as text, without what the runs cost."""
        with (self.folder / f"results/tables/{name}.csv").open() as file:
            return [
                {k: v for k, v in row.items() if k not in NOT_RESULTS and "seconds" not in k}
                for row in csv.DictReader(file)
            ]

    def figures(self) -> set[str]:
        """The names of the figures that were drawn."""
        files = (self.folder / "results/figures").iterdir()
        return {file.name for file in files if file.stat().st_size}


def fill(path: Path) -> None:
    """Write until the disk is full, but for a few kilobytes: logs say what is wrong."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, file.tell() - 16384))


@contextlib.contextmanager
def small_disk(project: Project, size: str) -> Iterator[Path]:
    """The project's results folder, on a file system of its own of this size."""
    results, kept = project.folder / "results", project.folder / "kept"
    results.rename(kept)
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", results], check=True)
    try:
        shutil.copytree(kept, results, dirs_exist_ok=True)
        yield results
    finally:
        project.close()
        subprocess.run(["umount", "--lazy", results], check=True)


class Node:
    """One node of a project's study: what it wrote, and its job's process."""

    def __init__(self, project: Project, folder: str):
        self.project = project
        self.folder = project.folder / "results" / folder

    @property
    def metrics(self) -> dict:
        return json.loads((self.folder / "metrics.json").read_text())

    @property
    def resumed(self) -> bool:
        """Whether the node's training went on from a checkpoint at least once."""
        return bool(self.metrics["cost"]["resumed_at_steps"])

    def numbers(self) -> dict:
        """All that the node computed, bit for bit, and nothing that it cost."""
        metrics = self.metrics
        with (self.folder / "history.csv").open() as file:
            history = [
                {k: v for k, v in row.items() if k not in ("seconds", "peak_memory_bytes")}
                for row in csv.DictReader(file)
            ]
        kept = {k: v for k, v in metrics.items() if k not in ("cost", "provenance", "checksum")}
        masks = {file.name: file.read_bytes() for file in self.folder.glob("next_mask*")}
        weights = (self.folder / "weights.safetensors").read_bytes()
        return {"metrics": kept, "history": history, "masks": masks, "weights": weights}

    def process(self) -> int | None:
        """The process that trains the node now, alone or among others."""
        relative = self.folder.relative_to(self.project.folder) / "metrics.json"
        metrics = str(relative).encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                if not arguments[1].startswith(b"scripts/train"):
                    continue
                if not any(metrics in argument for argument in arguments):
                    continue
                if (entry / "cwd").readlink() == self.project.folder:
                    return int(entry.name)
        return None

    def freeze(self, seconds: float = 180) -> int:
        """Stop the node's training in the middle, after a checkpoint; return its process.

        It stays there until it gets SIGCONT, which SLURM sends along with SIGTERM: so however fast
        the machine, a fault meets a job that is half done.
        """

        def saved() -> int | None:
            return self.process() if (self.folder / "checkpoint.safetensors").exists() else None

        process = wait_for(saved, seconds, "the training to save a checkpoint")
        os.kill(process, signal.SIGSTOP)
        assert not (self.folder / "metrics.json").exists(), "training was over before the fault"
        return process
