"""How far a study is, told from its files alone: what is done, running, failed and left.

Nothing here needs torch, or a cluster's queue: a job's own log and Snakemake's folder `.snakemake`
say it all, wherever the job runs. docs/cost.md has the rules.
"""

import base64
import binascii
import os
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from bayesian_lottery import study
from bayesian_lottery.running.work import Job, finished, jobs, outdated, refused, share
from bayesian_lottery.study import Node
from bayesian_lottery.study.datasets import Images, images_of

# A job that has neither a log nor a checkpoint younger than this does not run. Logs grow every ten
# seconds in training, but not in the tests between.
QUIET_SECONDS = 1800
# The same for a job that Snakemake does not list as started, such as one started by hand.
QUIET_SECONDS_UNLISTED = 60

_PROGRESS = re.compile(  # by meter.py, loop.py and sampler.py
    r"(?:step|draw|file|MB) (\d+)(?:/| of )(\d+).*?(?:(\d+)m(\d+)s left)?$"
)
_STARTED = re.compile(r"training on ")  # by devices.py, before the first step
_STOPPED = re.compile(r"stopped after (?:step|draw)|KeyboardInterrupt")
_FAILED = re.compile(  # by failures.py, or by Snakemake itself with --show-failed-logs
    r"^(?:\w+ failed.* Logs|    log): (.+?\.log)(?:, .+)?(?:\.| \(check log file.*)$", re.MULTILINE
)


class State(Enum):
    """What a job is doing; the last three all count as left."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    QUEUED = "queued"  # handed to the cluster, which has not started it
    STOPPED = "stopped"  # before its end
    LEFT = "left"


@dataclass(frozen=True)
class Seen:
    """A job as its files show it.

    Attributes:
        job: which.
        state: what it is doing.
        line: the last line of its log.
        total: seconds that all of it takes, by the job's own reckoning; None where it says none.
        left: seconds until its end, likewise.
    """

    job: Job
    state: State
    line: str = ""
    total: float | None = None
    left: float | None = None


def started_jobs(folder: Path) -> dict[str, float]:
    """The outputs of jobs that Snakemake started or queued and that have not ended: since when.

    Snakemake keeps a marker for each in `incomplete`, named by the output's path in Base64; of a
    name too long for a file all parts but the last are folders that begin with "@".
    """
    started = {}
    root = folder / "incomplete"
    for place, _, names in os.walk(root):
        for name in names:
            path = Path(place, name)
            coded = "".join(part.removeprefix("@") for part in path.relative_to(root).parts)
            try:
                started[base64.urlsafe_b64decode(coded).decode()] = path.stat().st_mtime
            except (binascii.Error, UnicodeDecodeError, OSError):
                continue  # not a marker, or it has just gone
    return started


def failed_logs(folder: Path) -> set[str]:
    """The logs of the jobs that failed in the last run of Snakemake."""
    logs = sorted((folder / "log").glob("*.snakemake.log"))  # their names begin with the time
    return set(_FAILED.findall(logs[-1].read_text(errors="replace"))) if logs else set()


def look(job: Job, started: Mapping[str, float], failed: set[str], now: float) -> Seen:
    """What `job`, which is not done, is doing, by `started_jobs` and `failed_logs`."""
    written, line = _tail(job.log)
    checkpoint = job.output.with_name("checkpoint.safetensors")
    saved = _tail(checkpoint)[0] if job.trained else None
    since = started.get(str(job.output))
    if since is not None and (written is None or written < since - 1):
        return Seen(job, State.QUEUED)  # a log, if there is one, is an earlier attempt's
    if since is None and job.output.exists():
        return Seen(job, State.LEFT, line)  # a result of other settings, and the log of its making
    progress = _PROGRESS.search(line)
    if _STOPPED.search(line):
        return Seen(job, State.STOPPED, line)
    quiet = now - max(written or 0.0, saved or 0.0)
    if since is not None:
        if quiet < QUIET_SECONDS:
            return _running(job, line, progress)
    elif str(job.log) in failed or (line and not progress and not _STARTED.match(line)):
        return Seen(job, State.FAILED, line)
    elif progress and quiet < QUIET_SECONDS_UNLISTED:
        return _running(job, line, progress)
    return Seen(job, State.STOPPED if progress or saved else State.LEFT, line)


def _tail(path: Path) -> tuple[float | None, str]:
    """When the file was last written, and its last line; (None, "") without a file."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            file.seek(max(0, status.st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return None, ""
    return status.st_mtime, lines[-1] if lines else ""


