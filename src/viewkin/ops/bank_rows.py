"""Similarities of queries to bank rows that each query chose for itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from viewkin.ops.precision import wide

GATHERED = 2**24
"""Entries of (rows, C, D) that one step of a gather may hold."""


class _BankSimilarity(torch.autograd.Function):
    """q_b . V_c for columns c of its own in each row b; the gradient is a weighted sum of rows, never gathered."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, bank: Tensor, columns: Tensor, known: Tensor | None) -> Tensor:
        ctx.save_for_backward(bank, columns)
        if known is not None:
            return known.clone()
        rows = max(GATHERED // max(columns.shape[1] * bank.shape[1], 1), 1)
        with torch.autocast(q.device.type, enabled=False):
            parts = zip(q.split(rows), columns.split(rows))
            return torch.cat([torch.einsum("bd,bcd->bc", v, bank[c].to(q.dtype)) for v, c in parts])

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *upstream: Any
    ) -> tuple[Tensor, None, None, None]:
        bank, columns = ctx.saved_tensors
        weights = upstream[0].to(bank.dtype)
        # Sums the rows one after the other: neither B x M x D nor B x N, and no atomic add.
        summed = functional.embedding_bag(columns, bank, per_sample_weights=weights, mode="sum")
        return summed.to(upstream[0].dtype), None, None, None


def bank_similarity(q: Tensor, bank: Tensor, columns: Tensor, known: Tensor | None = None) -> Tensor:
    """Similarity of each query to bank rows of its own, ``s_bc = q_b . V_c``, in O(B C) memory beside the bank.

    Args:
        q: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        columns: (B, C) int64 rows of the bank; below 0 reads row 0, for the caller to mask.
        known: (B, C) the similarities, where a search has found them already; only the gradient is computed then.

    Returns:
        (B, C).
    """
    return _BankSimilarity.apply(wide(q), bank, columns.clamp(min=0), known)  # type: ignore[no-any-return]
