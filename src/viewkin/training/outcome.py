"""How a run ends."""

from __future__ import annotations

from dataclasses import dataclass

from viewkin.runtime.errors import UserError


class RunStoppedError(UserError):
    """The run ended early by itself; the last good checkpoint is kept."""

    exit_code = 1
    """The input was fine."""


@dataclass
class Outcome:
    """How a run ended."""

    steps: int
    """Optimiser steps done, over all rounds."""
    finished: bool
    """False when a signal stopped it; it can be resumed."""
    signal: int | None
    """The signal's number."""
    seconds: float
    """Wall-clock of this process's part of the run."""
    images_per_second: float
    """Source images a second over the training steps alone; 0 where nothing was left to train."""

    @property
    def exit_code(self) -> int:
        """Of the process: 0, or 128 + the signal that stopped the run."""
        return 0 if self.finished else 128 + (self.signal or 15)
