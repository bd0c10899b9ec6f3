"""How much one picture looks like another, or like a part of it, pixel by pixel, at 32 x 32 grey levels.

An embedding tells that two pictures show the same kind of thing; only their pixels tell that they are the same picture.
Each picture is laid over the other at several scales and places, as if it had been cut from it, and the best agreement
counts. *Agreement* is the mean of two normalised cross-correlations: of the grey levels, and of what remains of them
after a 5 x 5 mean was subtracted. The first finds where a part lies. The second tells apart pictures that share only
light and background.

Letters: N pictures, S side of a thumbnail, P candidates of one picture, L places of a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from viewkin.runtime.progress import progress_bar

SIDE = 32
"""Side of a thumbnail, pixels."""
WINDOWS = (32, 31, 30, 29, 28, 27, 26, 25)
"""Sides of the parts that a picture is compared with: down to 78 % of the other's side."""
COARSE = 16
"""Side at which candidates are sorted out first."""
COARSE_WINDOWS = (16, 15, 14, 13)
"""The same parts at that side."""
COARSE_LEAST = 0.7
"""Agreement of grey levels at the coarse side below which a candidate is dropped; a copy has 0.9."""
FLAT = 2.0
"""A quarter of it, in grey levels, is added to a picture's deviation: flat ones do not agree by their noise."""
BLUR = 5
"""Side of the mean that is subtracted for the details, pixels."""


@dataclass(frozen=True)
class Thumbnails:
    """Grey pictures at two sides."""

    fine: Tensor
    """(N, 32, 32) float32, grey levels 0 to 255."""

    @property
    def coarse(self) -> Tensor:
        """(N, 16, 16)."""
        return resized(self.fine, COARSE)


def likeness_of_pairs(thumbnails: Tensor, pairs: Tensor, *, progress: bool = True) -> Tensor:
    """Tell how much the pictures of each pair agree.

    Args:
        thumbnails: (N, 32, 32) float32, grey levels 0 to 255, the whole picture squeezed into a square.
        pairs: (Q, 2) int64, each with the lower number first.
        progress: whether to show a bar.

    Returns:
        (Q,) float32, 1 for the same picture; 0 where a candidate was dropped.
    """
    likeness = torch.zeros(len(pairs))
    coarse = resized(thumbnails, COARSE)
    both = torch.cat([pairs, pairs.flip(1)])
    number = torch.arange(len(pairs)).repeat(2)
    with progress_bar("Comparing", len(thumbnails), shown=progress) as bar:
        for one, places in grouped(both[:, 0]):
            bar.update(one)
            others = both[places, 1]
            kept = agreement(coarse[one], coarse[others], COARSE_WINDOWS) >= COARSE_LEAST
            if not bool(kept.any()):
                continue
            places, others = places[kept], others[kept]
            grey = agreement(thumbnails[one], thumbnails[others], WINDOWS)
            fine = agreement(details(thumbnails[one : one + 1])[0], thumbnails[others], WINDOWS, of_details=True)
            value = (grey + fine) / 2
            likeness[number[places]] = torch.maximum(likeness[number[places]], value)
    return likeness


def agreement(whole: Tensor, parts: Tensor, windows: Sequence[int], *, of_details: bool = False) -> Tensor:
    """Lay each of some pictures over windows of one and give the best normalised cross-correlation.

    Args:
        whole: (S, S), the picture that the others may be cut from.
        parts: (P, S, S).
        windows: sides of the windows.
        of_details: compare details; ``whole`` holds them already.

    Returns:
        (P,) float32, -1 to 1.
    """
    best = torch.full((len(parts),), -1.0)
    for side in windows:
        part = resized(parts, side)
        part = normalised((details(part) if of_details else part).flatten(1))
        window = normalised(whole.unfold(0, side, 1).unfold(1, side, 1).reshape(-1, side * side))
        best = torch.maximum(best, (part @ window.T).amax(1))
    return best


def normalised(rows: Tensor) -> Tensor:
    """Subtract the mean of each row and scale it to length 1; a flat one is left short."""
    rows = rows - rows.mean(1, keepdim=True)
    return rows / (rows.norm(dim=1, keepdim=True) + FLAT * rows.shape[1] ** 0.5 / 4)


def details(pictures: Tensor) -> Tensor:
    """Subtract from each pixel of (P, S, S) the mean of those around it."""
    margin = BLUR // 2
    padded = functional.pad(pictures.unsqueeze(1), (margin,) * 4, mode="replicate")
    return pictures - functional.avg_pool2d(padded, BLUR, 1)[:, 0]


def resized(pictures: Tensor, side: int) -> Tensor:
    """Resize (P, S, S) to another side, antialiased."""
    if pictures.shape[-1] == side:
        return pictures
    matrix = functional.interpolate(
        torch.eye(pictures.shape[-1]).view(1, 1, pictures.shape[-1], -1),
        (side, pictures.shape[-1]),
        mode="bilinear",
        antialias=True,
    )[0, 0]
    return matrix @ pictures @ matrix.T


def grouped(numbers: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Give each number that occurs with the places where it does."""
    if not len(numbers):
        return
    order = numbers.argsort(stable=True)
    found, counts = numbers[order].unique_consecutive(return_counts=True)
    yield from zip(found.tolist(), order.split(counts.tolist()))
