"""How far something long is: a bar in a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

SECONDS = 10  # between two lines of a log


class Meter:
    """A bar in a terminal; elsewhere a line every ten seconds at the most. Both with an ETA.

    Args:
        unit: what is counted, in the singular: "step".
        total: how many there are.
        first: how many were done before.
        stream: where lines go; None is what `print` prints to.
    """

    def __init__(self, unit: str, total: int, first: int = 0, stream: TextIO | None = None):
        self.unit, self.total, self.first, self.stream = unit, total, first, stream
        self.started = self.shown = time.perf_counter()
        terminal = sys.stderr.isatty()  # where bars go
        self.bar = tqdm(total=total, initial=first, unit=unit, disable=not terminal, delay=3)

    def show(self, done: int, state: Callable[[], str] = str) -> None:
        """Say that so many are done, and what `state` adds: "step 5/80, loss 0.5, 1m30s left"."""
        self.bar.update(done - self.bar.n)
        now = time.perf_counter()
        if not self.bar.disable or (now - self.shown < SECONDS and done < self.total):
            return
        self.shown = now
        left = (now - self.started) / max(1, done - self.first) * (self.total - done)
        minutes, seconds = divmod(round(left), 60)
        line = f"{self.unit} {done}/{self.total}{state()}, {minutes}m{seconds:02}s left"
        print(line, file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()
