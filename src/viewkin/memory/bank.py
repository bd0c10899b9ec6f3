"""A bank: one embedding for every image of the data set."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.neighbours import top_k


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
        init: Literal["normal", "uniform"] = "normal",
        dtype: torch.dtype = torch.float32,
        file: Path | None = None,
    ) -> None:
        """Start from random rows.

        Args:
            count: N, images.
            dim: D.
            momentum: weight of the old row in a write, 0 to 1.
            init: ``normal`` draws unit random vectors; ``uniform`` draws entries in +-1/sqrt(D/3), whose rows have norm
                about 1 (the NPID release).
            dtype: of the rows; bfloat16 halves memory and traffic, products are rounded to it, sums are not.
            file: keep the rows in this file instead of in memory, on the CPU: it is made anew, and a row is zero, and
                takes no room on the disk, until it is written (``init`` has no meaning).
        """
        super().__init__()
        self.momentum = momentum
        if file is not None:
            rows = mapped(file, count * dim * dtype.itemsize).view(dtype).view(count, dim)
        elif init == "uniform":
            rows = (torch.rand(count, dim) * 2 - 1) / (dim / 3) ** 0.5
        else:
            rows = losses.unit(torch.randn(count, dim))
        self.register_buffer("features", rows.to(dtype))

    def __len__(self) -> int:
        return len(self.features)

    def read(self, index: Tensor) -> Tensor:
        """Copy rows: index of any shape (...) -> (..., D)."""
        # Row by row instead of entry by entry, which is many times slower on a processor.
        return self.features.index_select(0, index.flatten()).view(*index.shape, -1)

    def everything(self) -> Tensor:
        """All rows (N, D), not a copy: read only."""
        return self.features

    def nearest(self, q: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k rows nearest to each of (B, D): similarity (B, k) falling, without gradient, and image (B, k) int64.

        Equal ones come in the order of their image, but on a GPU, which would wait for the search for them.
        """
        return top_k(q.detach(), self.features, k, ties=q.device.type == "cpu")

    def log_probability(self, q: Tensor, index: Tensor, temperature: float) -> Tensor:
        """Log-probability of the own row, (B,): :func:`viewkin.losses.instance_log_probability`."""
        return losses.instance_log_probability(q, self.features, index, temperature)

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor, temperature: float) -> Tensor:
        """``-q.k/tau + log sum_j e^(q.V_j/tau)`` per row: with the own bank row for k, the full softmax of NPID."""
        own = (q * self.read(index)).sum(1)
        return (own - (q * k).sum(1)) / temperature - self.log_probability(q, index, temperature)

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
        self.features.copy_(losses.unit(z))


def mapped(file: Path, size: int) -> Tensor:
    """Make a file of ``size`` zero bytes that take no room until written, and map it: (size,) uint8.

    Rows are read at random: without this advice each read of 256 bytes would bring 128 KiB of its neighbours along.
    """
    with file.open("wb+") as made:
        made.truncate(size)
        pages = mmap.mmap(made.fileno(), size)
    if hasattr(mmap, "MADV_RANDOM"):
        pages.madvise(mmap.MADV_RANDOM)
    return torch.frombuffer(pages, dtype=torch.uint8)
