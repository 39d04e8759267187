"""Which partition of a SLURM cluster takes what the jobs of a study ask for.

The Snakefile imports this module; it needs no torch.
"""

import math
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from bayesian_lottery.errors import InputError
from bayesian_lottery.running.cluster import answer
from bayesian_lottery.running.resources import Request

PROFILE = "profiles/slurm/config.yaml"

# What SLURM says when it may well take the same job later.
BUSY = re.compile(
    "SubmitJob|temporarily unable|timed out|try again|standby mode|unable to contact"
    "|connection (failure|refused)|zero bytes|not connected|receive failure",
    re.IGNORECASE,
)

# Where nodes are down, `sbatch --test-only` says this of jobs that sbatch would let wait for them.
NOT_NOW = "node configuration is not available"

# The states of nodes that take no jobs now; an asterisk is for those that do not answer.
ABSENT = re.compile(r"^(down|drain|fail|maint|unk|inval|reserv)|\*$")

# The entry of the profile to edit, by a word in what SLURM says.
ENTRIES = {
    "account": "slurm_account",
    "qos": "qos",
    "feature": "constraint",
    "memory": "mem_mb",
    "time": "runtime",
}


class Partition(NamedTuple):
    """A partition, with the most that one of its nodes has.

    minutes: the time limit; infinity where there is none.
    complete: whether all of its nodes are there.
    """

    name: str
    default: bool
    up: bool
    preempted: bool
    minutes: float
    gpus: int
    memory_mb: int
    complete: bool


class Lack(NamedTuple):
    """Why a partition does not take a job, and the entry of the profile that decides it."""

    reason: str
    entry: str


def partitions() -> list[Partition]:
    """The cluster's partitions: the default one first, then those that are up, those whose jobs are
    not preempted, those with the longest time limit.

    Raises:
        InputError: SLURM does not answer.
    """
    return parse(answer(["sinfo", "--exact", "--noheader", "-o", "%P|%a|%M|%l|%G|%m|%T"]))


def parse(lines: str) -> list[Partition]:
    """`partitions` from what sinfo prints, a line for each kind and state of nodes."""
    found: dict[str, Partition] = {}
    for line in lines.splitlines():
        name, up, preempt, limit, gres, memory, state = line.split("|")
        part = Partition(
            name.removesuffix("*"),
            name.endswith("*"),
            up == "up",
            preempt.lower() not in ("off", "n/a", ""),
            _minutes(limit),
            sum(map(int, re.findall(r"\bgpu(?::[^:,(]+)?:(\d+)", gres))),
            int(memory.rstrip("+")),
            up == "up" and not ABSENT.search(state),
        )
        other = found.get(part.name, part)
        found[part.name] = part._replace(
            gpus=max(part.gpus, other.gpus),
            memory_mb=max(part.memory_mb, other.memory_mb),
            complete=part.complete and other.complete,
        )
    return sorted(found.values(), key=lambda p: (not p.default, not p.up, p.preempted, -p.minutes))


def _minutes(limit: str) -> float:
    """A time limit as sinfo spells it: 1-00:00:00, 2:30:00, 30:00 or infinite."""
    if not limit[:1].isdigit():
        return math.inf
    days, _, clock = limit.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return int(days or 0) * 24 * 60 + seconds / 60


def lack(partition: Partition, request: Request, refusal: Callable[[], str | None]) -> Lack | None:
    """Why a partition does not take a request, or None.

    A job that asks for more time than any job gets would wait for ever, without a word.

    Args:
        refusal: what SLURM says against it, or None; asked where the numbers allow it.
    """
    if request.gpu and not partition.gpus:
        return Lack("no GPU", "slurm_partition")
    if request.memory_mb > partition.memory_mb:
        return Lack(f"at most {partition.memory_mb} MB a node", "mem_mb")
    if request.minutes > partition.minutes:
        return Lack(f"at most {partition.minutes:g} minutes", "runtime")
    words = refusal()
    if not words or BUSY.search(words) or (NOT_NOW in words and not partition.complete):
        return None
    entries = [entry for word, entry in ENTRIES.items() if word in words.lower()]
    return Lack(f"refused ({words})", (entries or ["slurm_partition"])[0])


def refusal(command: str) -> str | None:
    """What SLURM says against an sbatch command, without submitting anything; None if nothing."""
    try:
        done = subprocess.run(
            f"{command} --test-only --wrap true",
            shell=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        return "timed out"
    if done.returncode == 0:
        return None
    lines = [
        re.sub("^(sbatch: )?(error|allocation failure): ", "", line)
        for line in done.stderr.splitlines()
    ]
    return "; ".join(dict.fromkeys(filter(None, lines))) or "without a reason"


def choose(available: Sequence[Partition], jobs: Mapping[str, tuple[str, Request]]) -> Partition:
    """The first of the available partitions that takes every job.

    Args:
        jobs: by the sbatch command that submits it, without a partition: a job's rule and request.

    Raises:
        InputError: there is none; the sentence says who asked for what, what the partitions have,
            and which entries of the profile to edit.
    """
    lacks: dict[tuple[Lack, str], list[str]] = {}
    for partition in available:
        for command, (rule, request) in jobs.items():
            where = f"{command} -p {shlex.quote(partition.name)}"
            if found := lack(partition, request, partial(refusal, where)):
                asks = f"{rule} asks for {_words(request)}"
                lacks.setdefault((found, asks), []).append(partition.name)
                break
        else:
            return partition
    reasons = [
        f"{', '.join(names)}: {found.reason}, and {asks}" for (found, asks), names in lacks.items()
    ]
    entries = dict.fromkeys(found.entry for found, _ in lacks)
    raise InputError(
        f"SLURM would not run all jobs. {'; '.join(reasons)}. "
        f"Edit {' or '.join(entries)} in {PROFILE}."
    )


def _words(request: Request) -> str:
    gpus = {0: "no GPU", 1: "1 GPU"}.get(request.gpu, f"{request.gpu} GPUs")
    return f"{gpus}, {request.memory_mb} MB and {request.minutes} minutes"