def _running(job: Job, line: str, progress: re.Match | None) -> Seen:
    seen = Seen(job, State.RUNNING, line)
    if progress is None or progress[3] is None:
        return seen
    step, steps = int(progress[1]), int(progress[2])
    left = 60.0 * int(progress[3]) + int(progress[4])
    return replace(seen, left=left, total=left * steps / (steps - step) if step < steps else None)


@dataclass(frozen=True)
class Status:
    """All jobs as seen at one moment.

    Attributes:
        jobs: each of them.
        seconds: what is left of each training that is not done; nothing for those of a kind that no
            run has told the time of.
        chain: seconds of the longest chain of these that wait for one another.
        outdated: see there.
        refused: see there.
    """

    jobs: list[Seen]
    seconds: Mapping[Job, float]
    chain: float
    outdated: Sequence[str] = ()
    refused: Sequence[str] = ()

    def count(self, state: State) -> int:
        """How many jobs are in `state`."""
        return sum(seen.state is state for seen in self.jobs)

    @property
    def unknown(self) -> int:
        """How many trainings are left of which nothing tells how long they take."""
        left = [s.job for s in self.jobs if s.job.trained and s.state is not State.DONE]
        return sum(job not in self.seconds for job in left)

    @property
    def at_once(self) -> int:
        """How many jobs are training."""
        return sum(s.state is State.RUNNING and s.job.trained is not None for s in self.jobs)

    @property
    def eta(self) -> float | None:
        """Seconds until all jobs in `seconds` are done, with as many at once as now.

        The longer of two: all work over the jobs at once, and the longest chain of jobs that wait
        for one another. None while nothing runs, or nothing is known.
        """
        if not self.at_once or not self.seconds:
            return None
        return max(sum(self.seconds.values()) / self.at_once, self.chain)


def status(
    config: Mapping,
    nodes: Sequence[Node],
    results: Mapping[str, Mapping],
    duration_of: Callable[[Mapping], float | None],
    snakemake: Path = Path(".snakemake"),
    now: float | None = None,
) -> Status:
    """Look at all files of a study once.

    Args:
        config: the configuration, defaults filled in.
        nodes: its nodes.
        results: their metrics, by `runs`.
        duration_of: from a node's settings to the seconds that it takes; None where not known.
        snakemake: the folder that Snakemake keeps its notes in.
        now: seconds since 1970; None is the present.
    """
    started, failed = started_jobs(snakemake), failed_logs(snakemake)
    now = time.time() if now is None else now
    seen = [
        Seen(job, State.DONE) if finished(job, config, results) else look(job, started, failed, now)
        for job in jobs(config, nodes)
    ]
    left = [(s.job.trained, s) for s in seen if s.job.trained and s.state is not State.DONE]
    reckoned = defaultdict(list)  # what running jobs say of their like
    for node, s in left:
        if s.total is not None and s.job.node:
            reckoned[study.alike(config, node)].append(s.total)
    seconds: dict[Job, float] = {}
    by_node: dict[Node, float] = defaultdict(float)
    for node, s in left:
        total = duration_of(study.node_settings(config, node))
        if total is None and (totals := reckoned.get(study.alike(config, node))):
            total = statistics.median(totals)
        if total is not None and s.job.early:
            images = images_of(config, node.dataset)
            total = total * share(config, s.job, images) if isinstance(images, Images) else None
        if (remaining := total if s.left is None else s.left) is not None:
            seconds[s.job] = remaining
            # What trains a dense network again starts with it; the levels wait for all of these.
            by_node[node] = max(by_node[node], remaining)
    return Status(
        seen,
        seconds,
        longest_chain(config, by_node),
        outdated(config, results, nodes),
        refused(config, results, nodes),
    )


def longest_chain(config: Mapping, seconds: Mapping[Node, float]) -> float:
    """The time of the longest chain of nodes in `seconds`, each of which waits for the last one."""
    end: dict[Node, float] = {}
    order = {node: (len(study.members(config, node)), bool(node.branch)) for node in seconds}
    for node in sorted(seconds, key=lambda node: (*order[node], node.level)):
        before = [end.get(source.node, 0.0) for source in study.origins(config, node).values()]
        end[node] = seconds[node] + max(before, default=0.0)
    return max(end.values(), default=0.0)
