"""Ctrl-C and SIGTERM: finish the step, save, then go."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any


class Interrupt:
    """While entered, the first signal asks for a stop; a second Ctrl-C takes its usual effect."""

    def __init__(self) -> None:
        self.signal: int | None = None
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
        self.signal = number
        signal.signal(number, self._before[number])
