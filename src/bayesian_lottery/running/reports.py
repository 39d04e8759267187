"""Estimates and states of a study as text for a terminal."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

from bayesian_lottery import study
from bayesian_lottery.running.cost import Estimate, Item
from bayesian_lottery.running.progress import Seen, State, Status
from bayesian_lottery.running.speeds import PUBLISHED, Speed

RETRAIN = (
    "To train them again: snakemake --cores 4 --forcerun $(python scripts/status.py --outdated),"
    " with the same --configfile in both."
)
COLUMNS = (State.DONE, State.RUNNING, State.FAILED, State.LEFT)


def of_estimate(estimated: Estimate, at_once: Sequence[int], by: str = "stage") -> str:
    """The estimate as a table with a row a "stage" or a "model", and the time with so many jobs
    `at_once`."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in estimated.items:
        node = item.job.node
        if by == "model" and node is not None:
            trained = study.trained(estimated.config, node).inference
            groups[f"{node.model}, {trained}"].append(item)
        else:
            groups[item.job.stage].append(item)
    hours = "GPU-hours" if estimated.device == "gpu" else "core-hours"
    rows = [("", "jobs", "done", hours, "left", "disk", "left", "hours from"), None]
    threads = estimated.measured.threads if estimated.device == "cpu" else 1
    source = "published" if estimated.speed is None else "assumed"
    rows += [_cost_row(name, items, threads, source) for name, items in groups.items()]
    rows += [None, _cost_row("total", estimated.items, threads, source)]
    return "\n".join([aligned(rows), "", *_notes(estimated, at_once)])


def _cost_row(name: str, items: Sequence[Item], threads: int, source: str) -> tuple:
    """A row of the table: hours and bytes of all `items`, and of those that are not done.

    `source` says where hours are from that were not measured.
    """
    left = [item for item in items if not item.done]
    timed = Counter(item.measured for item in items if item.seconds is not None)
    hours, disk = [], []
    for some in (items, left):
        seconds = sum(item.seconds or 0.0 for item in some)
        hours.append(_number(seconds * threads / 3600) if timed else "-")
        disk.append(_bytes(sum(item.kept for item in some)))
    words = {True: "measured", False: source}
    given = [
        words[how] + (f" ({timed[how]:,})" if len(timed) > 1 else "")
        for how in sorted(timed, reverse=True)
    ]
    return name, f"{len(items):,}", f"{len(items) - len(left):,}", *hours, *disk, ", ".join(given)


def _number(value: float) -> str:
    """With the two digits that count most, or all before the point; never an exponent."""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:,.{max(0, 1 - math.floor(math.log10(value)))}f}" if value else "0"


def _bytes(value: int) -> str:
    unit, size_ = next(((u, s) for u, s in (("GB", 1e9), ("MB", 1e6)) if value >= s), ("kB", 1e3))
    return f"{_number(value / size_)} {unit}" if value else "0"


def _notes(estimated: Estimate, at_once: Sequence[int]) -> list[str]:
    """What the hours rest on, and the time that it all takes."""
    measured, speed, device = estimated.measured, estimated.speed, estimated.device
    notes = []
    if any(item.measured for item in estimated.items):
        threads = f", {measured.threads} thread(s) a job" if device == "cpu" else ""
        notes.append(f"Measured: medians over the results, on {measured.device}{threads}.")
    if any(item.seconds is not None and not item.measured for item in estimated.items):
        notes.append(_unmeasured(speed, device))
    if estimated.stale:
        notes.append(f"{estimated.stale} nodes have results of other settings: made again.")
    if all(item.done or item.seconds is None for item in estimated.items):
        return [*notes, "Everything is trained."]
    times = ", ".join(f"{duration(estimated.wall(n))} with {n}" for n in at_once)
    passing = max(item.passing for item in estimated.items if not item.done)
    return [
        *notes,
        f"Time left, by jobs at once: {times}.",
        f"However many: {duration(estimated.chain)}, the longest chain of levels.",
        f"A running job holds up to {_bytes(passing)} more: its checkpoint, and weights"
        " that go when nothing needs them.",
    ]


