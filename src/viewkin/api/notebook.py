"""Progress in a notebook."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from html import escape
from types import TracebackType
from typing import Any

from viewkin.runtime.progress import PATIENCE, Bar, Reporter, reporter, reporting_to
from viewkin.runtime.wording import duration

BETWEEN = 0.5
"""Seconds between two drawings of a bar."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def progress_where_seen() -> Generator[None]:
    """Show progress if this is a notebook and nobody shows it otherwise; stay quiet elsewhere."""
    if type(reporter()) is Reporter and in_notebook():
        with reporting_to(NotebookReporter()):
            yield
    else:
        yield


class NotebookReporter(Reporter):
    """Draws bars below the cell that runs. Sentences are not shown: results carry them."""

    draws = True
    width = 200

    def bar(self, description: str, total: int | None, *, done: int = 0, patience: float = PATIENCE) -> Bar:
        """Give a bar that appears after ``patience`` seconds."""
        return NotebookBar(description, total, done, patience)


class NotebookBar(Bar):
    """A bar as HTML, drawn twice a second at most and taken away at the end."""

    def __init__(self, description: str, total: int | None, done: int, patience: float) -> None:
        """Prepare a bar."""
        super().__init__(description, total, done)
        self._patience, self._first, self._began, self._drawn_at = patience, done, 0.0, 0.0
        self._handle: Any = None

    def __enter__(self) -> NotebookBar:
        """Start the clock."""
        self._began = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        """Take the bar away."""
        if self._handle is not None:
            self._handle.update(_html(""))

    def update(self, done: int, *, description: str | None = None, detail: str | None = None) -> None:
        """Move the bar."""
        super().update(done, description=description, detail=detail)
        now = time.monotonic()
        if now - self._began < self._patience or now - self._drawn_at < BETWEEN:
            return
        self._drawn_at = now
        content = _html(self.html(now - self._began))
        if self._handle is None:
            self._handle = _ipython_display().display(content, display_id=True)
        else:
            self._handle.update(content)

    def html(self, seconds: float) -> str:
        """Write the bar after some seconds of work."""
        if self.total is None:
            return f"{escape(self.description)} <progress></progress> {duration(seconds)}"
        made = self.done - self._first
        left = f", {duration(seconds / made * (self.total - self.done))} to go" if made > 0 else ""
        bar = f'<progress value="{self.done}" max="{self.total}"></progress>'
        return f"{escape(self.description)} {bar} {self.done:,}/{self.total:,}{left} {escape(self.detail)}"


def _html(text: str) -> Any:
    return _ipython_display().HTML(text)


def _ipython_display() -> Any:
    return importlib.import_module("IPython.display")
