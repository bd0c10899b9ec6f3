"""Every image through a method in training, in eval mode."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from viewkin.data.source import Source
from viewkin.encode.features import frozen
from viewkin.nets.norm import average_statistics_
from viewkin.runtime import distributed
from viewkin.runtime.fabric_package import Fabric


@torch.no_grad()
def encode_all(
    method: nn.Module,
    network: Callable[[Tensor], Tensor],
    source: Source,
    view: Callable[[Tensor], Tensor],
    fabric: Fabric,
    block: int = 512,
) -> Tensor:
    """Encode every image of a source once, the ranks sharing the work.

    Args:
        method: put in eval mode with BatchNorm statistics averaged over ranks, and back in its modes afterwards, also
            after an error.
        network: part of it, (B, 3, h, w) -> (B, D).
        source: N images.
        view: the test view, uint8 (B, 3, S, S) -> (B, 3, h, w).
        fabric: device and precision.
        block: images at a time.

    Returns:
        (N, D) float32, rows in index order, on every rank.
    """
    average_statistics_(method)
    share = -(-len(source) // distributed.world())
    start = min(distributed.rank() * share, len(source) - 1)  # a rank without a share encodes a row that is cut off
    kind = next(method.parameters()).dtype
    own: Tensor | None = None
    with frozen(method):
        for index, images in source.blocks(block, start, min(start + share, len(source))):
            with fabric.autocast():
                rows = network(view(images.to(fabric.device)).to(kind))
            if own is None:
                own = rows.new_zeros(share, rows.shape[1], dtype=torch.float32)
            own.narrow(0, int(index[0]) - start, len(index)).copy_(rows)
    assert own is not None
    return distributed.gather(own)[: len(source)]
