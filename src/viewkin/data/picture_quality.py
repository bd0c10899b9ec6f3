"""Measures of a picture's technical quality, from its pixels alone.

* *blur*: how little a picture changes when it is blurred once more (Crete et al.), 0 sharp to 1 blurred. It is taken in
  blocks, and the sharpest block counts, so that a photograph with a blurred background is sharp. Blocks without
  contrast tell nothing; a picture that has no other is not judged.
* *light*: the grey level that 95 % of the pixels are below: low in a dark picture.
* *shadow*: the grey level that 95 % of the pixels are above: high in an overexposed picture.
* *contrast*: the standard deviation of grey levels within blocks, in all but the liveliest tenth of them.

References:
    Crete, Dolmiere, Ladret and Nicolas, The blur effect: perception and estimation with a new no-reference perceptual
    blur metric, 2007, equations 1 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from viewkin.data.decode import Readable, shape
from viewkin.data.grey_thumbnail import grey_thumbnail
from viewkin.data.values import Range

SIDE = 256
"""Side of the square that is looked at, pixels; that of a smaller picture is its own."""
LEAST_SIDE = 8
"""Shorter side of the smallest picture that is looked at, pixels."""
BLOCKS, BLOCK = 4, 24
"""Most blocks across and down in which blur is measured, and the least side of one, pixels."""
CONTRAST_BLOCKS = 8
"""Blocks across and down in which contrast is measured."""
TAPS = 9
"""Length of the mean that a picture is blurred by once more, pixels."""
SEEN = 6.0
"""Standard deviation of a block's grey levels below which its blur tells nothing."""
LIGHT, SHADOW, LIVELY = 95, 5, 90
"""Percentiles."""


@dataclass(frozen=True)
class PictureQuality:
    """Measures of one picture."""

    blur: float | None
    """0 sharp to 1 blurred; None where no block has contrast."""
    light: float
    """Grey level, 0 to 255."""
    shadow: float
    """Grey level, 0 to 255."""
    contrast: float
    """Grey levels."""


def picture_quality(image: Readable, value_range: Range | None = None) -> PictureQuality | None:
    """Measure a picture; None where it cannot be read."""
    size = shape(image)
    side = SIDE if size is None else max(LEAST_SIDE, min(SIDE, *size))
    grey = grey_thumbnail(image, side, value_range)
    if grey is None:
        return None
    light, shadow = (float(level) for level in np.percentile(grey, (LIGHT, SHADOW)))
    deviations = [float(block.std()) for block in blocks_of(grey, CONTRAST_BLOCKS)]
    return PictureQuality(blur_of(grey), light, shadow, float(np.percentile(deviations, LIVELY)))


def blur_of(grey: NDArray[np.float32]) -> float | None:
    """Measure the blur of the sharpest block with contrast, (S, S) grey levels; None where there is none."""
    count = max(1, min(BLOCKS, len(grey) // BLOCK))
    found = [blur_of_block(block) for block in blocks_of(grey, count) if block.std() >= SEEN]
    return min(found) if found else None


def blur_of_block(block: NDArray[np.float32]) -> float:
    """Measure the blur of a block: the larger of that across and that down."""
    return max(_blur_along(block), _blur_along(block.T))


def _blur_along(block: NDArray[np.float32]) -> float:
    """Compare the differences of neighbours with those that are left after a mean of some pixels along the rows."""
    padded = np.pad(block, ((0, 0), (TAPS // 2, TAPS // 2)), mode="edge")
    total = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1)
    mean = (total[:, TAPS:] - total[:, :-TAPS]) / TAPS
    before, after = np.abs(np.diff(block, axis=1)), np.abs(np.diff(mean, axis=1))
    lost = np.maximum(before - after, 0)
    return float(1 - lost.sum() / max(float(before.sum()), 1e-6))


def blocks_of(grey: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]:
    """Cut a square into ``count`` x ``count`` blocks."""
    edges = np.linspace(0, len(grey), count + 1).round().astype(int)
    pairs = [(a, b) for a, b in pairwise(edges) if b > a]
    return [grey[top:bottom, left:right] for top, bottom in pairs for left, right in pairs]
