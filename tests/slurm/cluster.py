"""A real SLURM of several nodes with fake GPUs on one machine, for tests.

    python3 tests/slurm/cluster.py install   # slurm-wlm and munge, by apt
    python tests/slurm/cluster.py start      # munged, slurmctld and a slurmd for every node
    python tests/slurm/cluster.py status
    python tests/slurm/cluster.py stop       # ends what start started, removes what it made

It needs root and neither systemd nor cgroups. The configuration lies in /etc/slurm, because the
executor plugin's job step drops SLURM_CONF; a configuration that is not this script's own is left
alone, with an error. All other files lie in one temporary folder, named in that configuration.
"""

import argparse
import contextlib
import os
import shutil
import socket
import stat
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import daemons
from machine import CONFIGURATION, MARKER, ClusterError, install, obstacle, which

ACTIVE = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED"}
TEMPLATE = Path(__file__).with_name("slurm.conf.template")


class Job(NamedTuple):
    """A line of squeue."""

    id: int
    state: str
    node: str
    restarts: int
    reason: str
    name: str

    @classmethod
    def of(cls, line: str) -> "Job":
        number, state, node, restarts, reason, name = line.split("|", 5)
        return cls(int(number), state, node, int(restarts), reason, name.strip())


class Cluster:
    """One test cluster; as a context manager it is up inside the block."""

    def __init__(self, gpu_nodes: int = 2, gpus: int = 4, cpu_nodes: int = 1, port: int = 16817):
        self.gpu_nodes = [f"g{i + 1}" for i in range(gpu_nodes)]
        self.cpu_nodes = [f"c{i + 1}" for i in range(cpu_nodes)]
        self.gpus = gpus
        self.port = port
        self._children: list[subprocess.Popen] = []  # kept, to be reaped

    @property
    def nodes(self) -> list[str]:
        return self.gpu_nodes + self.cpu_nodes

    @property
    def state(self) -> Path:
        """The state folder, read from the configuration that `start` wrote."""
        with contextlib.suppress(FileNotFoundError):
            first = (CONFIGURATION / "slurm.conf").read_text().partition("\n")[0]
            if MARKER in first:
                return Path(first.partition(MARKER)[2].strip())
        raise ClusterError("No test cluster has been started here.")

    def __enter__(self) -> "Cluster":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # Up and down

    def start(self, seconds: float = 60) -> None:
        """Bring the cluster up, until every node is idle."""
        if reason := obstacle():
            raise ClusterError(reason)
        if self.running():
            raise ClusterError(f"A test cluster is already running ({self.state}): stop it first.")
        state = Path(tempfile.mkdtemp(prefix="lottery-slurm-"))
        state.chmod(0o755)  # munge wants its socket to be reachable by others
        self._configure(state)
        try:
            self._start_munged()
            self._start("slurmctld", "-D", "-c")
            for node in self.nodes:
                self._start_node(node)
            self.wait_for(lambda: self._usable(*self.nodes), seconds, "all nodes to be idle")
        except BaseException:
            self.stop()
            raise

    def node_states(self) -> dict[str, str]:
        """Every node's state, as sinfo spells it: idle, mixed, allocated, down..."""
        lines = self._run("sinfo", "--Node", "--noheader", "--Format=NodeList:|,StateLong:|")
        return dict(line.split("|")[:2] for line in lines.splitlines())

    def running(self) -> bool:
        """Whether a daemon of a test cluster runs on this machine."""
        try:
            return any(daemons.recorded(record) for record in self.state.glob("*.process"))
        except ClusterError:
            return False

    def stop(self) -> None:
        """End the jobs and the daemons, remove the state folder and the configuration."""
        state = self.state
        if daemons.recorded(state / "slurmctld.process"):
            with contextlib.suppress(ClusterError):
                self.clear()
        for record in sorted(state.glob("*.process"), reverse=True):  # slurmd, slurmctld, munged
            daemons.end(record)
        for spool in state.glob("spool-*"):
            daemons.kill(daemons.node_processes(spool))
        for name in ("slurm.conf", "gres.conf"):
            (CONFIGURATION / name).unlink(missing_ok=True)
        shutil.rmtree(state, ignore_errors=True)

    # Jobs

    def submit(self, command: str, *options: str) -> int:
        """Submit a shell command with sbatch's `options`; its output goes nowhere by default."""
        quiet = ("--parsable", "--output=/dev/null")
        return int(self._run("sbatch", *quiet, *options, "--wrap", command))

    def squeue(self) -> dict[int, Job]:
        """All jobs that the controller remembers, finished ones too."""
        fields = "--Format=JobID:|,State:|,NodeList:|,RestartCnt:|,ReasonList:|,Name:200"
        lines = self._run("squeue", "--states=all", "--noheader", fields).splitlines()
        jobs = [Job.of(line) for line in lines]
        return {job.id: job for job in jobs}

    def scancel(self, *jobs: int) -> None:
        """Cancel these jobs, or all of them."""
        if chosen := jobs or self._active():
            self._run("scancel", *map(str, chosen))

    def requeue(self, job: int) -> None:
        """Put a running job back into the queue."""
        self._run("scontrol", "requeue", str(job))

    def clear(self, seconds: float = 60) -> None:
        """Cancel all jobs and wait until they have ended; a test that failed may have left no
        controller."""
        if not self._answers():
            self.restart_controller()
        self.scancel()
        self.wait_for(lambda: not self._active(), seconds, "the jobs to end")

    def wait_for_state(self, job: int, state: str, seconds: float = 30) -> Job:
        """Wait until the job is in `state`, as squeue spells it."""
        self.wait_for(lambda: self.squeue()[job].state == state, seconds, f"job {job} {state}")
        return self.squeue()[job]

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Poll until `condition` holds; after `seconds` fail, with the logs' last lines."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise ClusterError(f"Waited {seconds:g} s in vain for {what}.\n{self._logs()}")
            time.sleep(0.1)

    # Faults

    def kill_node(self, node: str) -> None:
        """Take a node away as a power cut would: its daemon, steps and jobs killed, marked down."""
        daemons.kill(daemons.node_processes(self._spool(node)))
        self._run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def drain_node(self, node: str) -> None:
        """Let no more jobs start on a node."""
        self._run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")

    def restore_node(self, node: str, seconds: float = 30) -> None:
        """Bring a killed or drained node back."""
        if not daemons.recorded(self.state / f"slurmd-{node}.process"):
            self._start_node(node)
        with contextlib.suppress(ClusterError):  # a node that came back by itself is not resumed
            self._run("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.wait_for(lambda: self._usable(node), seconds, f"node {node} to be back")

    def stop_controller(self) -> None:
        """End slurmctld; jobs go on, commands fail."""
        daemons.end(self.state / "slurmctld.process")

    def start_controller(self, seconds: float = 30) -> None:
        """Start slurmctld again, with the state that it saved."""
        self._start("slurmctld", "-D")
        self.wait_for(self._answers, seconds, "the controller to answer")

    def restart_controller(self) -> None:
        self.stop_controller()
        self.start_controller()

    # Below: how it is done

    def _configure(self, state: Path) -> None:
        """Write slurm.conf and gres.conf, and the files that they name."""
        host = socket.gethostname().partition(".")[0]
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=16 "
            f"RealMemory=16000" + (f" Gres=gpu:{self.gpus}" if node in self.gpu_nodes else "")
            for port, node in enumerate(self.nodes, self.port + 1)
        ]
        text = string.Template(TEMPLATE.read_text()).substitute(
            marker=MARKER,
            state=state,
            host=host,
            port=self.port,
            nodes="\n".join(nodes),
            gpu_nodes=",".join(self.gpu_nodes),
            cpu_nodes=",".join(self.cpu_nodes),
        )
        (state / "controller").mkdir()
        gres = [f"# {MARKER} {state}"]
        for node in self.gpu_nodes:  # distinct character devices, each another /dev/null
            for gpu in range(self.gpus):
                os.mknod(state / f"{node}-gpu{gpu}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            files = state / f"{node}-gpu[0-{self.gpus - 1}]"
            gres.append(f"NodeName={node} Name=gpu File={files}")
        CONFIGURATION.mkdir(exist_ok=True)
        (CONFIGURATION / "gres.conf").write_text("\n".join(gres) + "\n")
        (CONFIGURATION / "slurm.conf").write_text(text)

    def _start_munged(self) -> None:
        """Start a munged of the cluster's own: another one on this machine is not touched."""
        key = self.state / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        paths = {"key": key, "socket": self.state / "munge.socket"}
        paths |= {name: self.state / f"munged.{name}" for name in ("pid", "seed", "log")}
        options = [f"--{name}-file={path}" for name, path in paths.items() if name != "socket"]
        self._start("munged", "--foreground", f"--socket={paths['socket']}", *options)
        self.wait_for(paths["socket"].exists, 10, "munged to open its socket")

    def _start_node(self, node: str) -> None:
        """Start a node's slurmd in its spool folder: its steps stay there, and are known by it."""
        self._spool(node).mkdir(exist_ok=True)
        name = f"slurmd-{node}"
        self._start("slurmd", "-D", "-N", node, name=name, folder=self._spool(node))

    def _spool(self, node: str) -> Path:
        return self.state / f"spool-{node}"

    def _start(
        self, program: str, *options: str, name: str | None = None, folder: Path | None = None
    ) -> None:
        """Start a daemon in a session of its own and record its process."""
        record = self.state / f"{name or program}.process"
        command = [which(program), *options]
        self._children.append(daemons.start(record, command, folder or self.state))

    def _run(self, *command: str) -> str:
        """Run one of SLURM's commands and return what it printed."""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=60, env=daemons.environment()
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"`{' '.join(command)}` did not answer in 60 s.") from None
        if done.returncode != 0:
            raise ClusterError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
        return done.stdout

    def _active(self) -> list[int]:
        return [job.id for job in self.squeue().values() if job.state in ACTIVE]

    def _usable(self, *nodes: str) -> bool:
        """Whether these nodes take jobs; no while the controller does not answer."""
        with contextlib.suppress(ClusterError):
            states = self.node_states()
            return all(states.get(node) in {"idle", "mixed", "allocated"} for node in nodes)
        return False

    def _answers(self) -> bool:
        with contextlib.suppress(ClusterError):
            return "UP" in self._run("scontrol", "ping")
        return False

    def _logs(self, lines: int = 8) -> str:
        """The last lines of every log."""
        parts = []
        for log in sorted(self.state.glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            parts += [f"--- {log.name}", *tail]
        return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["install", "start", "stop", "status"])
    parser.add_argument("--gpu-nodes", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument("--gpus", type=int, default=4, metavar="N", help="a GPU node; default: 4")
    parser.add_argument("--cpu-nodes", type=int, default=1, metavar="N", help="default: 1")
    arguments = parser.parse_args()
    cluster = Cluster(arguments.gpu_nodes, arguments.gpus, arguments.cpu_nodes)
    try:
        if arguments.action == "install":
            install()
        elif arguments.action == "start":
            cluster.start()
            print(f"Up: {', '.join(cluster.nodes)}; logs in {cluster.state}")
        elif arguments.action == "stop":
            cluster.stop()
        elif cluster.running():
            subprocess.run(["sinfo", "--Node", "--long"], env=daemons.environment())
        else:
            sys.exit("No test cluster is running.")
    except ClusterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
