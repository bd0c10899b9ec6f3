"""Heads: from backbone features to the embedding, before its normalisation to unit length."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from viewkin.nets.init import Init, initialise_
from viewkin.settings import Count, Filled, Settings

LastNorm = Literal["none", "affine", "plain"]
"""BatchNorm after the last layer: none, with scale and shift, or without them."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig(Settings):
    """A linear head, or an MLP with ReLU between its layers.

    A single width gives a linear head. The heads of the papers:

    * NPID, MoCo v1: ``layers=(128,)``. MoCo v2, InvP, NPIDv2: ``layers=(2048, 128)``; InvP on CIFAR ``(512, 128)``.
    * BYOL projector and predictor: ``layers=(4096, 256), norm=True``.
    * SimSiam projector: ``layers=(2048, 2048, 2048), norm=True, bias=False, last_bias=False, last_norm="plain"``;
      its predictor: ``layers=(512, 2048), norm=True, bias=False``.
    * Barlow Twins: ``layers=(8192, 8192, 8192), norm=True, bias=False, last_bias=False``, and its loss normalises.
    * NNCLR projector: ``layers=(2048, 2048, 256), norm=True, last_norm="affine"``.
    """

    layers: Annotated[tuple[Count, ...], Filled()] = (128,)
    """Width of every layer; the last is the embedding's, D."""
    norm: bool = False
    """Whether there is a BatchNorm between a hidden layer and its ReLU."""
    last_norm: LastNorm = "none"
    """BatchNorm after the last layer: ``none``, ``affine``, or ``plain`` (no scale, no shift)."""
    bias: bool = True
    """Whether hidden layers have biases; they have no effect before a BatchNorm."""
    last_bias: bool = True
    """Whether the last layer has biases."""
    init: Init = "default"
    """PyTorch's own initialisation, or ``kaiming``: Xavier uniform, zero biases."""


def build_head(config: HeadConfig, in_dim: int) -> nn.Sequential:
    """Build the head (B, in_dim) -> (B, D), D the last of ``config.layers``."""
    modules: list[nn.Module] = []
    for width in config.layers[:-1]:
        modules.append(nn.Linear(in_dim, width, bias=config.bias))
        if config.norm:
            modules.append(nn.BatchNorm1d(width))
        modules.append(nn.ReLU(inplace=True))
        in_dim = width
    modules.append(nn.Linear(in_dim, config.layers[-1], bias=config.last_bias))
    if config.last_norm != "none":
        modules.append(nn.BatchNorm1d(config.layers[-1], affine=config.last_norm == "affine"))
    head = nn.Sequential(*modules)
    initialise_(head, config.init)
    return head


class Encoder(nn.Module):
    """A backbone and a head: (B, C, H, W) -> (B, D), not normalised."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.features = nn.Identity()
        """The backbone's features pass through this layer, so that :func:`recorded_features` can record them."""
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Embed images: ``head(backbone(x))``."""
        return self.head(self.features(self.backbone(x)))


@contextmanager
def recorded_features(encoder: Encoder) -> Generator[list[Tensor]]:
    """Record the features (B, F) of each forward pass of an encoder inside the block, with gradient, in order."""
    features: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        features.append(output)

    hook = encoder.features.register_forward_hook(keep)
    try:
        yield features
    finally:
        hook.remove()
