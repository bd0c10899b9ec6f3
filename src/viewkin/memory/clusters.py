"""Pseudo-labels: a cluster for every image of a bank, updated while the features change."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viewkin.losses import BLOCK, at_least_float32
from viewkin.memory.cluster_config import ClusterConfig, LabelRule
from viewkin.memory.kmeans import kmeans, masked_two_means, renumber_like, two_means
from viewkin.memory.members import MemberLists, Members
from viewkin.memory.storage import Rows, rows_of
from viewkin.runtime import distributed
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import require
from viewkin.schedules import Progress

DISSOLVED_AT_ONCE = 2
"""Number of small clusters that are dissolved at a time on a GPU."""
DISSOLVE_EVERY = 8
"""Small clusters are dissolved every so many steps on a GPU, where even the check costs a thousand kernel launches."""
SPLIT_SAMPLE = 4096
"""On a GPU, this many members of the largest cluster are split in two; the others stay."""


class Clusters(nn.Module):
    """Label y_i of N images, and C centroids: the means of the members' features, *not* re-normalised.

    Reads have no side effect. Writes take the joined batch of all ranks and the whole bank. Results of an argmax or a
    sum on a GPU are taken from rank 0 on every rank. The cost of a step depends on the batch and not on N: lists of
    members and sums of features are updated incrementally, and centroids are their quotients.

    References:
        Xie et al., InterCLR, 2022, section 3.2 and the released code.
    """

    labels: Tensor
    """(N,) int64, y."""
    centroids: Tensor
    """(C, D)."""
    counts: Tensor
    """(C,) int64, number of members."""
    epoch_labels: Tensor
    """(N,) int64, the labels at the beginning of the epoch."""
    sums: Tensor
    """(C, D) float64, sums of the members' features as of their last update."""
    moved: Tensor
    """() int64, images that were moved since the epoch began because a cluster was dissolved or split."""

    def __init__(
        self, features: Rows, clusters: int, *, min_size: int = 20, rule: LabelRule = "dot", refresh: int = 10
    ) -> None:
        """Start from arbitrary labels; :meth:`fit_` computes meaningful ones.

        Args:
            features: the bank, or its rows (N, D).
            clusters: C, at most N.
            min_size: clusters with fewer members are dissolved.
            rule: ``dot`` as in the released code, ``euclidean`` as in the paper's text.
            refresh: all centroids are recomputed every so many optimiser steps.
        """
        super().__init__()
        features = rows_of(features)
        self.min_size, self.rule, self.refresh = min_size, rule, refresh
        labels = torch.arange(len(features)) % clusters
        counts = torch.bincount(labels, minlength=clusters)
        self.register_buffer("labels", labels)
        self.register_buffer("epoch_labels", labels.clone())
        self.register_buffer("counts", counts)
        self.register_buffer("centroids", at_least_float32(features.new_zeros(clusters, features.shape[1])))
        self.register_buffer("sums", torch.zeros(clusters, features.shape[1], dtype=torch.float64))
        self.register_buffer("moved", torch.zeros((), dtype=torch.int64))
        self.lists = MemberLists(labels, counts)
        self.refresh_(features)

    @classmethod
    def of(cls, config: ClusterConfig, features: Rows) -> Clusters:
        """Start by settings with a number of clusters, from features (N, D).

        Raises:
            SettingError: there are more clusters than images.
        """
        number = config.number or 0
        require(0 < number <= len(features), "number", number, f"at most the number of images, {len(features)}")
        return cls(features, number, min_size=config.min_size, rule=config.rule, refresh=config.refresh_steps)

    def __len__(self) -> int:
        return len(self.centroids)

    @property
    def fixed_shapes(self) -> bool:
        """Whether steps avoid data-dependent sizes: true except on a CPU, because reading a size waits for the GPU."""
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
    def fit_(
        self,
        features: Rows,
        at: Progress,
        *,
        iterations: int = 20,
        again: bool = False,
        space: Tensor | None = None,
    ) -> None:
        """Cluster all images by k-means; random numbers depend on seed and step.

        Args:
            features: the bank, or its rows (N, D), whose means are the centroids.
            at: progress.
            iterations: of k-means.
            again: give each cluster the number of the previous cluster that it overlaps most, so that label churn does
                not count mere renumbering.
            space: (N, F), what k-means sees instead of the bank's rows.
        """
        features = rows_of(features)
        draw = generator_for(at.seed, "k-means", at.total_step)
        labels, _ = kmeans(features if space is None else space, len(self), draw, iterations=iterations)
        self.relabel_(renumber_like(labels, self.labels, len(self)) if again else labels, features)

    @torch.no_grad()
    def relabel_(self, labels: Tensor, features: Rows) -> None:
        """Set the labels (N,) of all images, and compute members and centroids from features (N, D)."""
        features = rows_of(features)
        self.labels.copy_(labels)
        self.counts.copy_(torch.bincount(self.labels, minlength=len(self)))
        self.lists.build_(self.labels, self.counts)
        self.refresh_(features)

    def members(self) -> Members:
        """Return the members of every cluster, from which positives and negatives are drawn."""
        return self.lists.members(self.labels)

    def begin_epoch_(self) -> None:
        """Start counting label churn and moves."""
        self.epoch_labels.copy_(self.labels)
        self.moved.zero_()

    @torch.no_grad()
    def update_(self, index: Tensor, before: Tensor, features: Rows, at: Progress) -> None:
        """Label the batch by its updated rows, dissolve small clusters, and refresh the centroids.

        The released code refreshes before it dissolves. In our order all centroids are the exact means of their members
        after a refresh, those just moved included.

        On a GPU only every ``DISSOLVE_EVERY``-th step dissolves ``DISSOLVED_AT_ONCE`` clusters, so a small cluster may
        exist for some steps.

        Args:
            index: (B,) int64, the joined batch.
            before: (B, D), its rows before the bank's update.
            features: the bank after the update, or its rows (N, D).
            at: progress before this step.
        """
        features = rows_of(features)
        rows = features[index]
        self._shift_(index, before, rows, self.nearest(rows))
        done = at.total_step + 1
        if not self.fixed_shapes:
            self.dissolve_small_(features, at)
        elif done % DISSOLVE_EVERY == 0:
            self.dissolve_few_(features, at)
        due = done % self.refresh == 0
        if due:
            self._agree_(self.sums, self.counts)
        # Checking for lost images waits for a GPU; sorting on it does not.
        if due if self.fixed_shapes else int(self.lists.lost):
            self.lists.build_(self.labels, self.counts)

    @torch.no_grad()
    def assign_(self, index: Tensor, labels: Tensor) -> None:
        """Set new labels (B,) of images (B,), each of which occurs once."""
        one, old = torch.ones_like(labels), self.labels[index]
        self.counts.index_add_(0, old, -one).index_add_(0, labels, one)
        self.lists.move_(index, old, labels)
        self.labels[index] = labels

    def _shift_(self, index: Tensor, before: Tensor, after: Tensor, labels: Tensor) -> None:
        """Set new labels of images and update the sums by their old and new rows."""
        self.sums.index_add_(0, self.labels[index], -before.to(self.sums.dtype))
        self.sums.index_add_(0, labels, after.to(self.sums.dtype))
        self.assign_(index, labels)

    def _agree_(self, sums: Tensor, counts: Tensor) -> None:
        """Set the sums to those of rank 0, and compute the centroids."""
        self.sums.copy_(distributed.agree(sums))
        self.centroids.copy_(self._quotients(self.sums, counts, self.centroids))

    @staticmethod
    def _quotients(sums: Tensor, counts: Tensor, before: Tensor) -> Tensor:
        """Means (C, D) from sums and counts; an empty cluster keeps its value from ``before``."""
        size = counts.unsqueeze(1)
        return torch.where(size > 0, (sums / size.clamp_min(1)).to(before.dtype), before)

    @torch.no_grad()
    def refresh_(self, features: Rows) -> None:
        """Recompute all centroids as means of their members in features (N, D); empty clusters keep their value."""
        features = rows_of(features)
        sums = torch.zeros_like(self.sums)
        for rows, labels in zip(features.split(BLOCK), self.labels.split(BLOCK)):
            sums.index_add_(0, labels, rows.to(sums.dtype))
        self._agree_(sums, torch.bincount(self.labels, minlength=len(self)))

    @torch.no_grad()
    def dissolve_small_(self, features: Rows, at: Progress) -> None:
        """Move the members of small clusters to other clusters, then give each of them half of the largest cluster.

        If all clusters are small, only empty ones are treated as small. Afterwards no cluster is empty. The number of
        moves depends on the data; :meth:`dissolve_few_` has fixed shapes.

        Args:
            features: the bank, or its rows (N, D).
            at: progress, the seed of a random split if all members are equal.
        """
        features = rows_of(features)
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
        """Return all members of clusters (n,), in rising order."""
        if int(self.lists.lost):
            self.lists.build_(self.labels, self.counts)
        images, there = self.lists.rows(clusters, int(self.counts[clusters].max()))
        return images[there].sort().values

    def _split_largest_(self, empty: int, features: Tensor, at: Progress) -> None:
        largest = self.counts.argmax()
        members = self._members_of(largest.unsqueeze(0))
        rows = features[members]
        second = distributed.agree(two_means(at_least_float32(rows)))
        if not second.any():  # all members are equal
            order = torch.randperm(len(members), generator=generator_for(at.seed, "halves", at.total_step, empty))
            second = (order < len(members) // 2).to(second.device)
        self._shift_(members[second], rows[second], rows[second], torch.full_like(members[second], empty))
        self.moved.add_(second.sum())
        for cluster, part in ((largest, ~second), (empty, second)):
            self.centroids[cluster] = distributed.agree(at_least_float32(rows[part]).mean(0).to(self.centroids.dtype))

    @torch.no_grad()
    def dissolve_few_(self, features: Rows, at: Progress) -> None:
        """Do what :meth:`dissolve_small_` does, with fixed shapes, so that no step waits for a GPU.

        Only the first ``DISSOLVED_AT_ONCE`` small clusters are dissolved, and only ``SPLIT_SAMPLE`` members of the
        largest cluster are split. The arguments are the same.
        """
        features = rows_of(features)
        small = self._small()
        number = torch.arange(len(self), 0, -1, device=small.device)
        taken, chosen = torch.where(small, number, 0).topk(min(DISSOLVED_AT_ONCE, len(self)))
        images, there = self.lists.rows(chosen, self.min_size)
        there &= (taken > 0).unsqueeze(1)
        images, there = images.flatten(), there.flatten()
        rows = features[images]
        self._shift_where_(images, rows, self.nearest(rows, ~small), there)
        for cluster, real in zip(chosen, taken > 0):
            self._split_largest_where_(cluster, real, features, at)

    def _split_largest_where_(self, empty: Tensor, real: Tensor, features: Tensor, at: Progress) -> None:
        largest = self.counts.argmax()
        images, there = self.lists.rows(largest.unsqueeze(0), min(SPLIT_SAMPLE, len(features)))
        images, there = images[0], there[0] & real
        rows = features[images]
        second = distributed.agree(masked_two_means(at_least_float32(rows), there))
        alternate = there & (torch.arange(len(there), device=there.device) % 2 == 1)
        second = torch.where(second.any(), second, alternate)  # all members are equal
        self._shift_where_(images, rows, empty, second)
        both = torch.stack([largest, empty])
        means = self._quotients(self.sums[both], self.counts[both], self.centroids[both])
        self.centroids[both] = distributed.agree(torch.where(real, means, self.centroids[both]))

    def _shift_where_(self, images: Tensor, rows: Tensor, labels: Tensor, wanted: Tensor) -> None:
        """Set new labels of the images that are ``wanted``; the others are padding and may contain repeats."""
        old, weighed = self.labels[images], rows.to(self.sums.dtype) * wanted.unsqueeze(1)
        new = torch.where(wanted, labels, old)
        self.sums.index_add_(0, old, -weighed).index_add_(0, new, weighed)
        self.counts.index_add_(0, old, -wanted.long()).index_add_(0, new, wanted.long())
        self.lists.move_(images, old, new)
        self.labels.index_add_(0, images, torch.where(wanted, new - old, 0))  # adding nothing may repeat
        self.moved.add_(wanted.sum())

    def gauges(self) -> dict[str, float]:
        """Cluster sizes, the fraction of images whose label changed since the epoch began, and the forced moves."""
        sizes = self.counts.double()
        return {
            "clusters_min": float(sizes.min()),
            "clusters_median": float(sizes.median()),
            "clusters_max": float(sizes.max()),
            "label_churn": float((self.labels != self.epoch_labels).double().mean()),
            "small_cluster_moves": float(self.moved),
        }
