"""What the processor can do."""

from __future__ import annotations

import math
import os

import torch


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 itself, which doubles the speed of training."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def physical_memory() -> float:
    """Bytes of memory that this machine has; infinity where nobody says."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf
