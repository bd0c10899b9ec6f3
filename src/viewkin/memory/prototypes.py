"""Prototypes: a clustering of all images between epochs, its unit centroids and a temperature for each of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viewkin import losses
from viewkin.memory.kmeans import kmeans
from viewkin.ops.kmeans import blocks_of
from viewkin.runtime.draws import generator_for
from viewkin.schedules import Progress


class Prototypes(nn.Module):
    """Labels of N images, and C unit centroids with their temperatures; arbitrary ones until :meth:`fit_`.

    References:
        Li et al., Prototypical Contrastive Learning, 2021, section 3.3.
    """

    labels: Tensor
    """(N,) int64."""
    centroids: Tensor
    """(C, D) unit norm."""
    temperature: Tensor
    """(C,) phi, dimensionless."""

    def __init__(self, count: int, clusters: int, dim: int) -> None:
        """Start with ``count`` N images in ``clusters`` C of size D."""
        super().__init__()
        self.register_buffer("labels", torch.arange(count) % clusters)
        self.register_buffer("centroids", losses.unit(torch.randn(clusters, dim)))
        self.register_buffer("temperature", torch.ones(clusters))

    def __len__(self) -> int:
        return len(self.centroids)

    @torch.no_grad()
    def fit_(self, rows: Tensor, at: Progress, turn: int, temperature: float) -> None:
        """Cluster all images by k-means.

        Args:
            rows: (N, D) unit norm, in index order.
            at: progress; seed and step give the initial centroids.
            turn: number of this clustering, which has initial centroids of its own.
            temperature: tau, mean of the temperatures.
        """
        generator = generator_for(at.seed, "prototypes", at.total_step, turn)
        labels, centroids = kmeans(rows, len(self), generator)
        parts = zip(blocks_of(rows), labels.split(len(blocks_of(rows)[0])))
        distance = torch.cat([(part - centroids[own]).square().sum(1).sqrt() for part, own in parts])
        self.labels.copy_(labels)
        self.centroids.copy_(losses.unit(centroids))
        self.temperature.copy_(losses.concentration(distance, labels, len(self), temperature))
