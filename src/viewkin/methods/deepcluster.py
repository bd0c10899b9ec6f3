"""DeepCluster: k-means labels all images before each epoch, and a new classifier learns these labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.memory.kmeans import kmeans
from viewkin.methods.base import Batch, Encode, Group, Method, MethodConfig, Step, feature_dim
from viewkin.nets.heads import Encoder, recorded_features
from viewkin.ops.whitening import whitened
from viewkin.runtime import distributed
from viewkin.runtime.draws import generator_for
from viewkin.schedules import Progress
from viewkin.settings import Choice, Count, Limit

PER_CLUSTER = 128
"""Images per cluster of ImageNet in 10,000."""


@dataclass(frozen=True, kw_only=True)
class DeepClusterConfig(MethodConfig):
    """Settings of DeepCluster, by default those for ImageNet."""

    kind: ClassVar[str] = "deepcluster"
    group: ClassVar[Group] = "clustering"
    good_for: ClassVar[str] = "plain classification of clusters that are found before each epoch"
    one_view: ClassVar[bool] = True

    clusters: Count | None = None
    """K; None: one for 128 images, as 10,000 on ImageNet."""
    components: Count = 256
    """Principal components of the features, whitened, that k-means sees."""

    def has_negatives(self) -> bool:
        """Tell that images are classified, not told apart."""
        return False

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit clusters to half of the images."""
        return {"clusters": Limit(max(count // 2, 2), "two images to a cluster")}

    def choices(self, count: int) -> Mapping[str, Choice]:
        """Choose the number of clusters, if it is left open."""
        if self.clusters is not None:
            return {}
        return {"clusters": Choice(max(count // PER_CLUSTER, 2), "one for 128 images")}

    def build(self, backbone: nn.Module, *, count: int) -> DeepCluster:
        """Make the method for ``count`` images."""
        return DeepCluster(self, backbone, count)


class DeepCluster(Method):
    """Cross-entropy of a view's logits with the label that k-means gave its image before the epoch.

    k-means sees the whitened principal components of all features, scaled to length 1. The release draws as many images
    from each cluster in an epoch; here every image is seen once and weighed by the inverse of its cluster's size, which
    has the same mean. The release's Sobel filter and its detached last ReLU belong to AlexNet and VGG.

    References:
        Caron, Bojanowski, Joulin and Douze, Deep Clustering for Unsupervised Learning of Visual Features, 2018.
    """

    scale_free = False
    labels: Tensor
    """(N,) int64."""
    counts: Tensor
    """(K,) int64, images of each cluster."""

    def __init__(self, config: DeepClusterConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.config, self.dim = config, feature_dim(backbone)
        clusters = config.clusters or config.choices(count)["clusters"].value
        self.view_spec = {"view": ViewSpec("first")}
        self.encoder = Encoder(backbone, nn.Sequential(nn.Linear(self.dim, clusters)))
        labels = torch.arange(count) % clusters
        self.register_buffer("labels", labels)
        self.register_buffer("counts", torch.bincount(labels, minlength=clusters))

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Classify one view."""
        with recorded_features(self.encoder) as passed:
            logits = losses.at_least_float32(self.encoder(batch.views["view"]))
        features = passed[0]
        labels = self.labels[batch.index]
        weights = losses.class_weights(self.counts, 1.0)
        weights = weights * len(self.labels) / (weights * self.counts).sum()  # 1 on average over the images
        loss = functional.cross_entropy(logits, labels, reduction="none")
        record = {"index": batch.index, "embedding": losses.unit(features).detach()}
        return Step(terms={"deepcluster": (weights[labels].to(loss) * loss).mean()}, record=record)

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Label all images anew, and start a new classifier."""
        rows = losses.unit(whitened(encode("features"), self.config.components))
        generator = generator_for(at.seed, "deepcluster", at.total_step)
        labels, _ = kmeans(rows, len(self.counts), generator)
        self.labels.copy_(labels)
        self.counts.copy_(torch.bincount(labels, minlength=len(self.counts)))
        renew_classifier(next(self.encoder.head.children()), generator)
        return ("encoder.head.0.weight", "encoder.head.0.bias")

    def param_groups(self) -> list[dict[str, Any]]:
        """The network, and the classifier, which is trained without momentum."""
        return [
            {"named": [(f"encoder.backbone.{n}", p) for n, p in self.backbone.named_parameters() if p.requires_grad]},
            {"named": [(f"encoder.head.{n}", p) for n, p in self.encoder.head.named_parameters()], "momentum": 0.0},
        ]

    def embed(self, x: Tensor) -> Tensor:
        """Return the backbone's features, unit norm."""
        return losses.unit(self.backbone(x))

    def gauges(self) -> dict[str, float]:
        """Return the sizes of the smallest and the largest cluster."""
        return {"clusters_min": float(self.counts.min()), "clusters_max": float(self.counts.max())}


@torch.no_grad()
def renew_classifier(classifier: Any, generator: torch.Generator) -> None:
    """Draw a linear layer's weights from N(0, 0.01), and set its biases to 0; all ranks have those of rank 0."""
    drawn = 0.01 * torch.randn(classifier.weight.shape, generator=generator)
    classifier.weight.copy_(distributed.agree(drawn.to(classifier.weight)))
    classifier.bias.zero_()
