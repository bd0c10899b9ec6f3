"""Which images to label first: a few that stand for all.

* *typical*: as many clusters as there will be labels; of each cluster that has no label yet, the image that lies
  closest to its neighbours. It spreads the choice and leaves out oddities, which suits few labels.
* *k-centre*: always the image that is farthest from all that are chosen or labelled. It covers the rim too, and chooses
  oddities.
* *random*: for comparison.

References:
    Hacohen, Dekel and Weinshall, Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets, 2022
    (TypiClust, algorithm 1).
    Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, 2018, algorithm 1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewkin.collection.clustering import centred, kmeans
from viewkin.ops.neighbours import top_k
from viewkin.runtime.draws import generator_for

METHODS = ("typical", "k-centre", "random")
"""Ways to choose."""
NEIGHBOURS = 20
"""Neighbours within its cluster that an image's typicality is measured by."""
LEAST = 5
"""Images of a cluster below which it is only chosen from when there is no larger one."""


def selected(
    vectors: NDArray[np.float32], count: int, labelled: NDArray[np.int64], method: str = "typical", seed: int = 0
) -> list[int]:
    """Choose images to label, the most useful first.

    Args:
        vectors: (N, D) unit norm.
        count: how many, at most N minus those that are labelled.
        labelled: rows that have a label.
        method: one of :data:`METHODS`.
        seed: of all draws.
    """
    rows = centred(vectors)
    if method == "random":
        order = torch.randperm(len(rows), generator=generator_for(seed, "selection")).tolist()
        taken = set(labelled.tolist())
        return [row for row in order if row not in taken][:count]
    return (typical if method == "typical" else k_centre)(rows, count, labelled, seed)


def typical(rows: Tensor, count: int, labelled: NDArray[np.int64], seed: int) -> list[int]:
    """Choose the most typical image of each cluster that has no label, of the largest clusters first."""
    clusters = min(count + len(labelled), len(rows))
    labels, _ = kmeans(rows, clusters, seed)
    taken = torch.zeros(len(rows), dtype=torch.bool)
    taken[torch.from_numpy(labelled)] = True
    sizes = labels.bincount(minlength=clusters)
    covered = labels[taken].bincount(minlength=clusters)
    value = torch.empty(len(rows))
    for members in labels.argsort(stable=True).split(sizes.tolist()):
        value[members] = _typicality(rows, members)
    chosen: list[int] = []
    while len(chosen) < count:
        free = (~taken).float()
        left = torch.zeros(clusters).scatter_add_(0, labels, free) > 0
        rank = [
            (int(covered[c]), bool(sizes[c] < LEAST), -int(sizes[c]), c) for c in left.nonzero().squeeze(1).tolist()
        ]
        for _, _, _, cluster in sorted(rank)[: count - len(chosen)]:
            members = ((labels == cluster) & ~taken).nonzero().squeeze(1)
            best = int(members[value[members].argmax()])
            chosen.append(best)
            taken[best] = True
            covered[cluster] += 1
    return chosen


def _typicality(rows: Tensor, members: Tensor) -> Tensor:
    """Measure how close the members of a cluster are to their nearest: the mean cosine, (n,)."""
    if len(members) < 2:
        return torch.zeros(len(members))
    similarity, _ = top_k(rows[members], rows[members], NEIGHBOURS, exclude_self=True)
    return similarity.mean(1)


def k_centre(rows: Tensor, count: int, labelled: NDArray[np.int64], seed: int) -> list[int]:
    """Choose greedily the image farthest from all that are chosen or labelled."""
    chosen: list[int] = []
    if len(labelled):
        nearest, _ = top_k(rows, rows[torch.from_numpy(labelled)], 1)
        distance = 1 - nearest.squeeze(1)
        distance[torch.from_numpy(labelled)] = -1
    else:
        chosen.append(int(torch.randint(len(rows), (1,), generator=generator_for(seed, "selection"))))
        distance = 1 - rows @ rows[chosen[0]]
        distance[chosen[0]] = -1
    while len(chosen) < count:
        best = int(distance.argmax())
        chosen.append(best)
        distance = torch.minimum(distance, 1 - rows @ rows[best])
        distance[best] = -1
    return chosen
