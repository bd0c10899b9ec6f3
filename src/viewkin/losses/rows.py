"""Similarities of queries to bank rows that each query chose for itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class _ChosenSimilarity(torch.autograd.Function):
    """Similarities that are known already, with the gradient of ``q_b . V_j``: ``sum_k g_bk V_(j_bk)``."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, bank: Tensor, index: Tensor, similarity: Tensor) -> Tensor:
        ctx.save_for_backward(bank, index)
        ctx.dtype = q.dtype
        return similarity.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Any) -> tuple[Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        bank, index = ctx.saved_tensors
        # A bag of weighted rows: the (B, K, D) floats are never in memory.
        weight = upstream[0].to(bank.dtype)
        gradient = functional.embedding_bag(index.clamp_min(0), bank, per_sample_weights=weight, mode="sum")
        return gradient.to(ctx.dtype), None, None, None


def chosen_similarity(q: Tensor, bank: Tensor, index: Tensor, similarity: Tensor) -> Tensor:
    """Give similarities ``q_b . V_j`` that were found without gradient the gradient with respect to the queries.

    Args:
        q: (B, D) unit norm, with gradient.
        bank: (N, D) constant.
        index: (B, K) int64, the rows j of each query; -1 for none.
        similarity: (B, K) constant; -inf where ``index`` is -1, which a softmax gives no weight.

    Returns:
        (B, K).
    """
    return _ChosenSimilarity.apply(q, bank, index, similarity)  # type: ignore[no-any-return]