def _unmeasured(speed: Speed | None, device: str) -> str:
    """What hours that were not measured rest on: an assumed speed, or if None published times."""
    if speed is not None:
        return (
            f"Assumed: {speed.tflops:g} TFLOP/s, and {1000 * speed.step_seconds:.2g} ms a training"
            f" step besides, of a {device.upper()} (--device, --tflops)."
        )
    times = ", ".join(f"{model} {a} and {b}" for model, (a, b) in PUBLISHED.items())
    return (
        f"Published: minutes a level on an A100 or H100, deterministic and Bayesian: {times}.\n"
        "Other models: by counted operations, from their family's minutes, else from resnet20's."
    )


def of_status(status: Status, now: float | None = None, reasons: int = 5) -> str:
    """The table of `status`, its ETA, and why jobs failed (`reasons` of them)."""
    stages: dict[str, list[Seen]] = defaultdict(list)
    for seen in status.jobs:
        stages[seen.job.stage].append(seen)
    rows = [("", "jobs", *(state.value for state in COLUMNS), ""), None]
    rows += [_status_row(stage, seen) for stage, seen in stages.items()]
    rows += [None, _status_row("total", status.jobs)]
    lines = [aligned(rows), "", _time_left(status, time.time() if now is None else now)]
    if queued := status.count(State.QUEUED):
        lines.append(f"Waiting in the cluster's queue: {queued}.")
    if stopped := status.count(State.STOPPED):
        lines.append(f"Stopped midway, to resume from a checkpoint: {stopped}.")
    failed = [
        f"{seen.job.log}: {seen.line.removeprefix('error: ') or 'nothing in the log'}"
        for seen in status.jobs
        if seen.state is State.FAILED
    ]
    lines += _some("Failed", failed, reasons)
    lines += _some("Not to be used", status.refused, reasons)
    lines += _some("By another version of the computation", status.outdated, reasons)
    if status.outdated:
        lines.append(RETRAIN)
    return "\n".join(lines)


def _some(what: str, texts: Sequence[str], most: int) -> list[str]:
    """A line for each of the first `most` texts, and one that counts the others."""
    more = [f"... and {len(texts) - most:,} more."] if len(texts) > most else []
    return [f"{what}: {text}" for text in texts[:most]] + more


def _status_row(name: str, seen: Sequence[Seen]) -> tuple:
    tally = Counter(s.state if s.state in COLUMNS else State.LEFT for s in seen)
    share = f"{100 * tally[State.DONE] // len(seen)} %"
    return name, len(seen), *(tally[state] for state in COLUMNS), share


def _time_left(status: Status, now: float) -> str:
    if status.count(State.DONE) == len(status.jobs):
        return "Everything is trained."
    unknown = f" Not counted: {status.unknown} trainings of kinds of which none has ended."
    uncounted = unknown if status.unknown else ""
    if not status.count(State.RUNNING):
        work = duration(sum(status.seconds.values()))
        known = f" {work} of work are left.{uncounted}" if status.seconds else ""
        return f"Nothing is running.{known}"
    if status.eta is None:
        return "Nothing has been trained yet that would tell the time left."
    return (
        f"About {duration(status.eta)} left with {status.at_once} at once, until"
        f" {datetime.fromtimestamp(now + status.eta):%a %d %b, %H:%M}.{uncounted}"
    )


def aligned(rows: Sequence[Sequence[object] | None]) -> str:
    """A table as text: the first and the last column flush left, the others right; None a rule."""
    texts = [row and [str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*filter(None, texts), strict=True)]
    sides = ["<", *">" * (len(widths) - 2), "<"]
    lines = []
    for row in texts:
        cells = row or ["-" * width for width in widths]
        padded = (f"{c:{s}{w}}" for c, s, w in zip(cells, sides, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds in words: "3d 4h", "1h 20m", "4m 10s", "45s"."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days:,}d {hour}h"
    if hours:
        return f"{hours}h {minute}m"
    return f"{minutes}m {second}s" if minutes else f"{second}s"
