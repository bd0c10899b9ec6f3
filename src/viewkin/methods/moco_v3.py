"""MoCo v3: each view's prediction finds its key, by a slow copy of the network, among the keys of the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.methods.base import Batch, MethodConfig, Step, ViewMethod, feature_dim
from viewkin.nets.ema import ema_update_, make_target
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.schedules import Progress, momentum_cosine
from viewkin.settings import Count, Dimension, Momentum, Positive


@dataclass(frozen=True, kw_only=True)
class MoCoV3Config(MethodConfig):
    """Settings of MoCo v3; the defaults are those for ResNet-50."""

    kind: ClassVar[str] = "moco_v3"
    good_for: ClassVar[str] = "large batches, ResNets and vision transformers; strong at every size of set"

    dim: Dimension = 256
    """D, size of projection and prediction."""
    hidden: Count = 4096
    """Width of the hidden layers of projector and predictor."""
    projector_layers: Count = 2
    """Layers of the projector: 2 for ResNets, 3 for vision transformers."""
    predictor_last_norm: bool = False
    """Whether a BatchNorm follows the predictor's last layer (vision transformers)."""
    momentum: Momentum = 0.99
    """Weight of the old key network at the start; it rises to 1 along a cosine."""
    temperature: Positive = 1.0
    """tau, dimensionless: 1 for ResNets, 0.2 for vision transformers."""
    norm: str = "batch"
    """BatchNorm of all networks: ``batch``, or ``gathered`` over ranks (the release)."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def passes(self, side: int) -> tuple[float, float]:
        """Both views, through both networks."""
        return 2.0, 2.0

    def build(self, backbone: nn.Module, *, count: int) -> MoCoV3:
        """Make the method; it keeps no memory of the images."""
        return MoCoV3(self, backbone)


class MoCoV3(ViewMethod):
    """``2 tau (ctr(q1, k2) + ctr(q2, k1))``, ctr being InfoNCE over the keys of the global batch.

    References:
        Chen, Xie and He, An Empirical Study of Training Self-Supervised Vision Transformers, 2021, equation 1,
        algorithm 1.
    """

    contrastive = True

    def __init__(self, config: MoCoV3Config, backbone: nn.Module) -> None:
        super().__init__()
        self.config, self.dim, self.temperature = config, config.dim, config.temperature
        self.view_spec = {"first": ViewSpec("first"), "second": ViewSpec("second")}
        hidden = (config.hidden,) * (config.projector_layers - 1)
        head = HeadConfig(layers=(*hidden, config.dim), norm=True, bias=False, last_bias=False, last_norm="plain")
        self.encoder = convert_norm(Encoder(backbone, build_head(head, feature_dim(backbone))), config.norm)
        last = "plain" if config.predictor_last_norm else "none"
        predictor = HeadConfig(
            layers=(config.hidden, config.dim), norm=True, bias=False, last_bias=False, last_norm=last
        )
        self.predictor = convert_norm(build_head(predictor, config.dim), config.norm)
        self.key_encoder = make_target(self.encoder)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare each view's prediction with the keys of the other views of the global batch."""
        first, second = batch.views["first"], batch.views["second"]
        pairs = ((self.query(first), self.target(second)), (self.query(second), self.target(first)))
        loss = torch.stack([self.pair_loss(q, k, batch.index) for q, k in pairs]).sum(0)
        record = {"index": batch.index, "embedding": pairs[1][1]}
        return Step(terms={"moco_v3": loss.mean()}, pairs=pairs, record=record)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Update the key network."""
        ema_update_(self.key_encoder, self.encoder, momentum_cosine(self.config.momentum, at.fraction))

    def query(self, x: Tensor) -> Tensor:
        """Unit prediction, with gradient."""
        return losses.unit(self.predictor(self.encoder(x)))

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """Unit projection of the key network."""
        return losses.unit(self.key_encoder(x))

    def key(self, batch: Batch) -> Tensor:
        """Key of the second view."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """``2 tau`` times the cross-entropy of each query over the keys of the global batch, per row."""
        keys = distributed.gather(k.detach())
        own = distributed.rank() * len(q) + torch.arange(len(q), device=q.device)
        logits = losses.at_least_float32(q @ keys.T) / self.temperature
        return 2 * self.temperature * nn.functional.cross_entropy(logits, own, reduction="none")
