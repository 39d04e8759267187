"""Daemons of a test cluster: started, recorded, found again and ended.

A recorded process is a cluster's own only if it still has the start time of the record.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path


def environment() -> dict[str, str]:
    """This process's environment without what an enclosing SLURM job put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}


def start(record: Path, command: Sequence[str | Path], folder: Path) -> subprocess.Popen:
    """Start a daemon in a session of its own, its output in a log beside its record."""
    with open(record.with_suffix(".log"), "ab") as log:
        daemon = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
            env=environment(),
        )
    record.write_text(f"{daemon.pid} {_start_time(daemon.pid)}")
    return daemon


def _start_time(pid: int) -> str | None:
    """The start time of a living process, in clock ticks since boot."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def recorded(record: Path) -> int | None:
    """The process of a record, if it is alive and still the one that was recorded."""
    if not record.exists():
        return None
    pid, started = record.read_text().split()
    return int(pid) if _start_time(int(pid)) == started else None


def end(record: Path, seconds: float = 10) -> None:
    """End a recorded process: SIGTERM, and SIGKILL if that was not enough."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if pid := recorded(record):
            os.kill(pid, signum)
        deadline = time.monotonic() + seconds
        while recorded(record) and time.monotonic() < deadline:
            time.sleep(0.05)
    record.unlink(missing_ok=True)


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def node_processes(spool: Path) -> list[int]:
    """A node's daemon and steps (they stand in its spool folder) and its jobs (they name it)."""
    node = spool.name.removeprefix("spool-")
    marks = {b"SLURM_CLUSTER_NAME=lottery", f"SLURMD_NODENAME={node}".encode()}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            variables = set((process / "environ").read_bytes().split(b"\0"))
            if marks <= variables or (process / "cwd").readlink() == spool:
                found.append(int(process.name))
    return found
