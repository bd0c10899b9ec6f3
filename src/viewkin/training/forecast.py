"""How long training still takes, said again when it changes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

from viewkin.runtime.wording import duration

FIRST = 5.0
"""Seconds of training from which the rest is foretold."""
AGAIN = 30.0
"""Seconds at least between two looks at the speed."""
PART = 50
"""A look comes after this part of the rest at the latest, so that one pause in a long run changes nothing."""
CHANGED = 1.5
"""Factor by which the rest must differ from what was said."""
SHORT = 60.0
"""Seconds of a rest that need not be told."""
CROWDED = 0.5
"""Share of its threads' time below which a process gets little of the processor."""


@dataclass(frozen=True)
class Mark:
    """A moment of the training."""

    done: int
    """Steps done."""
    wall: float
    """Seconds of a clock."""
    cpu: float
    """Seconds of the processor that this process has taken."""


class Forecast:
    """Foretells the rest from the speed since the last look."""

    def __init__(self, total: int) -> None:
        """Foretell when ``total`` steps are done."""
        self._total = total
        self._mark: Mark | None = None
        self._end: float | None = None
        self._wait = FIRST

    def after(self, done: int) -> str | None:
        """Take note of a step; give a sentence where the rest is known for the first time, or has changed."""
        now = Mark(done, time.monotonic(), time.process_time())
        if self._mark is None:  # the first step is slower: not counted
            self._mark = now
        before = self._mark
        if now.wall - before.wall < self._wait or done <= before.done:
            return None
        rest = (now.wall - before.wall) / (done - before.done) * (self._total - done)
        expected = None if self._end is None else max(self._end - now.wall, 1.0)
        self._mark, self._wait = now, max(AGAIN, rest / PART)
        if rest <= SHORT or (expected is not None and 1 / CHANGED <= rest / expected <= CHANGED):
            self._end = self._end or now.wall + rest
            return None
        self._end = now.wall + rest
        why = ": other processes use the processor" if crowded(before, now) else ""
        if expected is None:
            return f"About {duration(rest)} to go at this speed{why}. Ctrl-C stops and saves, --resume goes on."
        return f"Now about {duration(rest)} to go at this speed{why}."


def crowded(before: Mark, now: Mark) -> bool:
    """Tell whether this process, which computes on the processor, gets little of it because others are at work."""
    if torch.cuda.is_available():
        return False
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = (now.cpu - before.cpu) / (now.wall - before.wall) / min(torch.get_num_threads(), cores)
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else float(cores)
    return share < CROWDED and busy >= 0.75 * cores
