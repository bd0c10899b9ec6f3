"""NNCLR: a view finds the nearest neighbour of the other view, taken from a queue of earlier images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.memory.queue import KeyQueue
from viewkin.methods.base import Batch, Group, MethodConfig, Step, ViewMethod, feature_dim, queue_limit
from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.nets.norm import check_norm, convert_norm
from viewkin.runtime import distributed
from viewkin.schedules import Progress
from viewkin.settings import Count, Dimension, Limit, Positive


@dataclass(frozen=True, kw_only=True)
class NNCLRConfig(MethodConfig):
    """Settings of NNCLR."""

    kind: ClassVar[str] = "nnclr"
    group: ClassVar[Group] = "inter-image"
    good_for: ClassVar[str] = "positives beyond the own image, and weaker augmentation than SimCLR needs"

    dim: Dimension = 256
    """D, size of projection and prediction."""
    hidden: Count = 2048
    """Width of the projector's hidden layers."""
    predictor_hidden: Count = 4096
    """Width of the predictor's hidden layer."""
    queue_size: Count = 98304
    """K, projections of earlier images among which the neighbour is sought."""
    temperature: Positive = 0.1
    """tau, dimensionless."""
    norm: str = "batch"
    """BatchNorm of all networks: ``batch``, or ``gathered`` over ranks."""

    def _check(self) -> None:
        check_norm(self.norm, none=False)

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit the queue to one projection per image."""
        return {"queue_size": queue_limit(count, batch_size)}

    def build(self, backbone: nn.Module, *, count: int) -> NNCLR:
        """Make the method; the queue does not depend on ``count``."""
        return NNCLR(self, backbone)


class NNCLR(ViewMethod):
    """``-log softmax_j( NN(z1_i).p2_j / tau )[i]`` over the predictions of the global batch, both directions averaged.

    The neighbours are looked up in the queue before this step's projections enter it; otherwise each projection would
    be its own neighbour. Only the first view's projections enter.

    References:
        Dwibedi et al., With a Little Help from My Friends, 2021, equations 3-5.
    """

    contrastive = True

    def __init__(self, config: NNCLRConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.dim, self.temperature = config.dim, config.temperature
        self.view_spec = {"first": ViewSpec("first"), "second": ViewSpec("second")}
        head = HeadConfig(layers=(config.hidden, config.hidden, config.dim), norm=True, last_norm="affine")
        self.encoder = convert_norm(Encoder(backbone, build_head(head, feature_dim(backbone))), config.norm)
        predictor = HeadConfig(layers=(config.predictor_hidden, config.dim), norm=True)
        self.predictor = convert_norm(build_head(predictor, config.dim), config.norm)
        self.queue = KeyQueue(config.queue_size, config.dim)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare each view's prediction with the neighbour of the other view."""
        raw = [self.encoder(batch.views[name]) for name in ("first", "second")]
        neighbours = [self.neighbour(losses.unit(z)) for z in raw]
        p_first, p_second = (losses.unit(self.predictor(z)) for z in raw)
        pairs = ((p_first, neighbours[1]), (p_second, neighbours[0]))
        loss = torch.stack([self.pair_loss(q, k, batch.index) for q, k in pairs]).mean()
        record = {"index": batch.index, "embedding": losses.unit(raw[0]).detach()}
        return Step(terms={"nnclr": loss}, pairs=pairs, record=record)

    @torch.no_grad()
    def neighbour(self, z: Tensor) -> Tensor:
        """Row of the queue nearest to each projection: (B, D) unit norm -> (B, D)."""
        _, row = self.queue.nearest(z, 1)
        return self.queue.read(row[:, 0])

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Push the first view's projections."""
        self.queue.push_(record["embedding"])

    def query(self, x: Tensor) -> Tensor:
        """Unit prediction, with gradient."""
        return losses.unit(self.predictor(self.encoder(x)))

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        """Unit projection."""
        return losses.unit(self.encoder(x))

    def key(self, batch: Batch) -> Tensor:
        """Projection of the second view."""
        return self.target(batch.views["second"])

    def pair_loss(self, q: Tensor, k: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy of each positive over the queries of the global batch, per row."""
        everyone = distributed.gather_with_grad(q)
        own = distributed.rank() * len(q) + torch.arange(len(q), device=q.device)
        logits = losses.at_least_float32(k @ everyone.T) / self.temperature
        return nn.functional.cross_entropy(logits, own, reduction="none")
