"""Ctrl-C and SIGTERM: finish the step, save, then go."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

from viewkin.runtime.progress import reporter

ONE_REQUEST = 1.0
"""Seconds within which signals are one request: torchrun passes on the Ctrl-C that the terminal sent to all already."""


class Interrupt:
    """While entered, the first signal asks for a stop; one that comes later takes its usual effect at once."""

    def __init__(self, *, told: bool = False) -> None:
        """Wait for signals.

        Args:
            told: say what the first signal does.
        """
        self.signal: int | None = None
        self._told = told
        self._asked_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: the embedding program handles signals
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self._asked_at = number, time.monotonic()
            if self._told:
                reporter().say_now("Stopping after this step, then saving; once more ends at once.")
        elif time.monotonic() - self._asked_at > ONE_REQUEST:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
