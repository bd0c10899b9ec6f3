"""A bank: one embedding for every image of the data set."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import torch
from torch import Tensor

from viewkin import losses
from viewkin.memory.storage import Replicated

ROWS_PER_DRAW = 2**18
"""Number of rows that are initialised at once, to avoid a second copy of the bank."""


@dataclass(frozen=True, kw_only=True)
class BankStorage:
    """Default number type and place of banks."""

    dtype: torch.dtype = torch.float32
    """Type of the rows; bfloat16 halves memory and traffic; products are rounded to it, sums are not."""
    folder: Path | None = None
    """Keep rows in temporary files in this folder, on the CPU, instead of in memory."""


_storage: ContextVar[BankStorage | None] = ContextVar("storage", default=None)


@contextmanager
def bank_storage(storage: BankStorage) -> Generator[None]:
    """Set the default storage of banks that are made inside the block."""
    token = _storage.set(storage)
    try:
        yield
    finally:
        _storage.reset(token)


class FeatureBank(Replicated):
    """Memory of N unit embeddings, one per row, in data-set order.

    Reads have no side effect. :meth:`write_` takes the joined batch of all ranks, so every rank holds the same bank.

    References:
        Wu et al., NPID, 2018, section 3.1; the momentum is the weight of the **old** value.
    """

    features: Tensor
    """(N, D)."""

    def __init__(
        self,
        count: int,
        dim: int,
        *,
        momentum: float = 0.5,
        init: Literal["normal", "uniform", "zero"] = "normal",
        dtype: torch.dtype | None = None,
        file: Path | None = None,
    ) -> None:
        """Start from random rows.

        Args:
            count: N, number of images.
            dim: D.
            momentum: weight of the old row in a write, 0 to 1.
            init: ``normal`` draws random unit vectors; ``uniform`` draws entries in +-1/sqrt(D/3), so that rows have a
                norm of about 1 (the NPID release); ``zero`` leaves rows of a file unwritten, without taking space.
            dtype: type of the rows; None: that of :func:`bank_storage`, or float32.
            file: keep the rows in this new file instead of in memory; None: as set by :func:`bank_storage`.
        """
        super().__init__()
        self.momentum = momentum
        storage = _storage.get() or BankStorage()
        rows = allocate_rows(count, dim, dtype or storage.dtype, file, storage.folder)
        for part in rows.split(ROWS_PER_DRAW) if init != "zero" else ():
            if init == "uniform":
                part.copy_((torch.rand(part.shape) * 2 - 1) / (dim / 3) ** 0.5)
            else:
                part.copy_(losses.unit(torch.randn(part.shape)))
        self.register_buffer("features", rows)

    def everything(self) -> Tensor:
        """Return all rows (N, D), not a copy: read only."""
        return self.features

    @torch.no_grad()
    def write_(self, index: Tensor, z: Tensor) -> None:
        """Move rows towards new embeddings: ``V_i <- l2(m V_i + (1 - m) z_i)``.

        Args:
            index: (B,) int64 without repeats (the sampler guarantees it; the result of a repeated row is undefined).
            z: (B, D) unit norm.
        """
        mixed = self.momentum * losses.at_least_float32(self.features[index]) + (1 - self.momentum) * z
        self.features[index] = losses.unit(mixed).to(self.features.dtype)

    @torch.no_grad()
    def fill_(self, z: Tensor) -> None:
        """Overwrite all rows by embeddings (N, D), which are normalised here."""
        for rows, part in zip(self.features.split(losses.BLOCK), z.split(losses.BLOCK)):
            rows.copy_(losses.unit(part))


def allocate_rows(count: int, dim: int, dtype: torch.dtype, file: Path | None, folder: Path | None) -> Tensor:
    """Allocate (count, dim) zeros: in a file, in a temporary file in a folder, or in memory."""
    if file is None and folder is None:
        return torch.zeros(count, dim, dtype=dtype)
    with file.open("wb+") if file else tempfile.TemporaryFile(dir=folder) as opened:
        return memory_mapped(opened, count * dim * dtype.itemsize).view(dtype).view(count, dim)


def memory_mapped(file: IO[bytes], size: int) -> Tensor:
    """Extend an empty file to ``size`` zero bytes, which take no space until written, and map it: (size,) uint8.

    Rows are read in random order. Without MADV_RANDOM each read of 256 bytes would load 128 KiB around it.
    """
    file.truncate(size)
    pages = mmap.mmap(file.fileno(), size)
    if hasattr(mmap, "MADV_RANDOM"):
        pages.madvise(mmap.MADV_RANDOM)
    return torch.frombuffer(pages, dtype=torch.uint8)
