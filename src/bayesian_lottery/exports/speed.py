"""How fast an exported network predicts, by turns with the dense one."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Logits = Callable[[Tensor], Tensor]

LEAST_TURNS, WARM = 9, 2
EVEN = 0.9  # of the dense network's speed: what is below is slower, and what is above may be noise


@torch.inference_mode()
def compare(dense: Logits, exported: Logits, images: Tensor, batch: int, seconds: float) -> dict:
    """Time both for a batch, one after the other, again and again.

    Time is the processor's, in which other work on the machine counts less, and which on one thread
    and an idle machine is that of the clock; if a GPU is used, it is that of the clock. The ratio
    is the median over turns, each of which the same disturbances meet.

    Args:
        dense, exported: from images to logits on the CPU.
        images: float (B, C, H, W), repeated if there are fewer than `batch`.
        batch: images at a time.
        seconds: how long to go on, after nine turns.

    Returns:
        `batch`; the median seconds of a batch, `seconds` and `dense_seconds`; images a second,
        `throughput` and `dense_throughput`; `times_as_fast` as the dense network; `turns`.
    """
    inputs = images[torch.arange(batch) % len(images)].contiguous()
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    for _ in range(WARM):
        dense(inputs), exported(inputs)
    spent: tuple[list[float], list[float]] = ([], [])
    pairs = [*zip((dense, exported), spent, strict=True)]
    while len(spent[0]) < LEAST_TURNS or sum(map(sum, spent)) < seconds:
        pairs.reverse()  # neither is always second, with the caches warm
        for predict, times in pairs:
            started = clock()
            predict(inputs)
            times.append(clock() - started)
    medians = [statistics.median(times) for times in spent]
    return {
        "batch": batch,
        "dense_seconds": medians[0],
        "seconds": medians[1],
        "dense_throughput": batch / medians[0],
        "throughput": batch / medians[1],
        "times_as_fast": statistics.median(a / b for a, b in zip(*spent, strict=True)),
        "turns": len(spent[0]),
    }


def slower(speeds: Sequence[dict]) -> str:
    """A sentence that names the batches at which an export is slower than the dense network; empty
    if there is none."""
    named = [f"{row['batch']} ({row['times_as_fast']:.2f} times as fast)" for row in speeds
             if row["times_as_fast"] < EVEN]  # fmt: skip
    return f"slower than the dense network at batches of {', '.join(named)}" if named else ""
