"""How a run ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from viewkin.runtime.errors import UserError


class RunStoppedError(UserError):
    """The run ended early by itself; the last good checkpoint is kept."""

    exit_code = 1
    """The input was fine."""


class UnwritableRunError(RunStoppedError):
    """The run directory cannot be written: no room, no right, or the place is gone."""

    def __init__(self, path: Path, reason: str, *, kept: bool, remedy: str = "make room") -> None:
        """Say what cannot be written and what to do.

        Args:
            path: file or directory.
            reason: what the system says.
            kept: whether a checkpoint is left to go on from.
            remedy: what to do first.
        """
        then = "go on with --resume" if kept else "start the run again, as it has no checkpoint yet"
        super().__init__(f"{path} cannot be written ({reason}); {remedy}, then {then}.")
        self.path, self.reason, self.remedy = path, reason, remedy


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
