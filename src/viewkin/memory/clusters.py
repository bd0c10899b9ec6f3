"""Pseudo-labels: a cluster for every image of a bank, kept up while the features move."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from viewkin import distributed
from viewkin.draws import generator_for
from viewkin.kmeans import means
from viewkin.memory.kmeans import halves, kmeans
from viewkin.schedules import Progress

LabelRule = Literal["dot", "euclidean"]
"""What the centroid of a label is: the one of the largest dot product, or the nearest one."""


class Clusters(nn.Module):
    """Label y_i of N images, and C centroids: the means of the members' features, *not* re-normalised.

    Reads have no side effect. Writes take the joined batch of all ranks and the whole bank; what an argmax or a sum on
    a GPU decides is rank 0's on every rank.

    References:
        Xie et al., InterCLR, 2022, section 3.2 and the released code; METHODS 6.4.
    """

    labels: Tensor
    """(N,) int64, y."""
    centroids: Tensor
    """(C, D)."""
    counts: Tensor
    """(C,) int64, members."""
    epoch_labels: Tensor
    """(N,) int64, the labels when the epoch began."""
    moved: Tensor
    """() int64, images that lost a small cluster or half of a large one since the epoch began."""

    def __init__(
        self, features: Tensor, clusters: int, *, min_size: int = 20, rule: LabelRule = "dot", refresh: int = 10
    ) -> None:
        """Start from labels that mean nothing; :meth:`fit_` gives better ones.

        Args:
            features: (N, D), the bank's rows.
            clusters: C, at most N.
            min_size: members below which a cluster is dissolved.
            rule: ``dot`` as the released code has it, ``euclidean`` as the paper's text has it.
            refresh: optimiser steps from one computation of all centroids to the next.
        """
        super().__init__()
        self.min_size, self.rule, self.refresh = min_size, rule, refresh
        labels = torch.arange(len(features)) % clusters
        self.register_buffer("labels", labels)
        self.register_buffer("epoch_labels", labels.clone())
        self.register_buffer("counts", torch.bincount(labels, minlength=clusters))
        self.register_buffer("centroids", means(features, labels, features.new_zeros(clusters, features.shape[1])))
        self.register_buffer("moved", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.centroids)

    def nearest(self, z: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Label features by the rule: (B, D) -> (B,); ``allowed`` (C,) bool leaves centroids out."""
        score = z.to(self.centroids.dtype) @ self.centroids.T
        if self.rule == "euclidean":
            score = score - self.centroids.square().sum(1) / 2
        if allowed is not None:
            score = score.masked_fill(~allowed, -torch.inf)
        return distributed.agree(score.argmax(1))

    @torch.no_grad()
    def fit_(self, features: Tensor, at: Progress, *, iterations: int = 20) -> None:
        """Cluster all images anew by k-means: features (N, D), drawing by seed and step."""
        found = kmeans(features, len(self), generator_for(at.seed, "k-means", at.total_step), iterations=iterations)
        self.labels.copy_(found[0])
        self.centroids.copy_(found[1])
        self.counts.copy_(torch.bincount(self.labels, minlength=len(self)))

    def begin_epoch_(self) -> None:
        """Count label churn and moves from here."""
        self.epoch_labels.copy_(self.labels)
        self.moved.zero_()

    @torch.no_grad()
    def follow_(self, index: Tensor, features: Tensor, at: Progress) -> None:
        """Do one iteration: label the batch by its updated rows, dissolve small clusters, refresh centroids.

        Args:
            index: (B,) int64, the joined batch.
            features: (N, D), the bank after its own update.
            at: before this step.
        """
        self.assign_(index, self.nearest(features[index]))
        self.dissolve_small_(features, at)
        if (at.total_step + 1) % self.refresh == 0:
            self.refresh_(features)

    @torch.no_grad()
    def assign_(self, index: Tensor, labels: Tensor) -> None:
        """Give images (B,), each once, new labels (B,)."""
        one = torch.ones_like(labels)
        self.counts.index_add_(0, self.labels[index], -one).index_add_(0, labels, one)
        self.labels[index] = labels

    @torch.no_grad()
    def refresh_(self, features: Tensor) -> None:
        """Compute all centroids as means of their members in (N, D); an empty cluster keeps its value."""
        self.centroids.copy_(distributed.agree(means(features, self.labels, self.centroids)))

    @torch.no_grad()
    def dissolve_small_(self, features: Tensor, at: Progress) -> None:
        """Move the members of small clusters to the others, then fill each emptied one with half of the largest.

        Nothing happens where no cluster is small; where all are, only the empty ones count. Afterwards none is empty.
        The number of moves is free and the state's shapes are fixed, so a form with a fixed number of moves, which need
        not wait for a GPU, can take its place.

        Args:
            features: (N, D), the bank.
            at: what chance is drawn by, where halves cannot be told apart.
        """
        small = self.counts < self.min_size
        if small.all():
            small = self.counts == 0
        if not small.any():
            return
        members = small[self.labels].nonzero().squeeze(1)
        if len(members):
            self.assign_(members, self.nearest(features[members], ~small))
            self.moved.add_(len(members))
        for cluster in small.nonzero().squeeze(1).tolist():
            self._split_largest_(cluster, features, at)

    def _split_largest_(self, empty: int, features: Tensor, at: Progress) -> None:
        largest = int(self.counts.argmax())
        members = (self.labels == largest).nonzero().squeeze(1)
        second = distributed.agree(halves(features[members]))
        if not second.any():  # all members are equal
            order = torch.randperm(len(members), generator=generator_for(at.seed, "halves", at.total_step, empty))
            second = (order < len(members) // 2).to(second.device)
        self.assign_(members[second], torch.full_like(members[second], empty))
        self.moved.add_(second.sum())
        for cluster, part in ((largest, members[~second]), (empty, members[second])):
            self.centroids[cluster] = distributed.agree(features[part].mean(0).to(self.centroids.dtype))

    def gauges(self) -> dict[str, float]:
        """Sizes of the clusters, the share of images whose label changed since the epoch began, and forced moves."""
        sizes = self.counts.double()
        return {
            "clusters_min": float(sizes.min()),
            "clusters_median": float(sizes.median()),
            "clusters_max": float(sizes.max()),
            "label_churn": float((self.labels != self.epoch_labels).double().mean()),
            "small_cluster_moves": float(self.moved),
        }
