"""Schedules: pure functions of training progress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from viewkin.settings import Fraction, NotNegative, Settings


@dataclass
class Progress:
    """Progress of training; every schedule is a function of it.

    Counts restart in a new round, which restarts the schedules and keeps network, optimiser and memory.
    """

    step: int = 0
    """Optimiser steps done in this round."""
    steps: int = 1
    """Optimiser steps of one round."""
    epoch: int = 0
    """Epochs done in this round."""
    epochs: int = 1
    """Epochs of one round."""
    round: int = 0
    """Rounds done."""
    rounds: int = 1
    """Rounds of the run."""
    seed: int = 0
    """Seed of the run, for random numbers that do not belong to a batch."""

    @property
    def total_step(self) -> int:
        """Optimiser steps done since the start of the run."""
        return self.round * self.steps + self.step

    @property
    def fraction(self) -> float:
        """Fraction of this round that is done, 0 to 1."""
        return self.step / self.steps

    @property
    def epochs_done(self) -> float:
        """Epochs of this round that are done, with the fraction of the running one."""
        # A single division of integers is exact at the end of every epoch; fraction * epochs is not (0.58 * 100 < 58).
        return self.step * self.epochs / self.steps


def warmup(done: float, length: float) -> float:
    """Linear warm-up factor: rises from 0 to 1 while ``done`` goes from 0 to ``length`` (same unit), then stays 1."""
    return 1.0 if length <= 0 or done >= length else done / length


def cosine(fraction: float, final: float = 0.0) -> float:
    """Half a cosine from 1 at fraction 0 to ``final`` at fraction 1.

    References:
        Loshchilov and Hutter, SGDR, 2017, equation 5 (one period).
    """
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0)))


def step_decay(epoch: float, milestones: Sequence[float], factors: Sequence[float] | float) -> float:
    """Piecewise constant: 1 before the first milestone, then multiplied at each milestone reached.

    Args:
        epoch: epochs done.
        milestones: epochs, rising.
        factors: one factor for all milestones (0.1 drops tenfold at each), or the absolute level after each.
    """
    reached = sum(epoch >= milestone for milestone in milestones)
    if isinstance(factors, (int, float)):
        return float(factors) ** reached
    return 1.0 if reached == 0 else float(factors[reached - 1])


def momentum_cosine(base: float, fraction: float) -> float:
    """Weight of the old value in an EMA network, rising from ``base`` to 1: ``1 - (1-base)(cos(pi t)+1)/2``.

    References:
        Grill et al., BYOL, 2020, section 3.2.
    """
    return 1 - (1 - base) * cosine(fraction)


@dataclass(frozen=True, kw_only=True)
class RampConfig(Settings):
    """Ramp-up of a term that needs a trained memory: its weight w as a function of progress, 0 to 1."""

    shape: Literal["binary", "gaussian"] = "binary"
    """``binary``: 0 before T and 1 after; ``gaussian``: ``exp(-5 (1 - t/T)^2)`` before T and 1 after."""
    share: Fraction = 0.15
    """T as a fraction of the round's epochs, at least one epoch, so that nearly all images were seen; 0: no ramp."""
    epochs: NotNegative | None = None
    """T in epochs; replaces ``share``."""
    gate: bool | None = None
    """Whether the term also waits for the first epoch whose mean instance loss is below ln M, the loss of M equally
    similar candidates; false: as published; None: it waits, unless T is 0."""

    @property
    def gated(self) -> bool:
        """Whether the ramp waits for a gate."""
        if self.gate is not None:
            return self.gate
        return (self.share if self.epochs is None else self.epochs) > 0

    def length(self, epochs: int) -> float:
        """Return T in epochs, in a round of ``epochs``."""
        if self.epochs is not None:
            return self.epochs
        return max(self.share * epochs, 1.0) if self.share else 0.0

    def weight_at(self, at: Progress, opened: int | None = 0) -> float:
        """Return w for step ``at.step``.

        Args:
            at: progress.
            opened: epochs of the run that were done when the gate opened; 0: there is no gate; None: it is closed.
        """
        if opened is None:
            return 0.0
        length, opening = self.length(at.epochs), max(opened - at.round * at.epochs, 0)
        if self.shape == "binary":
            return float(at.epochs_done >= max(length, opening))
        return gaussian_ramp(at.epochs_done - opening, length) if at.epochs_done >= opening else 0.0


def gaussian_ramp(done: float, length: float) -> float:
    """``exp(-5 (1 - t/T)^2)``: rises from 0.0067 to 1 while ``done`` goes from 0 to ``length``, then stays 1.

    References:
        Laine and Aila, Temporal Ensembling, 2017, section 3; InvP's released code.
    """
    return 1.0 if length <= 0 or done >= length else math.exp(-5 * (1 - done / length) ** 2)
