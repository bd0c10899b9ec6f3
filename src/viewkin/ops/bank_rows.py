"""Similarities of queries to bank rows, with different rows for each query."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from viewkin.ops.precision import at_least_float32

GATHERED = 2**24
"""Maximum number of entries of a gathered (rows, C, D) tensor."""


class _BankSimilarity(torch.autograd.Function):
    """q_b . V_c, with different columns c for each row b; the gradient is a weighted sum of rows without a gather."""

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
        # Sums the rows one after the other: no B x M x D or B x N tensor, and no atomic add.
        summed = functional.embedding_bag(columns, bank, per_sample_weights=weights, mode="sum")
        return summed.to(upstream[0].dtype), None, None, None


def bank_similarity(q: Tensor, bank: Tensor, columns: Tensor, known: Tensor | None = None) -> Tensor:
    """Similarity of each query to its own selection of bank rows, ``s_bc = q_b . V_c``, in O(B C) memory.

    Args:
        q: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        columns: (B, C) int64 rows of the bank; negative ones read row 0 and have to be masked by the caller.
        known: (B, C) the similarities, if a search has already computed them; then only the gradient is computed.

    Returns:
        (B, C).
    """
    return _BankSimilarity.apply(at_least_float32(q), bank, columns.clamp(min=0), known)  # type: ignore[no-any-return]
