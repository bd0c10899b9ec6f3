"""Long work in threads of their own, and how far it is, for a page that asks again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import PATIENCE, Bar, Reporter


class StoppedError(Exception):
    """Nobody wants the result of a job any more."""


class Job:
    """A piece of work that runs once, in a thread of its own."""

    def __init__(self, work: Callable[[Job], Any], description: str) -> None:
        """Prepare work.

        Args:
            work: takes this job, to tell how far it is; its result is kept.
            description: what is done, in two words.
        """
        self._work, self._ended = work, threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.description, self.done = description, 0
        self.total: int | None = None
        self.result: Any = None
        self.error: str | None = None
        self.stopped = False
        """Whether nobody wants the result any more."""

    def start(self) -> Job:
        """Begin, unless it has begun."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self.description, daemon=True)
                self._thread.start()
        return self

    def stop(self) -> None:
        """End the work at its next step, without a result."""
        self.stopped = True

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end; whether it has come."""
        return self._ended.wait(seconds)

    @property
    def ended(self) -> bool:
        """Whether there is a result or an error."""
        return self._ended.is_set()

    def told(self) -> dict[str, Any]:
        """Say how far it is."""
        return {
            "description": self.description,
            "done": self.done,
            "total": self.total,
            "ended": self.ended,
            "error": self.error,
            "stopped": self.stopped,
        }

    def _run(self) -> None:
        _jobs[threading.get_ident()] = self
        try:
            self.result = self._work(self)
        except StoppedError:
            self.result = None
        except UserError as error:
            self.error = str(error)
        except Exception as error:  # a thread has nobody to raise to; the page says it
            self.error = f"{type(error).__name__}: {error}"
        finally:
            _jobs.pop(threading.get_ident(), None)
            self._ended.set()


_jobs: dict[int, Job] = {}
"""Thread to the job that runs in it."""


class JobReporter(Reporter):
    """Passes the progress of work on to the job whose thread it runs in; all else goes to another reporter."""

    def __init__(self, otherwise: Reporter) -> None:
        """Take the reporter for what is no job's."""
        self._otherwise = otherwise
        self.draws, self.width = otherwise.draws, otherwise.width

    def say(self, *sentences: str) -> None:
        """Pass on sentences of what is no job: a job's result carries its own."""
        if threading.get_ident() not in _jobs:
            self._otherwise.say(*sentences)

    def bar(self, description: str, total: int | None, *, done: int = 0, patience: float = PATIENCE) -> Bar:
        """Give a bar that writes into the job."""
        job = _jobs.get(threading.get_ident())
        if job is None:
            return self._otherwise.bar(description, total, done=done, patience=patience)
        return JobBar(job, description, total, done)


class JobBar(Bar):
    """A bar that a job tells of."""

    def __init__(self, job: Job, description: str, total: int | None, done: int) -> None:
        """Begin."""
        super().__init__(description, total, done)
        self._job = job
        self.update(done)

    def update(self, done: int, *, description: str | None = None, detail: str | None = None) -> None:
        """Move the bar.

        Raises:
            StoppedError: the job was stopped.
        """
        if self._job.stopped:
            raise StoppedError
        super().update(done, description=description, detail=detail)
        self._job.description, self._job.done, self._job.total = self.description, self.done, self.total
