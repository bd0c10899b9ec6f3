"""ODC: a memory holds features and labels of all images, both change at every step, and a classifier learns them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from viewkin import losses
from viewkin.augment.views import ViewSpec
from viewkin.memory.bank import FeatureBank
from viewkin.memory.cluster_config import ClusterConfig
from viewkin.memory.clusters import Clusters
from viewkin.methods.base import Batch, Encode, Group, Method, MethodConfig, Step, feature_dim
from viewkin.nets.heads import Encoder
from viewkin.runtime import distributed
from viewkin.runtime.errors import require
from viewkin.schedules import Progress
from viewkin.settings import Choice, Count, Dimension, Limit, Momentum, below, with_values


@dataclass(frozen=True, kw_only=True)
class ODCConfig(MethodConfig):
    """Settings of Online Deep Clustering, by default those for ImageNet."""

    kind: ClassVar[str] = "odc"
    group: ClassVar[Group] = "clustering"
    good_for: ClassVar[str] = "clusters that change during the epoch, without a pause"
    one_view: ClassVar[bool] = True

    dim: Dimension = 256
    """D, size of the features that are kept and classified."""
    hidden: Count = 512
    """Width of the head's hidden layer."""
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    """Pseudo-labels, which change online."""
    bank_momentum: Momentum = 0.5
    """Weight of the old feature in the memory."""

    def _check(self) -> None:
        labels, of = self.clusters.labels, self.clusters.of
        require(labels == "online", "clusters.labels", labels, "online: a label changes whenever its image is seen")
        require(of in ("key", "query"), "clusters.of", of, "key: the features that the memory holds are clustered")

    def has_negatives(self) -> bool:
        """Tell that images are classified, not told apart."""
        return False

    def limits(self, count: int, batch_size: int) -> Mapping[str, Limit]:
        """Limit clusters by the number of images."""
        return below("clusters", self.clusters.limits(count))

    def choices(self, count: int) -> Mapping[str, Choice]:
        """Choose the number of clusters, if it is left open."""
        return below("clusters", self.clusters.choices(count))

    def build(self, backbone: nn.Module, *, count: int) -> ODC:
        """Make the method for ``count`` images.

        Raises:
            UserError: there are more clusters than images.
        """
        return ODC(
            with_values(self, {name: value for name, (value, _) in self.choices(count).items()}), backbone, count
        )


class ODC(Method):
    """``sum w_y nll / sum w_y`` over a batch, of the labels in memory, ``w_c`` by the root of a cluster's size.

    After each step the memory takes the features, and labels, centroids and small clusters change. The release drops
    half of the head's hidden units and draws images with replacement; neither is done here. With accumulation the sum
    of weights is that of a micro-batch.

    References:
        Zhan, Xie, Liu, Ong and Loy, Online Deep Clustering for Unsupervised Representation Learning, 2020.
    """

    bank: FeatureBank
    scale_free = False

    def __init__(self, config: ODCConfig, backbone: nn.Module, count: int) -> None:
        super().__init__()
        self.dim = config.dim
        self.view_spec = {"view": ViewSpec("first")}
        neck = nn.Sequential(
            nn.Linear(feature_dim(backbone), config.hidden),
            nn.BatchNorm1d(config.hidden, affine=False),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.dim),
            nn.ReLU(),
        )
        self.encoder = Encoder(backbone, neck)
        self.bank = FeatureBank(count, config.dim, momentum=config.bank_momentum)
        self.clusters = Clusters.of(config.clusters, self.bank)
        self.classifier = nn.Linear(config.dim, len(self.clusters))
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, batch: Batch, at: Progress) -> Step:
        """Classify one view by the labels in memory."""
        features = self.encoder(batch.views["view"])
        labels = self.clusters.labels[batch.index]
        logits = losses.at_least_float32(self.classifier(features))
        weights = losses.class_weights(self.clusters.counts, 0.5)[labels].to(logits)
        total = distributed.mean(weights.sum())
        loss = (weights * functional.cross_entropy(logits, labels, reduction="none")).sum() / total
        record = {"index": batch.index, "embedding": losses.unit(features).detach()}
        return Step(terms={"odc": loss}, record=record)

    def update(self, record: Mapping[str, Tensor], at: Progress) -> None:
        """Write the memory, then labels and centroids."""
        index = record["index"]
        before = self.bank.read(index)
        self.bank.write_(index, record["embedding"])
        self.clusters.update_(index, before, self.bank, at)

    def start(self, encode: Encode, at: Progress) -> None:
        """Fill the memory and cluster it."""
        self.bank.fill_(encode("embedding"))
        self.clusters.fit_(self.bank, at)

    def epoch(self, encode: Encode, at: Progress) -> Iterable[str]:
        """Begin to count how many labels change."""
        self.clusters.begin_epoch_()
        self.clusters.dissolve_small_(self.bank, at)
        return ()

    def embed(self, x: Tensor) -> Tensor:
        """Return the features that are kept, unit norm."""
        return losses.unit(self.encoder(x))

    def gauges(self) -> dict[str, float]:
        """Return the sizes of clusters and how many labels changed."""
        return {f"odc/{name}": value for name, value in self.clusters.gauges().items()}

    def param_groups(self) -> list[dict[str, Any]]:
        """The network, and the classifier, which is trained without momentum."""
        named = [(n, p) for n, p in self.named_parameters() if p.requires_grad]
        return [
            {"named": [(n, p) for n, p in named if not n.startswith("classifier.")]},
            {"named": [(n, p) for n, p in named if n.startswith("classifier.")], "momentum": 0.0},
        ]
