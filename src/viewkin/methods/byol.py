"""BYOL: predict one view's projection, by a slowly moving network, from the other; no negatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, Group, MethodConfig, Step, ViewMethod, feature_dim
from viewkin.nets.ema import ema_update_, make_target
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.schedules import Progress, momentum_cosine
from viewkin.settings import Count, Dimension, Momentum


@dataclass(frozen=True, kw_only=True)
class BYOLConfig(MethodConfig):
    """Settings of BYOL."""

    kind: ClassVar[str] = "byol"
    group: ClassVar[Group] = "distillation"
    good_for: ClassVar[str] = "batches of 256 and more, with a second, slow network"

    dim: Dimension = 256
    """D, size of projection and prediction."""
    hidden: Count = 4096
    """Width of the hidden layers of projector and predictor."""
    momentum: Momentum = 0.996
    """Weight of the old target network at the start; it rises to 1 along a cosine."""
    norm: str = "batch"
    """BatchNorm of all networks: ``batch``, or ``gathered`` over ranks."""
    bank_view: Literal["first", "second"] = "first"
    """View whose target projection a term around this method stores in its bank."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def passes(self, side: int) -> tuple[float, float]:
        """Both views, through both networks."""
        return 2.0, 2.0

    def has_negatives(self) -> bool:
        """BYOL has none."""
        return False

    def build(self, backbone: nn.Module, *, count: int) -> BYOL:
        """Make the method; it keeps no memory of the images."""
        return BYOL(self, backbone)


class BYOL(ViewMethod):
    """``2 - 2 cos(prediction of one view, target projection of the other)``, summed over both directions.

    References:
        Grill et al., Bootstrap Your Own Latent, 2020, equations 1-3.
    """

    contrastive = False
    temperature = 1.0

    def __init__(self, config: BYOLConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.dim = config.dim
        self.config = config
        self.view_spec = {"first": ViewSpec("first"), "second": ViewSpec("second")}
        head = HeadConfig(layers=(config.hidden, config.dim), norm=True)
        self.encoder = convert_norm(Encoder(backbone, build_head(head, feature_dim(backbone))), config.norm)
        self.predictor = convert_norm(build_head(head, config.dim), config.norm)
        self.target_encoder = make_target(self.encoder)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Predict each view's target projection from the other view."""
        first, second = batch.views["first"], batch.views["second"]
        pairs = ((self.query(first), self.target(second)), (self.query(second), self.target(first)))
        loss = torch.stack([self.pair_loss(q, k, batch.index) for q, k in pairs]).sum(0)
        kept = pairs[1][1] if self.config.bank_view == "first" else pairs[0][1]
        record = {"index": batch.index, "embedding": kept}
        return Step(terms={"byol": loss.mean()}, pairs=pairs, record=record)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Update the target network."""
        ema_update_(self.target_encoder, self.encoder, momentum_cosine(self.config.momentum, at.fraction))

    def query(self, x: Tensor) -> Tensor:
        """Unit prediction of the online network, with gradient."""
        return losses.unit(self.predictor(self.encoder(x)))

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """Unit projection of the target network."""
        return losses.unit(self.target_encoder(x))

    def key(self, batch: Batch) -> Tensor:
        """Target projection of the second view."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """``2 - 2 cos(q, k)`` per row."""
        return losses.regression(q, k)
