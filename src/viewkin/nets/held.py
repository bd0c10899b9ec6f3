"""Parts of a network that training leaves as they were: BatchNorm's statistics, and whole stages."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage] (timm's norms derive from it)

from viewkin.runtime.errors import UserError

MARK = "holds_statistics"
"""Attribute of a module whose BatchNorms use their running statistics in training too; copies of it have it as well."""


def hold_statistics(module: nn.Module) -> None:
    """Mark a module: its BatchNorms are to normalise by their running statistics and leave them as they are."""
    setattr(module, MARK, True)


def apply_held(module: nn.Module) -> None:
    """Put the BatchNorms of every marked part of a network into evaluation mode; call it after ``train()``."""
    for norm in held_norms(module):
        norm.eval()


def held_norms(module: nn.Module) -> set[nn.Module]:
    """Find the BatchNorms inside the marked parts of a network."""
    marked = [part for part in module.modules() if getattr(part, MARK, False)]
    return {norm for part in marked for norm in part.modules() if isinstance(norm, _BatchNorm)}


def hold_start(backbone: nn.Module, frozen: int, *, statistics: bool) -> None:
    """Mark what training leaves of the weights that it starts from: some stages, and BatchNorm's statistics.

    Raises:
        UserError: more stages than the network has.
    """
    freeze_stages(backbone, frozen)
    if statistics:
        hold_statistics(backbone)


def freeze_stages(backbone: nn.Module, count: int) -> None:
    """Keep the first stages of a network as they are: no gradient, statistics held.

    Args:
        backbone: a network with the attribute ``config``, or any other with children.
        count: number of stages; those of :func:`stages_of`.

    Raises:
        UserError: the network has no more stages than that.
    """
    stages = stages_of(backbone)
    if not 0 <= count < len(stages):
        raise UserError(
            f"init.frozen is {count}; it must be 0 to {len(stages) - 1}, the stages of this network but one."
        )
    for modules in stages[:count]:
        for module in modules:
            module.requires_grad_(False)
            hold_statistics(module)


def stages_of(backbone: nn.Module) -> list[list[nn.Module]]:
    """Divide a network into stages, from the input on; a stage is a list of modules.

    What comes before the first stage (a ResNet's ``conv1`` and ``bn1``) is one stage, and so is what comes behind the
    last. A Sequential of Sequentials (timm's ``blocks``) is opened; so is one of a transformer's blocks.
    """
    children: list[tuple[nn.Module, bool]] = []
    for _, child in backbone.named_children():
        parts = [part for part in child.children() if _trained(part)] if _holds_stages(child) else [child]
        children += [(part, _holds_stages(child) or _is_stage(part)) for part in parts if _trained(part)]
    stages: list[list[nn.Module]] = []
    open_ = False
    for part, whole in children:
        if whole or not open_:
            stages.append([part])
        else:
            stages[-1].append(part)
        open_ = not whole
    return stages


def _trained(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _is_stage(module: nn.Module) -> bool:
    """Tell a stage, which consists of blocks, from a layer."""
    return _is_block(module) and all(_is_block(part) for part in module.children())


def _holds_stages(module: nn.Module) -> bool:
    """Tell a Sequential whose members are stages, or blocks of a network that has no stages (a ViT's ``blocks``)."""
    parts: list[Any] = list(module.children())
    if not isinstance(module, (nn.Sequential, nn.ModuleList)) or not parts:
        return False
    return all(_is_stage(part) or (hasattr(part, "blocks") and _is_block(part)) for part in parts) or all(
        hasattr(part, "attn") for part in parts
    )


def _is_block(module: nn.Module) -> bool:
    return any(True for _ in module.children())
