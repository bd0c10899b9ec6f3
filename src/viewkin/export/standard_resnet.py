"""The ResNets of torchvision, which timm and Detectron2 share: which networks of ours are one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from viewkin.export.target import ANY_NETWORK
from viewkin.nets.pretrained_names import TIMM
from viewkin.nets.resnet import RESNETS, ResNet
from viewkin.runtime.errors import UserError

WIDTH = 64
"""Channels of the first stage of a standard ResNet."""


def standard_name(backbone: nn.Module, target: str, narrow: Sequence[str] = ()) -> str:
    """Give the name of the standard ResNet that a network is: ``resnet18``, ``resnet34`` or ``resnet50``.

    Args:
        backbone: the network.
        target: name of the target, for the error.
        narrow: ResNets that the target takes in any width.

    Raises:
        UserError: it is none; what differs is named, and the targets that take it.
    """
    config: Any = getattr(backbone, "config", None)
    name = getattr(config, "name", type(backbone).__name__)
    known = name.removeprefix(TIMM).partition(".")[0]
    if known not in RESNETS or (not isinstance(backbone, ResNet) and not name.startswith(TIMM)):
        raise refused(name, "another architecture", target)
    if isinstance(backbone, ResNet):
        if isinstance(backbone.maxpool, nn.Identity):
            raise refused(name, "the small stem (backbone.stem=small)", target)
        if backbone.conv1.out_channels != WIDTH and known not in narrow:
            raise refused(name, f"backbone.width={backbone.conv1.out_channels}", target)
        if backbone.pool != "global":
            raise refused(name, f"backbone.pool={backbone.pool}", target)
        if config is not None and config.norm == "none":
            raise refused(name, "no BatchNorm (backbone.norm=none)", target)
    return known


def refused(name: str, what: str, target: str) -> UserError:
    """Make the error that a target has no place for a network."""
    others = (*ANY_NETWORK, "timm", "hf") if name.startswith(TIMM) else ANY_NETWORK
    return UserError(
        f"--to {target} takes ResNet-18, -34 and -50 with the ImageNet stem and width {WIDTH}, and {name} has {what}; "
        f"take --to {', '.join(others[:-1])} or {others[-1]} for it."
    )


def standard_weights(backbone: nn.Module) -> Mapping[str, Tensor]:
    """Give a standard ResNet's weights, on the CPU, under torchvision's names, which ours are."""
    return {name: value.detach().cpu().contiguous() for name, value in backbone.state_dict().items()}
