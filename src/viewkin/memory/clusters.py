"""Pseudo-labels: a cluster for every image of a bank, kept up while the features move."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from viewkin.losses import BLOCK, wide
from viewkin.memory.kmeans import halves, halves_among, kmeans, numbered_as
from viewkin.memory.members import MemberLists, Members
from viewkin.runtime import distributed
from viewkin.runtime.draws import generator_for
from viewkin.schedules import Progress

LabelRule = Literal["dot", "euclidean"]
"""What the centroid of a label is: the one of the largest dot product, or the nearest one."""
FEW = 2
"""Small clusters that are dissolved at once on a GPU."""
SPACING = 8
"""Optimiser steps from one dissolving to the next on a GPU, where even looking costs a thousand launches."""
HALVED = 4096
"""Members of the largest cluster that are told apart there; the others stay."""


class Clusters(nn.Module):
    """Label y_i of N images, and C centroids: the means of the members' features, *not* re-normalised.

    Reads have no side effect. Writes take the joined batch of all ranks and the whole bank; what an argmax or a sum on
    a GPU decides is rank 0's on every rank. A step costs what its batch costs, whatever N: members are listed, and
    centroids are quotients of sums that are kept up.

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
    sums: Tensor
    """(C, D) float64, of the members' features as they were when last seen here."""
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
        counts = torch.bincount(labels, minlength=clusters)
        self.register_buffer("labels", labels)
        self.register_buffer("epoch_labels", labels.clone())
        self.register_buffer("counts", counts)
        self.register_buffer("centroids", wide(features.new_zeros(clusters, features.shape[1])))
        self.register_buffer("sums", torch.zeros(clusters, features.shape[1], dtype=torch.float64))
        self.register_buffer("moved", torch.zeros((), dtype=torch.int64))
        self.lists = MemberLists(labels, counts)
        self.refresh_(features)

    def __len__(self) -> int:
        return len(self.centroids)

    @property
    def fixed_shapes(self) -> bool:
        """Whether a step does without sizes that follow from data: off the CPU, where reading one waits."""
        return self.labels.device.type != "cpu"

    def nearest(self, z: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Label features by the rule: (B, D) -> (B,); ``allowed`` (C,) bool leaves centroids out."""
        score = z.to(self.centroids.dtype) @ self.centroids.T
        if self.rule == "euclidean":
            score = score - self.centroids.square().sum(1) / 2
        if allowed is not None:
            score = score.masked_fill(~allowed, -torch.inf)
        return distributed.agree(score.argmax(1))

    @torch.no_grad()
    def fit_(self, features: Tensor, at: Progress, *, iterations: int = 20, again: bool = False) -> None:
        """Cluster all images anew by k-means: features (N, D), drawing by seed and step.

        ``again``: every cluster keeps the number of the one before that it shares most images with, so that label churn
        counts images that changed company.
        """
        draw = generator_for(at.seed, "k-means", at.total_step)
        labels, _ = kmeans(features, len(self), draw, iterations=iterations)
        self.relabel_(numbered_as(labels, self.labels, len(self)) if again else labels, features)

    @torch.no_grad()
    def relabel_(self, labels: Tensor, features: Tensor) -> None:
        """Give all images labels (N,), and every cluster its members and its mean of (N, D)."""
        self.labels.copy_(labels)
        self.counts.copy_(torch.bincount(self.labels, minlength=len(self)))
        self.lists.build_(self.labels, self.counts)
        self.refresh_(features)

    def members(self) -> Members:
        """Who shares a label: what kin and strangers are drawn from."""
        return self.lists.members(self.labels)

    def begin_epoch_(self) -> None:
        """Count label churn and moves from here."""
        self.epoch_labels.copy_(self.labels)
        self.moved.zero_()

    @torch.no_grad()
    def follow_(self, index: Tensor, before: Tensor, features: Tensor, at: Progress) -> None:
        """Do one iteration: label the batch by its updated rows, dissolve small clusters, refresh centroids.

        On a GPU, each ``SPACING``-th step dissolves ``FEW``: a small cluster may stay for some steps.

        Args:
            index: (B,) int64, the joined batch.
            before: (B, D), its rows before the bank's update.
            features: (N, D), the bank after it.
            at: before this step.
        """
        rows = features[index]
        self._shift_(index, before, rows, self.nearest(rows))
        done = at.total_step + 1
        if not self.fixed_shapes:
            self.dissolve_small_(features, at)
        elif done % SPACING == 0:
            self.dissolve_few_(features, at)
        due = done % self.refresh == 0
        if due:
            self._agree_(self.sums, self.counts)
        # Looking for lost images waits for a GPU, sorting there does not.
        if due if self.fixed_shapes else int(self.lists.lost):
            self.lists.build_(self.labels, self.counts)

    @torch.no_grad()
    def assign_(self, index: Tensor, labels: Tensor) -> None:
        """Give images (B,), each once, new labels (B,)."""
        one, old = torch.ones_like(labels), self.labels[index]
        self.counts.index_add_(0, old, -one).index_add_(0, labels, one)
        self.lists.move_(index, old, labels)
        self.labels[index] = labels

    def _shift_(self, index: Tensor, before: Tensor, after: Tensor, labels: Tensor) -> None:
        """Give images new labels and rows, the sums too."""
        self.sums.index_add_(0, self.labels[index], -before.to(self.sums.dtype))
        self.sums.index_add_(0, labels, after.to(self.sums.dtype))
        self.assign_(index, labels)

    def _agree_(self, sums: Tensor, counts: Tensor) -> None:
        """Take rank 0's sums, and the centroids that follow."""
        self.sums.copy_(distributed.agree(sums))
        self.centroids.copy_(self._quotients(self.sums, counts, self.centroids))

    @staticmethod
    def _quotients(sums: Tensor, counts: Tensor, before: Tensor) -> Tensor:
        """Means (C, D) by sums and counts; an empty cluster keeps its value of ``before``."""
        size = counts.unsqueeze(1)
        return torch.where(size > 0, (sums / size.clamp_min(1)).to(before.dtype), before)

    @torch.no_grad()
    def refresh_(self, features: Tensor) -> None:
        """Compute all centroids anew as means of their members in (N, D); an empty cluster keeps its value."""
        sums = torch.zeros_like(self.sums)
        for rows, labels in zip(features.split(BLOCK), self.labels.split(BLOCK)):
            sums.index_add_(0, labels, rows.to(sums.dtype))
        self._agree_(sums, torch.bincount(self.labels, minlength=len(self)))

    @torch.no_grad()
    def dissolve_small_(self, features: Tensor, at: Progress) -> None:
        """Move the members of small clusters to the others, then fill each emptied one with half of the largest.

        Nothing happens where no cluster is small; where all are, only the empty ones count. Afterwards none is empty.
        The number of moves is free: :meth:`dissolve_few_` does without.

        Args:
            features: (N, D), the bank.
            at: what chance is drawn by, where halves cannot be told apart.
        """
        small = self._small()
        if not small.any():
            return
        members = self._members_of(small.nonzero().squeeze(1))
        if len(members):
            rows = features[members]
            self._shift_(members, rows, rows, self.nearest(rows, ~small))
            self.moved.add_(len(members))
        for cluster in small.nonzero().squeeze(1).tolist():
            self._split_largest_(cluster, features, at)

    def _small(self) -> Tensor:
        small = self.counts < self.min_size
        return torch.where(small.all(), self.counts == 0, small)

    def _members_of(self, clusters: Tensor) -> Tensor:
        """All members of some clusters (n,), in rising order."""
        if int(self.lists.lost):
            self.lists.build_(self.labels, self.counts)
        images, there = self.lists.rows(clusters, int(self.counts[clusters].max()))
        return images[there].sort().values

    def _split_largest_(self, empty: int, features: Tensor, at: Progress) -> None:
        largest = self.counts.argmax()
        members = self._members_of(largest.unsqueeze(0))
        rows = features[members]
        second = distributed.agree(halves(wide(rows)))
        if not second.any():  # all members are equal
            order = torch.randperm(len(members), generator=generator_for(at.seed, "halves", at.total_step, empty))
            second = (order < len(members) // 2).to(second.device)
        self._shift_(members[second], rows[second], rows[second], torch.full_like(members[second], empty))
        self.moved.add_(second.sum())
        for cluster, part in ((largest, ~second), (empty, second)):
            self.centroids[cluster] = distributed.agree(wide(rows[part]).mean(0).to(self.centroids.dtype))

    @torch.no_grad()
    def dissolve_few_(self, features: Tensor, at: Progress) -> None:
        """Do what :meth:`dissolve_small_` does in shapes that are fixed, so that no step waits for a GPU.

        The first ``FEW`` small clusters are taken, those that are left another time, and ``HALVED`` members of the
        largest cluster are told apart. Arguments as there.
        """
        small = self._small()
        number = torch.arange(len(self), 0, -1, device=small.device)
        taken, chosen = torch.where(small, number, 0).topk(min(FEW, len(self)))
        images, there = self.lists.rows(chosen, self.min_size)
        there &= (taken > 0).unsqueeze(1)
        images, there = images.flatten(), there.flatten()
        rows = features[images]
        self._shift_where_(images, rows, self.nearest(rows, ~small), there)
        for cluster, real in zip(chosen, taken > 0):
            self._split_largest_where_(cluster, real, features, at)

    def _split_largest_where_(self, empty: Tensor, real: Tensor, features: Tensor, at: Progress) -> None:
        largest = self.counts.argmax()
        images, there = self.lists.rows(largest.unsqueeze(0), min(HALVED, len(features)))
        images, there = images[0], there[0] & real
        rows = features[images]
        second = distributed.agree(halves_among(wide(rows), there))
        alternate = there & (torch.arange(len(there), device=there.device) % 2 == 1)
        second = torch.where(second.any(), second, alternate)  # all members are equal
        self._shift_where_(images, rows, empty, second)
        both = torch.stack([largest, empty])
        found = self._quotients(self.sums[both], self.counts[both], self.centroids[both])
        self.centroids[both] = distributed.agree(torch.where(real, found, self.centroids[both]))

    def _shift_where_(self, images: Tensor, rows: Tensor, labels: Tensor, wanted: Tensor) -> None:
        """Give some of the images new labels. The others stay, whatever stands in their place, even twice."""
        old, weighed = self.labels[images], rows.to(self.sums.dtype) * wanted.unsqueeze(1)
        new = torch.where(wanted, labels, old)
        self.sums.index_add_(0, old, -weighed).index_add_(0, new, weighed)
        self.counts.index_add_(0, old, -wanted.long()).index_add_(0, new, wanted.long())
        self.lists.move_(images, old, new)
        self.labels.index_add_(0, images, torch.where(wanted, new - old, 0))  # adding nothing may repeat
        self.moved.add_(wanted.sum())

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
