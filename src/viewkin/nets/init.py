"""Initialisation of weights."""

from __future__ import annotations

from typing import Literal

from torch import nn

Init = Literal["default", "kaiming"]
"""``default``: PyTorch's own; ``kaiming``: see :func:`initialise_`."""


def initialise_(module: nn.Module, init: Init) -> None:
    """Initialise the weights from torch's global generator.

    ``kaiming``: convolutions Kaiming normal by fan-out, linear layers Xavier uniform with zero bias, norms 1 and 0
    (torchvision's ResNet, and InvP). ``default`` leaves the weights of the constructors.
    """
    if init == "default":
        return
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)) and layer.affine:
            nn.init.ones_(layer.weight)
        else:
            continue
        if isinstance(layer.bias, nn.Parameter):
            nn.init.zeros_(layer.bias)
