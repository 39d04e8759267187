"""What runs need around them: one Snakemake a folder, and no jobs left from before.

The Snakefile imports this module; it needs no torch.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from bayesian_lottery.errors import InputError


def check_writable(folder: Path) -> None:
    """Write a small file and remove it.

    Raises:
        InputError: the folder's disk is full or read-only, or the folder belongs to others.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}).") from None


def hold(lock: Path) -> None:
    """Make this process the only one that holds `lock`, until it ends in whatever way.

    Unlike Snakemake's own lock, this one goes with its process, so that after a kill the same
    command simply works again. The file says who holds it: where machines do not share locks, a
    process on another one is believed to be alive until the file is deleted.

    Raises:
        InputError: another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = lock.open("a+")  # closed, and so unlocked, by the end of the process
    held = True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held = False
    except OSError as error:
        print(f"{lock}: this file system has no locks ({error}).", file=sys.stderr)
    file.seek(0)
    host, _, process = file.read().partition(" ")
    if not held or host not in ("", socket.gethostname()):
        file.close()
        raise InputError(
            f"Snakemake is at work in this folder already, as process {process} on {host}. "
            f"If it is dead, delete {lock} and type this again."
        )
    file.truncate(0)
    file.write(f"{socket.gethostname()} {os.getpid()}")
    file.flush()
    atexit.register(_release, file)


def _release(file: IO[str]) -> None:
    with contextlib.suppress(OSError):  # the disk may be full or gone
        file.truncate(0)
        file.close()


def cancel_orphans(folder: Path, must_answer: bool, seconds: float = 600) -> list[str]:
    """Cancel the SLURM jobs that an earlier Snakemake left in `folder`, and wait for their end.

    They save a checkpoint on the way, from which the jobs that replace them go on; without this
    both would write the same files. Does nothing where there is no SLURM.

    Args:
        folder: where that Snakemake ran.
        must_answer: whether to refuse to go on where SLURM is there but does not answer.
        seconds: how long to wait.

    Returns:
        The jobs' numbers.

    Raises:
        InputError: SLURM does not answer, or a job does not end.
    """
    if shutil.which("squeue") is None:
        return []
    try:
        jobs = _jobs(folder)
    except InputError:
        if must_answer:
            raise
        return []
    if jobs:
        subprocess.run(["scancel", *jobs], check=False)  # one may just have ended
    end = time.monotonic() + seconds
    while left := _jobs(folder):
        if time.monotonic() > end:
            raise InputError(
                f"The SLURM jobs {', '.join(left)}, of an earlier Snakemake in this folder, do not "
                "end. Cancel them (scancel) and type this again."
            )
        time.sleep(2)
    return jobs


def answer(command: Sequence[str], seconds: float = 60) -> str:
    """What a command of SLURM prints.

    Raises:
        InputError: it fails, or does not end within `seconds`.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = error.stderr or f"nothing in {seconds:g} seconds"
        if isinstance(said, bytes):  # of a command that was ended, whatever `text` says
            said = said.decode(errors="replace")
        raise InputError(
            f"{command[0]} does not answer ({said.strip()}): type this again later."
        ) from None
    return done.stdout


def _jobs(folder: Path) -> list[str]:
    """The user's waiting or running jobs that a Snakemake in `folder` submitted."""
    fields = "--Format=JobArrayID:|,Comment:200|,WorkDir:4000"
    lines = answer(["squeue", "--me", "--noheader", fields]).splitlines()
    jobs = (line.split("|", 2) for line in lines)
    return [
        number
        for number, comment, place in jobs
        if comment.startswith("rule_") and os.path.realpath(place.strip()) == str(folder.resolve())
    ]
