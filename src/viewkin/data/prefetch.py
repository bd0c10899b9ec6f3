"""Reading ahead in worker processes, in order."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Result = TypeVar("Result")


class _Calls(Dataset[Any]):
    """One item a batch: ``read`` of its indices."""

    def __init__(self, read: Callable[[Tensor], Any], batches: Sequence[Tensor]) -> None:
        self.read = read
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, position: int) -> Any:
        return self.read(self.batches[position])


START_METHOD = "fork" if sys.platform == "linux" else "spawn"
"""How workers start: a fork takes 0.1 s, a fresh process (all that Windows has, and what macOS advises) several."""


def _start_worker(number: int) -> None:  # noqa: ARG001 (the signature that DataLoader calls)
    """One thread a worker; the first pass has already said what Pillow warns of."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def prefetched(read: Callable[[Tensor], Result], batches: Sequence[Tensor], workers: int) -> Iterator[Result]:
    """Yield ``read(batch)`` for each batch, in order; with ``workers`` > 0 in that many processes."""
    if workers <= 0 or not batches:
        for batch in batches:
            yield read(batch)
        return
    loader = DataLoader(
        _Calls(read, batches),
        batch_size=None,
        num_workers=min(workers, len(batches)),
        multiprocessing_context=START_METHOD,
        worker_init_fn=_start_worker,
        # DataLoader seeds its workers from the global generator otherwise, which would change the run's numbers.
        generator=torch.Generator(),
    )
    with warnings.catch_warnings():
        # Python 3.12 warns of every fork beside threads; the workers use none of the parent's.
        warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
        ahead = iter(loader)
    yield from ahead
