"""Local Aggregation: an image draws the near images that share a cluster with it, out of all near images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.memory.bank import FeatureBank
from viewkin.memory.clusterings import Clusterings
from viewkin.methods.base import Batch, Encode, Group, MethodConfig, Step, ViewMethod, with_projection
from viewkin.runtime.errors import require
from viewkin.schedules import Progress
from viewkin.settings import Choice, Count, Dimension, Limit, Momentum, Positive, WholeNumber

PER_CLUSTER = 43
"""Images per cluster of ImageNet in 30,000."""


@dataclass(frozen=True, kw_only=True)
class LocalAggregationConfig(MethodConfig):
    """Settings of Local Aggregation, by default those for ImageNet."""

    kind: ClassVar[str] = "local_aggregation"
    group: ClassVar[Group] = "inter-image"
    good_for: ClassVar[str] = "kin by several clusterings of a bank"
    one_view: ClassVar[bool] = True

    dim: Dimension = 128
    """D, size of the embedding."""
    head: Literal["linear", "mlp"] = "linear"
    """``mlp`` is F -> F -> ReLU -> D."""
    temperature: Positive = 0.07
    """tau, dimensionless."""
    background: Count = 4096
    """M, nearest images, out of which the close ones are drawn."""
    clusterings: Count = 10
    """H, number of k-means clusterings before each epoch."""
    clusters: Count | None = None
    """Number of clusters of each; None: one for 43 images, as 30,000 on ImageNet."""
    warmup_epochs: WholeNumber = 10
    """Epochs of plain instance discrimination first."""
    bank_momentum: Momentum = 0.5
    """m, weight of the old bank row."""

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit the background to a part of the images, and clusters to half of them."""
        return {
            "background": Limit(count, "the images of the set", max(count // 10, 2)),
            "clusters": Limit(max(count // 2, 2), "two images to a cluster"),
        }

    def lasting(self, epochs: int, rounds: int) -> Mapping[str, Limit]:
        """Leave an epoch of aggregation."""
        if rounds > 1:
            return {}
        return {"warmup_epochs": Limit(epochs - 1, f"{epochs} epochs, one of them with clusters,", epochs // 20)}

    def choices(self, count: int) -> Mapping[str, Choice]:
        """Choose the number of clusters, if it is left open."""
        if self.clusters is not None:
            return {}
        return {"clusters": Choice(max(count // PER_CLUSTER, 2), "one for 43 images")}

    def delays(self, at: Progress) -> Mapping[str, float]:
        """The warm-up, in the first round."""
        return {"warmup_epochs": float(self.warmup_epochs)} if at.round == 0 else {}

    def build(self, backbone: nn.Module, *, count: int) -> LocalAggregation:
        """Make the method for ``count`` images.

        Raises:
            UserError: the background is larger than the set.
        """
        require(self.background <= count, "background", self.background, f"at most the images of the set, {count}")
        return LocalAggregation(self, backbone, count)


class LocalAggregation(ViewMethod):
    """``-log( sum_close e^(q.V_j/tau) / sum_background e^(q.V_j/tau) + 1e-7 )`` over a memory of all images.

    The background are the M nearest rows; close are those of them that share a cluster with the image in any of H
    clusterings. In the release the warm-up is NCE with 4,096 negatives; here it is the full softmax.

    References:
        Zhuang, Zhai, Yamins, Local Aggregation for Unsupervised Learning of Visual Embeddings, 2019, equations 2-3.
    """

    bank: FeatureBank
    contrastive = True

    def __init__(self, config: LocalAggregationConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.config, self.dim, self.temperature = config, config.dim, config.temperature
        self.view_spec = {"view": ViewSpec("first")}
        self.encoder = with_projection(backbone, config.head, config.dim)
        self.bank = FeatureBank(count, config.dim, momentum=config.bank_momentum)
        clusters = config.clusters or config.choices(count)["clusters"].value
        self.clusterings = Clusterings(count, config.clusterings, clusters)

    def begun(self, at: Progress) -> bool:
        """Tell whether the warm-up is over."""
        return at.round > 0 or at.epoch >= self.config.warmup_epochs

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Compare one view with its background, or in the warm-up with all images."""
        q = self.query(batch.views["view"])
        related: dict[str, Tensor] = {}
        if self.begun(at):
            _, images = self.bank.nearest(q, self.config.background)
            close = self.clusterings.together(batch.index, images)
            loss = losses.aggregation_loss(self.bank.similarity(q, images), close, self.temperature)
            others = close & (images != batch.index.unsqueeze(1))
            related["local_aggregation/positives"] = images.masked_fill(~others, -1)
        else:
            loss = -self.bank.log_probability(q, batch.index, self.temperature)
        record = {"index": batch.index, "embedding": q.detach()}
        pairs = ((q, self.bank.read(batch.index)),)
        return Step({"local_aggregation": loss.mean()}, pairs, record, related)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the bank."""
        self.bank.write_(record["index"], record["embedding"])

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Cluster the memory, once the warm-up is over."""
        if self.begun(at):
            self.clusterings.fit_(self.bank, at)
        return ()

    def key(self, batch: Batch) -> Tensor:
        """The bank row of each image."""
        return self.bank.read(batch.index)
