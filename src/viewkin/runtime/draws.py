"""Random numbers that do not depend on how many processes share the work.

Every number that decides a result (views, sampled negatives, mixing, order of the images) is drawn for the *global*
batch from a CPU generator seeded by (run seed, purpose, step); each rank and micro-batch takes its own rows. A run
is therefore a function of its seed alone: nothing random has to be saved to resume it, and W ranks draw what one would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


def seed_for(*parts: int | str) -> int:
    """Hash any parts, such as ``(run seed, "views", step)``, to one non-negative 63-bit seed."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(*parts: int | str) -> torch.Generator:
    """Make a CPU generator seeded by :func:`seed_for` of the parts."""
    return torch.Generator().manual_seed(seed_for(*parts))


@contextmanager
def own_random(device: torch.device, *parts: int | str) -> Generator[None]:
    """Let torch's global stream follow from the parts (initial weights, dropout), and leave it as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed_for(*parts))
        yield


def onto(x: Tensor, device: torch.device) -> Tensor:
    """Send what lies on the CPU to a device, without waiting for what the device still has to do.

    A conversion on the way would wait again: give ``x`` the type that it is to have.
    """
    if device.type != "cuda" or x.device.type != "cpu":
        return x.to(device)
    return x.contiguous().pin_memory().to(device, non_blocking=True)


@dataclass
class Draw:
    """The place of one micro-batch in the random numbers of one optimiser step.

    The global batch has ``total`` rows, rank-major: rank r, micro-batch m of A with b rows each holds rows
    ``(r*A + m)*b`` to ``(r*A + m + 1)*b``. This object names those rows as ``start:stop``.
    """

    seed: int
    """Run seed."""
    step: int
    """Optimiser steps done since the start of the run, over all rounds."""
    total: int
    """Rows in the global batch."""
    start: int
    """First row of this micro-batch in the global batch."""
    stop: int
    """One past its last row."""

    def generator(self, purpose: str) -> torch.Generator:
        """Make the generator of this step for one purpose; the same on every rank and micro-batch."""
        return generator_for(self.seed, purpose, self.step)

    def rows(self, purpose: str, sample: Callable[[int, torch.Generator], Tensor]) -> Tensor:
        """Draw ``sample(total, generator)``, one row an image of the global batch, and take this micro-batch's rows."""
        return sample(self.total, self.generator(purpose))[self.start : self.stop]
