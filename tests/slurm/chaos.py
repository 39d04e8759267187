"""Random faults while a small study runs on the test cluster: its results must not show them.

    python tests/slurm/chaos.py --faults 200 --seed 0

When Snakemake ends too early, the same command is typed again, as a person would. When a study is
complete, it is compared with an undisturbed local run, bit for bit, and another one begins, until
all faults have happened. Each fault is printed, and a count at the end. The seed fixes the kinds,
the choices and the pauses; what is running at that moment depends on the machine.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster import ACTIVE, Cluster, ClusterError
from project import Project, Run, fill, small_disk

CONFIGURATION, TARGET = "chaos.yaml", "tables"
PAUSES = (1, 7)  # seconds from the end of one fault to the next
TYPED_IN_VAIN = 5  # restarts without a fault in between, after which the study counts as stuck


class Stuck(Exception):
    """The study does not end, or ends with other results."""


class Chaos:
    """One study on the cluster, and what can happen to it.

    A fault is a method that returns what it did, or None where there was nothing to be hit.
    """

    def __init__(self, cluster: Cluster, project: Project, chance: random.Random):
        self.cluster = cluster
        self.project = project
        self.chance = chance
        self.typed = 0
        self.run = self.type()

    def type(self) -> Run:
        """Type the command (again)."""
        self.typed += 1
        self.run = self.project.on_cluster()
        return self.run

    def training(self, seconds: float = 10) -> list[int]:
        """The processes that train; waits a while for one."""
        end = time.monotonic() + seconds
        while not (found := self._training()) and time.monotonic() < end:
            time.sleep(0.1)
        return found

    def _training(self) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError):
                script = (entry / "cmdline").read_bytes().split(b"\0")[1]
                folder = (entry / "cwd").readlink()
                if script == b"scripts/train.py" and folder == self.project.folder:
                    found.append(int(entry.name))
        return sorted(found)

    def jobs(self, *states: str) -> list[int]:
        return [job.id for job in self.cluster.squeue().values() if job.state in states]

    def kill(self) -> str | None:
        if not (processes := self.training()):
            return None
        process = self.chance.choice(processes)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        return f"killed process {process}, which trains"

    def truncate(self) -> str | None:
        """Kill a job, and cut its checkpoint, as a file system does that loses its last writes."""
        processes = self.training()
        checkpoints = sorted(self.project.folder.glob("results/runs/**/checkpoint.safetensors"))
        if not processes or not checkpoints:
            return None
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        checkpoint = self.chance.choice(checkpoints)
        share = self.chance.random()
        with contextlib.suppress(FileNotFoundError):  # it ended just before
            os.truncate(checkpoint, int(share * checkpoint.stat().st_size))
        folder = checkpoint.parent.relative_to(self.project.folder / "results/runs")
        return f"killed all that trains, and cut the checkpoint of {folder} to {share:.0%}"

    def cancel(self) -> str | None:
        if not (jobs := self.jobs(*ACTIVE)):
            return None
        job = self.chance.choice(jobs)
        self.cluster.scancel(job)
        return f"cancelled job {job}"

    def requeue(self) -> str | None:
        if not (jobs := self.jobs("RUNNING")):
            return None
        job = self.chance.choice(jobs)
        with contextlib.suppress(ClusterError):  # it ended just before
            self.cluster.requeue(job)
        return f"requeued job {job}"

    def node(self) -> str:
        name, seconds = self.chance.choice(self.cluster.gpu_nodes), self.chance.uniform(0, 5)
        self.cluster.kill_node(name)
        time.sleep(seconds)
        self.cluster.restore_node(name, 60)
        return f"node {name} down for {seconds:.1f} s"

    def controller(self) -> str:
        seconds = self.chance.uniform(0, 10)
        self.cluster.stop_controller()
        time.sleep(seconds)
        self.cluster.start_controller(60)
        return f"controller away for {seconds:.1f} s"

    def snakemake(self) -> str:
        process, seconds = self.run.process.pid, self.chance.uniform(0, 8)
        self.run.kill()
        time.sleep(seconds)
        self.type()
        return f"killed Snakemake ({process}), typed again after {seconds:.1f} s"

    def interrupt(self) -> str:
        process = self.run.process.pid
        self.run.process.send_signal(signal.SIGINT)
        self.run.wait(180)
        self.type()
        return f"interrupted Snakemake ({process}), and typed again"

    def disk(self) -> str:
        seconds, ballast = self.chance.uniform(0, 8), self.project.folder / "results/ballast"
        fill(ballast)
        time.sleep(seconds)
        ballast.unlink()
        return f"disk full for {seconds:.1f} s"

    FAULTS: tuple[Callable[["Chaos"], str | None], ...] = (
        *(kill, truncate, cancel, requeue, node, controller, snakemake, interrupt, disk),
    )

    def fault(self) -> tuple[str, str]:
        """Let one thing happen that can happen now; return its kind and what was done."""
        while self.run.process.poll() is None:
            method = self.chance.choice(self.FAULTS)
            if done := method(self):
                return method.__name__, done
        return "", ""


def pause(chaos: Chaos) -> None:
    """Wait for the time of the next fault, or until Snakemake ends."""
    end = time.monotonic() + chaos.chance.uniform(*PAUSES)
    while time.monotonic() < end and chaos.run.process.poll() is None:
        time.sleep(0.1)


def disturb(chaos: Chaos, faults: int, say: Callable[[str], None]) -> Iterator[str]:
    """Disturb a study until it is complete; yield the kind of each fault, at most so many."""
    in_vain = 0
    while True:
        pause(chaos) if faults else chaos.run.wait(900)
        if (status := chaos.run.process.poll()) is None:
            kind, done = chaos.fault()
            if kind:
                say(done)
                faults, in_vain = faults - 1, 0
                yield kind
        elif status == 0:
            return
        else:
            in_vain += 1
            if in_vain > TYPED_IN_VAIN:
                raise Stuck(f"Typed {in_vain} times in vain.\n{chaos.run.output[-4000:]}")
            say(f"Snakemake ended with status {status}; typed again")
            chaos.type()


def results(project: Project) -> dict[str, object]:
    """All that a study computed: its tables, and the bytes of its masks."""
    found = {name: project.table(name) for name in ("runs", "layers")}
    masks = project.folder.glob("results/runs/**/*mask*.safetensors")
    return found | {str(m.relative_to(project.folder)): m.read_bytes() for m in masks}


def undisturbed(folder: Path) -> dict[str, object]:
    """The results of a local run; the folder keeps its data and initial weights only."""
    project = Project.fresh(folder, CONFIGURATION, TARGET)
    project.locally().finish(900)
    expected = results(project)
    for name in ("runs", "tables", "logs", "benchmarks"):
        shutil.rmtree(folder / "results" / name)
    shutil.rmtree(folder / ".snakemake")
    return expected


def storm(
    cluster: Cluster, folder: Path, faults: int, seed: int, say: Callable[[str], None] = print
) -> Counter:
    """Let so many faults happen to studies below `folder`; return how many there were of each kind.

    Raises:
        Stuck: a study did not end, or not with the results of the undisturbed run.
    """
    chance, counts, number = random.Random(seed), Counter(), 0
    (folder / "undisturbed").mkdir(parents=True)
    expected = undisturbed(folder / "undisturbed")
    while (left := faults - counts.total()) > 0:
        number += 1
        place = folder / f"study{number}"
        shutil.copytree(folder / "undisturbed", place, symlinks=True)
        project = Project(place, CONFIGURATION, TARGET)
        with small_disk(project, "64m"):
            chaos = Chaos(cluster, project, chance)
            for kind in disturb(chaos, left, lambda text: say(f"{counts.total() + 1:4} {text}")):
                counts[kind] += 1
            found = results(project)
            if found != expected:
                names = [n for n in expected if found.get(n) != expected[n]]
                raise Stuck(f"Study {number} has other results: {', '.join(names)}.")
        say(f"Study {number} is complete and equal to the undisturbed one; typed {chaos.typed}x.")
        cluster.clear()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=200, help="default: 200")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    given = parser.parse_args()
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="lottery-chaos-"))

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s {text}", flush=True)

    try:
        if Cluster().running():
            counts = storm(Cluster(), folder, given.faults, given.seed, say)
        else:
            with Cluster() as cluster:
                counts = storm(cluster, folder, given.faults, given.seed, say)
    except (ClusterError, Stuck) as error:
        sys.exit(f"{error}\nWhat is left lies in {folder}.")
    shutil.rmtree(folder)
    print(f"{counts.total()} faults:", ", ".join(f"{n} {kind}" for kind, n in counts.most_common()))


if __name__ == "__main__":
    main()
