"""EMA (exponential moving average) copies of a network."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def make_target(module: AnyModule) -> AnyModule:
    """Copy a network for the key side: equal weights, no gradient.

    The copy keeps the mode of ``module``. In training mode its own forward passes update its BatchNorm statistics.
    """
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def ema_update_(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Update the target's parameters: ``theta_k <- m theta_k + (1-m) theta_q``; buffers are not changed.

    Args:
        target: network from :func:`make_target`, theta_k.
        online: network in training, theta_q.
        momentum: m, weight of the old value, dimensionless, 0 to 1.

    References:
        He et al., MoCo, 2020, equation 2. Grill et al., BYOL, 2020, section 3.1.
    """
    old = [p.detach() for p in target.parameters()]
    new = [p.detach() for p in online.parameters()]
    if len(old) != len(new):
        raise ValueError(f"the target has {len(old)} parameters and the online network {len(new)}")
    if old:
        torch._foreach_lerp_(old, new, 1 - momentum)  # pyright: ignore[reportPrivateUsage]
