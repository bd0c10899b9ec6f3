"""Pictures that are there more than once: which pairs to compare, from where on they are the same, and groups.

Three kinds, apart: *exact* (the same bytes), *near* (the same picture encoded anew, resized or slightly cropped) and
*scene* (another picture of the same thing). Near pairs are found in two steps. Candidates are the nearest by embedding
and by thumbnail. Which of them are the same picture, their pixels say (:mod:`viewkin.collection.pixel_likeness`).

Letters: N images, D numbers of a vector, S side of a thumbnail, Q pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewkin.collection.pixel_likeness import normalised
from viewkin.ops.neighbours import top_k

BY_VECTOR, BY_PIXELS = 20, 10
"""Candidates of each image: nearest by embedding, and by thumbnail."""
NEAR, SCENE = 0.8, 0.95
"""Thresholds where they cannot be chosen by the images."""
TOWARDS_COPIES = 0.9
"""Where in the gap between other pictures and copies the threshold lies: precision counts for more than recall."""
COPIES_QUANTILE, OTHERS_QUANTILE = 0.02, 0.99
"""Of the likeness of copies to their picture, and to the most alike other picture: the ends of the gap."""
SCENE_QUANTILE = 0.9
"""Of the similarity of cropped copies to their picture: an image of the same scene is as alike as that."""
SLACK = 0.02
"""How far below the threshold two members of a scene may be that a third joins."""


def candidate_pairs(vectors: Tensor, thumbnails: Tensor) -> Tensor:
    """Pair every image with its nearest by embedding and by thumbnail: (Q, 2) int64, the lower number first.

    Args:
        vectors: (N, D) unit norm.
        thumbnails: (N, S, S).
    """
    _, near = top_k(vectors, vectors, BY_VECTOR, exclude_self=True)
    flat = normalised(thumbnails.flatten(1))
    _, alike = top_k(flat, flat, BY_PIXELS, exclude_self=True)
    return torch.cat([paired(near), paired(alike)]).unique(dim=0)


def paired(neighbours: Tensor, start: int = 0) -> Tensor:
    """Write neighbours (N, K) as pairs (N K, 2), the lower number first; the first row is image ``start``."""
    rows = torch.arange(start, start + len(neighbours)).repeat_interleave(neighbours.shape[1])
    return torch.stack([rows, neighbours.flatten()], 1).sort(1).values


def candidates_of_copies(vectors: Tensor | None, thumbnails: Tensor, count: int) -> Tensor:
    """Pair copies, which stand behind the ``count`` images, with the images nearest to them, as images are paired.

    Args:
        vectors: (N + C, D) unit norm; None: by thumbnail alone.
        thumbnails: (N + C, S, S).
        count: N.
    """
    flat = normalised(thumbnails.flatten(1))
    pairs = [paired(top_k(flat[count:], flat[:count], BY_PIXELS)[1], count)]
    if vectors is not None:
        pairs.append(paired(top_k(vectors[count:], vectors[:count], BY_VECTOR)[1], count))
    return torch.cat(pairs).unique(dim=0)


@dataclass(frozen=True)
class CopyCheck:
    """What a search for copies of some images finds, at one threshold."""

    kinds: Sequence[str]
    """What was done to make each copy, (C,)."""
    own: NDArray[np.float32]
    """Likeness of each copy to its picture, 0 where that was no candidate, (C,)."""
    others: NDArray[np.float32]
    """Likeness of each copy to the most alike other picture, (C,)."""

    def threshold(self) -> float:
        """Choose the threshold: in the gap between what other pictures and what copies reach, nearer to the copies."""
        seen = self.own[self.own > 0]  # a copy that is no candidate is missed at any threshold
        copies = float(np.quantile(seen, COPIES_QUANTILE)) if len(seen) else NEAR
        others = float(np.quantile(self.others, OTHERS_QUANTILE))
        return min(max(others + TOWARDS_COPIES * (copies - others), others, 0.5), 0.95)

    def found(self, threshold: float) -> dict[str, float]:
        """Tell the share of the copies of each kind that are found."""
        kinds = np.array(self.kinds)
        return {kind: float((self.own[kinds == kind] >= threshold).mean()) for kind in dict.fromkeys(self.kinds)}

    def false(self, threshold: float) -> float:
        """Tell the share of the copies that are taken for another picture as well."""
        return float((self.others >= threshold).mean())


def check_of(
    kinds: Sequence[str], origins: NDArray[np.int64], pairs: Tensor, likeness: Tensor, count: int
) -> CopyCheck:
    """Sum up the likeness of copies.

    Args:
        kinds: of each copy.
        origins: (C,) number of the picture that each is a copy of.
        pairs: (Q, 2) an image, and a copy numbered from ``count`` on.
        likeness: (Q,).
        count: number of images.
    """
    own, others = np.zeros(len(kinds), np.float32), np.zeros(len(kinds), np.float32)
    for (image, copy), value in zip(pairs.tolist(), likeness.tolist()):
        target = own if origins[copy - count] == image else others
        target[copy - count] = max(target[copy - count], value)
    return CopyCheck(kinds, own, others)


Forbidden = set[tuple[int, int]]
"""Pairs of numbers that no group may hold, each in both orders."""


def groups_of(
    pairs: Sequence[tuple[int, int]],
    forbidden: Forbidden,
    fits: Callable[[list[int], list[int]], bool] | None = None,
) -> list[list[int]]:
    """Join pairs to groups, the most alike first.

    Args:
        pairs: by falling likeness.
        forbidden: pairs that are not to be in one group, also not through others.
        fits: whether two groups may become one.
    """
    group_of: dict[int, list[int]] = {}
    for first, second in pairs:
        one, other = group_of.get(first, [first]), group_of.get(second, [second])
        if (
            one is other
            or any((a, b) in forbidden for a in one for b in other)
            or not (fits is None or fits(one, other))
        ):
            continue
        both = one + other
        for member in both:
            group_of[member] = both
    unique = {id(group): sorted(group) for group in group_of.values()}
    return sorted(unique.values())


def scene_groups(vectors: NDArray[np.float32], threshold: float, forbidden: Forbidden) -> list[list[int]]:
    """Group images of the same scene: any two of a group are nearly as alike as the threshold asks.

    Args:
        vectors: (N, D) unit norm.
        threshold: least cosine.
        forbidden: pairs that are no duplicates.
    """
    rows = torch.from_numpy(vectors)
    similarity, index = top_k(rows, rows, BY_VECTOR, exclude_self=True)
    pairs = paired(index)
    values = similarity.flatten()
    kept = values >= threshold
    pairs, values = pairs[kept], values[kept]
    order = values.argsort(descending=True, stable=True)
    ranked = list(dict.fromkeys((a, b) for a, b in pairs[order].tolist()))

    def fits(one: list[int], other: list[int]) -> bool:
        return float((vectors[one] @ vectors[other].T).min()) >= threshold - SLACK

    return groups_of(ranked, forbidden, fits)
