"""Progress bars that short work never shows."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from threading import Timer
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class LateBar:
    """Bar with elapsed and remaining time on standard error, shown once the work has lasted ``delay`` seconds."""

    def __init__(self, description: str, total: int | None, *, delay: float = 2.0, shown: bool = True):
        self.description = description
        self.total = total
        self.delay = delay
        self.shown = shown
        self.done = 0
        self.began = time.monotonic()
        self.bar: Progress | None = None

    def __enter__(self) -> LateBar:
        """Start the clock."""
        self.began = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        """Take the bar away, also when the work failed."""
        if self.bar is not None:
            self.bar.stop()

    def advance(self, amount: int = 1) -> None:
        """Count ``amount`` more units of work as done."""
        self.done += amount
        if self.bar is None and self.shown and time.monotonic() - self.began > self.delay:
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            text = TextColumn("{task.description}")
            console = Console(stderr=True)
            # On what is no terminal a bar would leave an empty line.
            self.bar = Progress(text, *columns, console=console, transient=True, disable=not console.is_terminal)
            self.bar.add_task(self.description, total=self.total)
            self.bar.start()
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.done)


@contextmanager
def ticking(description: str, *, delay: float = 2.0) -> Generator[None]:
    """Show a moving bar with the elapsed time over work that does not say how far it is, once it lasted ``delay`` s."""
    console = Console(stderr=True)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True)
    bar.add_task(description, total=None)
    timer = Timer(delay, bar.start)
    if console.is_terminal:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident is not None:  # it may be just starting the bar
            timer.join()
        if bar.live.is_started:  # stopping one that never started prints an empty line
            bar.stop()
