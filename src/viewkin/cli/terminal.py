"""Progress and sentences on a terminal."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from threading import Timer
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from viewkin.runtime.progress import PATIENCE, Bar, Reporter, reporting_to
from viewkin.runtime.wording import one_line


def say(console: Console, *sentences: str) -> None:
    """Print one line each as it is: no wrapping within a path, no colours, no markup read from a file's name."""
    for sentence in sentences:
        console.print(one_line(sentence), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def shown() -> Generator[Console]:
    """Show progress and sentences of what runs meanwhile on the terminal; give the console to print results on."""
    console, heard = Console(), _Heard()
    logger = logging.getLogger("viewkin")
    before, logger.propagate = logger.propagate, False
    logger.addHandler(heard)
    try:
        with reporting_to(TerminalReporter(console)):
            yield console
    finally:
        logger.removeHandler(heard)
        logger.propagate = before


class _Heard(logging.Handler):
    """Writes what the library logs, such as an image that is gone, on standard error, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        say(Console(stderr=True), f"warning: {record.getMessage()}")


class TerminalReporter(Reporter):
    """Prints sentences on standard output and draws bars; on what is no terminal there are no bars."""

    def __init__(self, console: Console | None = None) -> None:
        """Print on ``console``, by default standard output."""
        self.console = Console() if console is None else console
        errors = Console(stderr=True)
        # Sentences go above a bar only if both are on one console.
        self._bars = errors if errors.is_terminal and not self.console.is_terminal else self.console
        self.draws = self.console.is_terminal
        self.width = self.console.width

    def say(self, *sentences: str) -> None:
        """Print one line each."""
        say(self.console, *sentences)

    def say_now(self, sentence: str) -> None:
        """Write to standard error without a lock: print may wait for one that the interrupted code holds."""
        os.write(2, f"\n{sentence}\n".encode())

    def bar(self, description: str, total: int | None, *, done: int = 0, patience: float = PATIENCE) -> Bar:
        """Give a bar that appears after ``patience`` seconds."""
        return TerminalBar(self._bars, description, total, done, patience)


class TerminalBar(Bar):
    """Bar with what is done, numbers, and the remaining time; without a total it moves and counts the seconds."""

    def __init__(self, console: Console, description: str, total: int | None, done: int, patience: float) -> None:
        """Prepare a bar."""
        super().__init__(description, total, done)
        time = (TextColumn("eta"), TimeRemainingColumn(elapsed_when_finished=True)) if total else (TimeElapsedColumn(),)
        count = (MofNCompleteColumn(),) if total else ()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            *count,
            TextColumn("{task.fields[detail]}"),
        )
        self._progress = Progress(*columns, *time, console=console, transient=patience > 0, refresh_per_second=4)
        self._task = self._progress.add_task(description, total=total, completed=done, detail="")
        self._timer = Timer(patience, self._progress.start)
        self._timer.daemon = True
        self._drawn = console.is_terminal

    def __enter__(self) -> TerminalBar:
        """Start the clock."""
        if self._drawn:
            self._progress.reset(self._task, completed=self.done)
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        """Take the bar away."""
        self._timer.cancel()
        if self._timer.ident is not None:  # it may be starting the bar at this moment
            self._timer.join()
        if self._progress.live.is_started:  # stopping one that never started prints an empty line
            self._progress.stop()

    def update(self, done: int, *, description: str | None = None, detail: str | None = None) -> None:
        """Move the bar."""
        super().update(done, description=description, detail=detail)
        if self._drawn:
            self._progress.update(self._task, completed=done, description=self.description, detail=self.detail)
