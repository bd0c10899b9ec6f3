"""Several clusterings of the same images: which images share a cluster in any of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.memory.kmeans import kmeans
from viewkin.memory.storage import Rows, rows_of
from viewkin.runtime.draws import generator_for
from viewkin.schedules import Progress


class Clusterings(nn.Module):
    """Labels of N images in H clusterings; every image is alone until :meth:`fit_`.

    References:
        Zhuang, Zhai, Yamins, Local Aggregation, 2019, section 3.1.
    """

    labels: Tensor
    """(H, N) int64."""

    def __init__(self, count: int, clusterings: int, clusters: int) -> None:
        """Start with ``count`` N images, ``clusterings`` H of ``clusters`` C each."""
        super().__init__()
        self.clusters = clusters
        self.register_buffer("labels", torch.arange(count).repeat(clusterings, 1))

    @torch.no_grad()
    def fit_(self, features: Rows, at: Progress) -> None:
        """Cluster all images by k-means, each time from other centroids.

        Args:
            features: a memory of all images, or its rows (N, D).
            at: progress; seed and step give the initial centroids.
        """
        rows = losses.at_least_float32(rows_of(features))
        for turn in range(len(self.labels)):
            generator = generator_for(at.seed, "clusterings", at.total_step, turn)
            self.labels[turn] = kmeans(rows, self.clusters, generator)[0]

    def together(self, index: Tensor, images: Tensor) -> Tensor:
        """Tell which ``images`` (B, M) share a cluster with the image ``index`` (B,) in any clustering: (B, M) bool."""
        shared = torch.zeros_like(images, dtype=torch.bool)
        for labels in self.labels:
            shared |= labels[images] == labels[index].unsqueeze(1)
        return shared
