"""Settings of pseudo-labels: how many clusters, of what, and when they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from viewkin.runtime.errors import require
from viewkin.settings import Choice, Count, ImageSide, Limit, Range, Settings

PER_CLUSTER = 128
"""Default number of images per cluster: ImageNet's 1,281,167 in 10,000."""
LabelRule = Literal["dot", "euclidean"]
"""An image gets the label of the centroid with the largest dot product, or of the nearest centroid."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig(Settings):
    """Clusters of all images, whose numbers are pseudo-labels."""

    number: Annotated[int, Range(least=2)] | None = None
    """K_c, number of clusters; None: one per 128 images."""
    min_size: Count = 20
    """Clusters with fewer images are dissolved."""
    labels: Literal["online", "offline"] = "online"
    """``online``: label the batch after every step; ``offline``: label all images by k-means every
    ``recluster_epochs``."""
    rule: LabelRule = "dot"
    """``dot``: the centroid with the largest dot product (released code); ``euclidean``: the nearest (the paper)."""
    refresh_steps: Count = 10
    """All centroids are recomputed every so many optimiser steps (``online``)."""
    recluster_epochs: Count = 1
    """k-means runs every so many epochs (``offline``)."""
    of: Literal["key", "query", "features", "start"] = "key"
    """What k-means sees of all images: the embedding by one side of the base, or the backbone's ``features``, which
    mean something from the first step on where training starts from weights. At the start of a run the two sides differ
    only for BYOL, whose query is a prediction. Before later epochs (``offline``) they differ if the key network is an
    EMA copy. ``start``: the features when the run begins, less their mean; the labels then stay (``offline``)."""
    start_size: ImageSide | None = None
    """Side of the images whose features are clustered (``of=start``), pixels; None: ``augment.image_size``. In enlarged
    images of small side the start finds better kin, for one pass over them."""

    def _check(self) -> None:
        kept = self.of == "start"
        require(not kept or self.labels == "offline", "labels", self.labels, "offline where {here}of is start")
        require(self.start_size is None or kept, "start_size", self.start_size, "none unless {here}of is start")

    @property
    def renewed(self) -> bool:
        """Whether all images are clustered anew between epochs."""
        return self.labels == "offline" and self.of != "start"

    def limits(self, count: int) -> Mapping[str, Limit]:
        """Limit size and number of clusters by the number of images."""
        least, most = self.least_size(count), self.most(count)
        return {
            "min_size": Limit(least, f"{count} images, in two clusters at least,"),
            "number": Limit(most, f"{count} images, {5 * least / 2:g} to a cluster of at least {least},"),
        }

    def lasting(self, epochs: int) -> Mapping[str, Limit]:
        """Leave room for one new clustering of offline labels."""
        if not self.renewed:
            return {}
        return {"recluster_epochs": Limit(max(epochs - 1, 1), f"{epochs} epochs, with one clustering between them,")}

    def choices(self, count: int) -> Mapping[str, Choice]:
        """Choose the number of clusters, if it is left open."""
        if self.number is not None:
            return {}
        return {"number": Choice(max(count // PER_CLUSTER, 2), f"one for {PER_CLUSTER} images")}

    def least_size(self, count: int) -> int:
        """Return ``min_size``, or less for few images."""
        return min(self.min_size, max(count // 5, 1))

    def most(self, count: int) -> int:
        """Return the largest number of clusters for ``count`` images."""
        return max(2 * count // (5 * self.least_size(count)), 2)

    def large(self, count: int) -> int:
        """Return twice the mean size of a cluster: the size of a large one."""
        return 2 * count // min(self.number or count // PER_CLUSTER or 1, self.most(count))
