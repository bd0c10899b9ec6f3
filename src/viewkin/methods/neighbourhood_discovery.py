"""AND: instance discrimination in rounds, in which ever more images are anchors that also match their neighbour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.memory.anchors import Anchors
from viewkin.memory.bank import FeatureBank
from viewkin.methods.base import Batch, Encode, Group, MethodConfig, Step, ViewMethod, with_projection
from viewkin.schedules import Progress
from viewkin.settings import Dimension, Fraction, Momentum, Positive


@dataclass(frozen=True, kw_only=True)
class NeighbourhoodDiscoveryConfig(MethodConfig):
    """Settings of Anchor Neighbourhood Discovery, by default those for CIFAR-10; it needs ``schedule.rounds``."""

    kind: ClassVar[str] = "and"
    group: ClassVar[Group] = "inter-image"
    good_for: ClassVar[str] = "kin in rounds, the surest neighbours first"
    one_view: ClassVar[bool] = True

    dim: Dimension = 128
    """D, size of the embedding."""
    head: Literal["linear", "mlp"] = "linear"
    """``mlp`` is F -> F -> ReLU -> D."""
    temperature: Positive = 0.1
    """tau, dimensionless."""
    share: Fraction = 0.25
    """Share of the images that become anchors in the second round, twice as many in the third, and so on."""
    bank_momentum: Momentum = 0.5
    """m, weight of the old bank row."""

    def build(self, backbone: nn.Module, *, count: int) -> NeighbourhoodDiscovery:
        """Make the method for ``count`` images."""
        return NeighbourhoodDiscovery(self, backbone, count)


class NeighbourhoodDiscovery(ViewMethod):
    """``-log(P(i) + P(j))`` for anchors i with their nearest neighbour j, ``-log P(i)`` for other images.

    P is the softmax of the similarities to a memory of all images. The first round is plain instance discrimination.
    Anchors are chosen before the first epoch of each later round.

    References:
        Huang, Dong, Gong and Zhu, Unsupervised Deep Learning by Neighbourhood Discovery, 2019, equations 3-5.
    """

    bank: FeatureBank
    contrastive = True

    def __init__(self, config: NeighbourhoodDiscoveryConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.config, self.dim, self.temperature = config, config.dim, config.temperature
        self.view_spec = {"view": ViewSpec("first")}
        self.encoder = with_projection(backbone, config.head, config.dim)
        self.bank = FeatureBank(count, config.dim, momentum=config.bank_momentum)
        self.anchors = Anchors(count)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare one view with the memory."""
        q = self.query(batch.views["view"])
        log_probability = self.bank.log_probability(q, batch.index, self.temperature)
        neighbour = self.anchors.neighbour[batch.index]
        images = torch.stack([batch.index, neighbour.clamp(min=0)], 1)
        own, other = (self.bank.similarity(q, images) / self.temperature).unbind(1)
        loss = losses.neighbourhood_loss(log_probability, own, other, neighbour >= 0)
        return Step(
            terms={"and": loss.mean()},
            pairs=((q, self.bank.read(batch.index)),),
            record={"index": batch.index, "embedding": q.detach()},
            related={"and/positives": neighbour.unsqueeze(1)},
        )

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the bank."""
        self.bank.write_(record["index"], record["embedding"])

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Choose the anchors of a round before its first epoch."""
        if at.round > 0 and at.epoch == 0:
            self.anchors.choose_(self.bank, self.config.share * at.round, self.temperature)
        return ()

    def key(self, batch: Batch) -> Tensor:
        """The bank row of each image."""
        return self.bank.read(batch.index)

    def gauges(self) -> dict[str, float]:
        """Return the share of images that are anchors."""
        return self.anchors.gauges()
