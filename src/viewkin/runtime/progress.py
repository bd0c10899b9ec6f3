"""Progress and sentences from long work, through one interface: quiet in a library, shown by who asks for it.

Work reports to the current :class:`Reporter`. The default shows nothing. The command line puts one that draws on the
terminal in its place; in a notebook the Python API puts in one that draws there (:mod:`viewkin.api.notebook`).
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Environment variables that number the processes of a run; without any there is one."""
PATIENCE = 2.0
"""Seconds that work lasts before a bar is shown."""


class Bar:
    """How far one piece of work is. This class shows nothing; a reporter's own draws."""

    def __init__(self, description: str = "", total: int | None = None, done: int = 0) -> None:
        """Begin.

        Args:
            description: what is done, in two words.
            total: units of work; None where nobody knows.
            done: units that were done before.
        """
        self.description, self.total, self.done, self.detail = description, total, done, ""

    def __enter__(self) -> Bar:
        """Begin the work."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        """Take the bar away, also when the work failed."""

    def advance(self, amount: int = 1) -> None:
        """Count ``amount`` more units as done."""
        self.update(self.done + amount)

    def update(self, done: int, *, description: str | None = None, detail: str | None = None) -> None:
        """Say how far the work is.

        Args:
            done: units done in all.
            description: what is done now; None: as before.
            detail: numbers to show beside the bar; None: as before.
        """
        self.done = done
        self.description = self.description if description is None else description
        self.detail = self.detail if detail is None else detail


class Reporter:
    """What long work reports to. This class shows nothing."""

    draws: bool = False
    """Whether bars are drawn, so that what they show need not be said in sentences."""
    width: int = 80
    """Columns of a line."""

    def say(self, *sentences: str) -> None:
        """Take sentences that a person should read, one line each."""

    def say_now(self, sentence: str) -> None:
        """Take a sentence inside a signal handler, where nothing may be locked."""

    def bar(self, description: str, total: int | None, *, done: int = 0, patience: float = PATIENCE) -> Bar:
        """Give a bar for work that begins now; it is shown once the work has lasted ``patience`` seconds."""
        return Bar(description, total, done)


_current = Reporter()


def reporter() -> Reporter:
    """Give the current reporter."""
    return _current


@contextmanager
def reporting_to(new: Reporter) -> Generator[Reporter]:
    """Put a reporter in the place of the current one for a while, for the whole process."""
    global _current
    before, _current = _current, new
    try:
        yield new
    finally:
        _current = before


def speaks() -> bool:
    """Tell whether this process is the one that speaks for all that torchrun, SLURM or Fabric started."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


def announce(*sentences: str) -> None:
    """Say sentences as soon as they are known, by the process that speaks, before the others are even there."""
    if speaks():
        reporter().say(*sentences)


def progress_bar(description: str, total: int | None, *, shown: bool = True) -> Bar:
    """Give a bar of the current reporter, or one that shows nothing."""
    return reporter().bar(description, total) if shown else Bar(description, total)


def counting(items: Iterable[list[Item]], description: str, total: int, *, shown: bool = True) -> Iterator[list[Item]]:
    """Pass lists on, and count what is in them on a bar."""
    with progress_bar(description, total, shown=shown) as bar:
        for item in items:
            bar.advance(len(item))
            yield item
