"""Learners that only tests have: one without pairs, and one with views of three sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from viewkin import losses
from viewkin.augment.forms import Rotated
from viewkin.augment.views import ViewSpec
from viewkin.memory.bank import FeatureBank
from viewkin.methods.base import Batch, Method, MethodConfig, Step, ViewMethod, feature_dim, per_size, with_projection
from viewkin.nets.heads import Encoder
from viewkin.schedules import Progress


@dataclass(frozen=True, kw_only=True)
class TurnedConfig(MethodConfig):
    """Tell by how much an image is turned."""

    kind: ClassVar[str] = "turned"

    def build(self, backbone: nn.Module, *, count: int) -> Turned:
        return Turned(backbone)


class Turned(Method):
    """Cross-entropy over the four rotations of one view; it compares no views, so its steps have no pairs."""

    scale_free = False

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.dim = feature_dim(backbone)
        self.view_spec = {"turned": ViewSpec("weak", form=Rotated())}
        self.encoder = Encoder(backbone, nn.Sequential(nn.Linear(self.dim, 4)))

    def forward(self, batch: Batch, at: Progress) -> Step:
        turned = batch.views["turned"].transpose(0, 1)  # (4, B, C, h, w)
        features = self.backbone(turned.flatten(0, 1))
        label = torch.arange(4, device=features.device).repeat_interleave(turned.shape[1])
        loss = functional.cross_entropy(self.encoder.head(features), label)
        record = {"index": batch.index, "embedding": losses.unit(features[: turned.shape[1]]).detach()}
        return Step(terms={"turned": loss}, record=record)

    def embed(self, x: Tensor) -> Tensor:
        return losses.unit(self.backbone(x))


@dataclass(frozen=True, kw_only=True)
class CropsConfig(MethodConfig):
    """Two large crops, and smaller ones of two sizes."""

    kind: ClassVar[str] = "crops"

    def has_negatives(self) -> bool:
        return False

    def build(self, backbone: nn.Module, *, count: int) -> Crops:
        return Crops(backbone, count)


class Crops(ViewMethod):
    """Every crop is drawn to the other large one; small crops have no keys. It keeps a bank."""

    contrastive = False
    temperature = 1.0

    def __init__(self, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.dim = 32
        small = {f"small{n}": ViewSpec("first", size=12, area=(0.05, 0.25)) for n in range(4)}
        self.view_spec = {
            "one": ViewSpec("first", area=(0.25, 1.0)),
            "two": ViewSpec("second", area=(0.25, 1.0)),
            **small,
            "tiny": ViewSpec("first", size=8),
        }
        self.encoder = with_projection(backbone, "linear", self.dim)
        self.bank = FeatureBank(count, self.dim)

    def forward(self, batch: Batch, at: Progress) -> Step:
        one, two, *small = per_size(self.query, [batch.views[name] for name in self.view_spec])
        k_one, k_two = one.detach(), two.detach()
        loss = self.pair_loss(one, k_two, batch.index) + self.pair_loss(two, k_one, batch.index)
        for crop in small:
            loss = loss + self.pair_loss(crop, k_one, batch.index)
        record = {"index": batch.index, "embedding": k_one}
        return Step(terms={"crops": loss.mean()}, pairs=((one, k_two), (two, k_one)), record=record)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        self.bank.write_(record["index"], record["embedding"])

    def key(self, batch: Batch) -> Tensor:
        return self.target(batch.views["two"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        return losses.regression(q, k)


SAMPLES = {config.kind: config for config in (TurnedConfig, CropsConfig)}
__all__ = ["SAMPLES", "CropsConfig", "TurnedConfig"]
