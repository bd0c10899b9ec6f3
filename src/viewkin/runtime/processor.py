"""What the processor can do."""

from __future__ import annotations

import torch


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 itself, which doubles the speed of training."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
