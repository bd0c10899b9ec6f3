"""Unit vectors, and in which type the arithmetic runs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 8192
"""Bank rows a blockwise pass handles at once: B x 8192 logits stay in cache, never B x N."""
STEEPEST = 30.0
"""Largest 1 / tau for which logits of unit rows are exponentiated as they are: e^30 is far from any overflow."""
FARTHEST = -1.2
"""Below every similarity: rows of a bank that starts ``uniform`` are little longer than 1."""
WIDEST = 80.0
"""Exponents up to this one, e^80 = 6e34, stay within float32 and bfloat16."""
LEAST, MOST = 1e-20, 1e30
"""Between these a sum of such exponentials holds all that it is made of; rows that are far from unit lead beyond."""


def wide(x: Tensor) -> Tensor:
    """Lift half precision to float32; leave float32 and float64 alone."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def unit(x: Tensor) -> Tensor:
    """L2-normalise the rows of (B, D) in float32 or wider."""
    return functional.normalize(wide(x), dim=-1)


def product_type(bank: Tensor) -> torch.dtype:
    """Type of the matrix products with a bank: bfloat16 under its autocast, else the bank's own.

    Not float16 under its autocast: the many small weights of a softmax over a million rows vanish there.
    """
    device = bank.device.type
    cast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    return torch.bfloat16 if cast and bank.dtype == torch.float32 else bank.dtype


def exponential_type(bank: Tensor, temperature: float) -> torch.dtype:
    """Type of the products and exponentials: float64 where float32 could not hold these."""
    if (1 - FARTHEST) / temperature > WIDEST:
        return torch.float64
    kind = product_type(bank)
    return torch.float32 if kind == torch.float16 else kind


def needs_no_shift(temperature: float, kind: torch.dtype, device: torch.device) -> bool:
    """Whether a softmax over unit rows may do without its maximum, at :func:`holds` of the sums to come.

    Exponentials are then rounded as the products are. Not float16, which ends at e^11, and not on a GPU, where
    looking at the sums would wait for it.
    """
    return 1 / temperature <= STEEPEST and kind != torch.float16 and device.type == "cpu"


def holds(total: Tensor) -> bool:
    """Whether sums of exponentials without a shift neither left the range of float32 nor lost anything."""
    return bool(((total > LEAST) & (total < MOST)).all())
