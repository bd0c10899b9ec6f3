"""A queue: the keys of the last few batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viewkin import losses


class KeyQueue(nn.Module):
    """First-in, first-out memory of K unit keys, shared by all queries as negatives.

    Keys are pushed after the loss is computed; otherwise each positive would be its own negative.

    References:
        He et al., MoCo, 2020, algorithm 1.
    """

    keys: Tensor
    """(K, D)."""
    pointer: Tensor
    """() int64: the oldest row, which the next push overwrites."""

    def __init__(self, size: int, dim: int) -> None:
        """Start from random unit vectors: ``size`` K rows of ``dim`` D."""
        super().__init__()
        self.register_buffer("keys", losses.unit(torch.randn(size, dim)))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.keys)

    def read(self) -> Tensor:
        """Return all keys (K, D), not a copy: read only."""
        return self.keys

    @torch.no_grad()
    def push_(self, k: Tensor) -> None:
        """Overwrite the oldest rows with the joined keys (B, D) of all ranks; if B > K, the last K remain."""
        place = (self.pointer + torch.arange(len(k), device=k.device)) % len(self.keys)
        # Each row is written once; with several writes the winner on a GPU would be arbitrary.
        self.keys[place[-len(self.keys) :]] = k[-len(self.keys) :].to(self.keys.dtype)
        self.pointer.copy_((self.pointer + len(k)) % len(self.keys))
