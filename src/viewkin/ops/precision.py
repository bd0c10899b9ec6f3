"""Unit vectors, and the number types of computations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 8192
"""Bank rows per block: B x 8192 logits fit in the cache, instead of B x N."""
STEEPEST = 30.0
"""Largest 1 / tau for which logits of unit rows are exponentiated without a shift: e^30 is far from overflow."""
FARTHEST = -1.2
"""Lower bound of similarities: rows of a bank that starts ``uniform`` are slightly longer than 1."""
WIDEST = 80.0
"""Largest exponent for float32 and bfloat16: e^80 = 6e34."""
LEAST, MOST = 1e-20, 1e30
"""Range in which a sum of exponentials without a shift is accurate; only rows far from unit length leave it."""


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision to float32; return float32 and float64 unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def unit(x: Tensor) -> Tensor:
    """L2-normalise the rows of (B, D) in float32 or float64."""
    return functional.normalize(at_least_float32(x), dim=-1)


def product_type(bank: Tensor) -> torch.dtype:
    """Type of the matrix products with a bank: bfloat16 under bfloat16 autocast, else the bank's own type.

    float16 autocast is ignored: the many small weights of a softmax over a million rows would underflow.
    """
    device = bank.device.type
    cast = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    return torch.bfloat16 if cast and bank.dtype == torch.float32 else bank.dtype


def exponential_type(bank: Tensor, temperature: float) -> torch.dtype:
    """Type of products and exponentials: float64 if float32 could overflow, else that of the products."""
    if (1 - FARTHEST) / temperature > WIDEST:
        return torch.float64
    kind = product_type(bank)
    return torch.float32 if kind == torch.float16 else kind


def needs_no_shift(temperature: float, kind: torch.dtype, device: torch.device) -> bool:
    """Whether a softmax over unit rows can be computed without subtracting the maximum.

    The resulting sums have to be checked by :func:`sums_in_range`. Exponentials have the type of the products. This is
    not done in float16, whose largest value is e^11, nor on a GPU, where checking the sums would wait for it.
    """
    return 1 / temperature <= STEEPEST and kind != torch.float16 and device.type == "cpu"


def sums_in_range(total: Tensor) -> bool:
    """Whether sums of exponentials without a shift neither overflowed nor lost precision."""
    return bool(((total > LEAST) & (total < MOST)).all())
