"""What each rank has to itself: BatchNorm's running statistics, of its own share of the images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KINDS = ("running_mean", "running_var")


def statistics_of(module: nn.Module) -> Tensor:
    """Copy this rank's running statistics into one row, (n,)."""
    rows = [buffer.flatten() for buffer in _buffers(module)]
    return torch.cat(rows) if rows else torch.empty(0)


def put_statistics_(module: nn.Module, row: Tensor) -> None:
    """Put back what :func:`statistics_of` copied, bit for bit."""
    buffers = _buffers(module)
    for buffer, own in zip(buffers, row.split([buffer.numel() for buffer in buffers])):
        buffer.copy_(own.view_as(buffer))


def _buffers(module: nn.Module) -> list[Tensor]:
    return [buffer for name, buffer in module.named_buffers() if name.rpartition(".")[2] in KINDS]
