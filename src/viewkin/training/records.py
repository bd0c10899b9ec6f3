"""Records of micro-batches and ranks, joined to that of the global batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from viewkin.methods.base import Step
from viewkin.runtime import distributed


def joined(steps: Sequence[Step]) -> dict[str, Tensor]:
    """Join the records of all micro-batches and ranks, rows in global batch order."""
    return {name: distributed.gather(torch.cat([s.record[name] for s in steps])) for name in steps[0].record}
