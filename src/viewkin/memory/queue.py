"""A queue: the keys of the last few batches."""

from __future__ import annotations

import torch
from torch import Tensor

from viewkin import losses
from viewkin.memory.storage import Replicated


class KeyQueue(Replicated):
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

    def everything(self) -> Tensor:
        """Return all keys (K, D), not a copy: read only."""
        return self.keys

    def info_nce(self, q: Tensor, k: Tensor, temperature: float, margin: float = 0.0) -> Tensor:
        """InfoNCE of queries against their keys, both (B, D), and all keys of the queue: (B,)."""
        return losses.info_nce(q, k, self.keys, temperature, margin)

    @torch.no_grad()
    def products(self, vectors: Tensor) -> Tensor:
        """Products of all keys with some vectors (V, D): (K, V), without gradient."""
        return losses.at_least_float32(self.keys @ vectors.T)

    @torch.no_grad()
    def push_(self, k: Tensor) -> None:
        """Overwrite the oldest rows with the joined keys (B, D) of all ranks; if B > K, the last K remain."""
        place = (self.pointer + torch.arange(len(k), device=k.device)) % len(self.keys)
        # Each row is written once; with several writes the winner on a GPU would be arbitrary.
        self.keys[place[-len(self.keys) :]] = k[-len(self.keys) :].to(self.keys.dtype)
        self.pointer.copy_((self.pointer + len(k)) % len(self.keys))
