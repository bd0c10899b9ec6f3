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
from torch import Tensor, nn

from viewkin import losses
from viewkin.ops.neighbours import ordered, top_k

DRAWN = 2**18
"""Rows drawn at once, so that no bank is ever held twice."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Where and how banks are kept whose maker does not say it."""

    dtype: torch.dtype = torch.float32
    """Of the rows; bfloat16 halves memory and traffic, products are rounded to it, sums are not."""
    folder: Path | None = None
    """Keep rows in nameless files there, on the CPU, instead of in memory; they are gone when the process ends."""


_storage: ContextVar[Storage | None] = ContextVar("storage", default=None)


@contextmanager
def banks_kept(storage: Storage) -> Generator[None]:
    """Keep all banks that are made meanwhile so."""
    token = _storage.set(storage)
    try:
        yield
    finally:
        _storage.reset(token)


class FeatureBank(nn.Module):
    """Memory of N unit embeddings, one a row, in data-set order.

    Reads have no side effect; :meth:`write_` takes the joined batch of all ranks, so every rank holds the same bank.
    This is the replicated storage; methods go through :meth:`read`, :meth:`nearest`, :meth:`log_probability` and
    :meth:`everything`, so that a sharded one can take its place.

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
            count: N, images.
            dim: D.
            momentum: weight of the old row in a write, 0 to 1.
            init: ``normal`` draws unit random vectors; ``uniform`` draws entries in +-1/sqrt(D/3), whose rows have norm
                about 1 (the NPID release); ``zero`` leaves rows of a file unwritten, where they take no room.
            dtype: of the rows; None: as :func:`banks_kept` says, float32 outside of it.
            file: keep the rows in this file, made anew, instead of in memory; None: as :func:`banks_kept` says.
        """
        super().__init__()
        self.momentum = momentum
        storage = _storage.get() or Storage()
        rows = made(count, dim, dtype or storage.dtype, file, storage.folder)
        for part in rows.split(DRAWN) if init != "zero" else ():
            if init == "uniform":
                part.copy_((torch.rand(part.shape) * 2 - 1) / (dim / 3) ** 0.5)
            else:
                part.copy_(losses.unit(torch.randn(part.shape)))
        self.register_buffer("features", rows)

    def __len__(self) -> int:
        return len(self.features)

    def read(self, index: Tensor) -> Tensor:
        """Copy rows: index of any shape (...) -> (..., D) float32 or wider."""
        # Row by row instead of entry by entry, which is many times slower on a processor.
        return losses.wide(self.features.index_select(0, index.flatten()).view(*index.shape, -1))

    def everything(self) -> Tensor:
        """All rows (N, D), not a copy: read only."""
        return self.features

    def nearest(self, q: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k rows nearest to each of (B, D): similarity (B, k) falling, without gradient, and image (B, k) int64.

        In half precision, the bank's or autocast's, the search names eight times as many, compared in full afterwards.
        Equal ones come in the order of their image, but on a GPU, which would wait for the search for them.
        """
        q, kind = losses.wide(q.detach()), losses.product_type(self.features)
        if kind.itemsize >= 4:
            return top_k(q, self.features, k, ties=q.device.type == "cpu")
        _, image = top_k(q, self.features, 8 * k, dtype=kind)
        similarity, image = ordered(losses.bank_similarity(q, self.features, image), image)
        return similarity[:, :k], image[:, :k]

    def log_probability(self, q: Tensor, index: Tensor, temperature: float) -> Tensor:
        """Log-probability of the own row, (B,): :func:`viewkin.losses.instance_log_probability`."""
        return losses.instance_log_probability(q, self.features, index, temperature)

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor, temperature: float) -> Tensor:
        """Cross-entropy of k in the own row's place: ``-q.k/tau + log( e^(q.k/tau) + sum_{j != i} e^(q.V_j/tau) )``.

        Per row; with the own bank row for k, the full softmax of NPID.
        """
        return -losses.instance_log_probability(q, self.features, index, temperature, own=k)

    @torch.no_grad()
    def write_(self, index: Tensor, z: Tensor) -> None:
        """Move rows towards new embeddings: ``V_i <- l2(m V_i + (1 - m) z_i)``.

        Args:
            index: (B,) int64 without repeats (the sampler guarantees it; a repeated row's winner would be undefined).
            z: (B, D) unit norm.
        """
        mixed = self.momentum * losses.wide(self.features[index]) + (1 - self.momentum) * z
        self.features[index] = losses.unit(mixed).to(self.features.dtype)

    @torch.no_grad()
    def fill_(self, z: Tensor) -> None:
        """Overwrite all rows by embeddings (N, D), normalised here."""
        for rows, part in zip(self.features.split(losses.BLOCK), z.split(losses.BLOCK)):
            rows.copy_(losses.unit(part))


def made(count: int, dim: int, dtype: torch.dtype, file: Path | None, folder: Path | None) -> Tensor:
    """Make (count, dim) zeros: in a file, in a nameless one in a folder, or in memory."""
    if file is None and folder is None:
        return torch.zeros(count, dim, dtype=dtype)
    with file.open("wb+") if file else tempfile.TemporaryFile(dir=folder) as opened:
        return mapped(opened, count * dim * dtype.itemsize).view(dtype).view(count, dim)


def mapped(file: IO[bytes], size: int) -> Tensor:
    """Let an empty file have ``size`` zero bytes that take no room until written, and map it: (size,) uint8.

    Rows are read at random: without this advice each read of 256 bytes would bring 128 KiB of its neighbours along.
    """
    file.truncate(size)
    pages = mmap.mmap(file.fileno(), size)
    if hasattr(mmap, "MADV_RANDOM"):
        pages.madvise(mmap.MADV_RANDOM)
    return torch.frombuffer(pages, dtype=torch.uint8)
