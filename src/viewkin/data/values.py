"""Images of more than 8 bits: which values become black and white, fixed once for a set."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Range = tuple[float, float]
"""The values that become black and white."""
SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of 16-bit grey."""
WIDE = ("I", "F", *SIXTEEN)
"""Pillow's modes of more than 8 bits."""
FULL: Range = (0.0, 65535.0)
"""The range of 16 bits."""
LIMITS = (1.0, 255.0, 65535.0)
"""Upper ends of the ranges that numbers from 0 on usually have: shares, 8 bits, 16 bits."""
TAILS = (0.1, 99.9)
"""Percentiles that become black and white where values have no usual range."""
PIXELS = 4096
"""Values of each image that are looked at to choose a range."""
NATIVE = "B" if sys.byteorder == "little" else "L"
"""The byte order that is not this machine's."""


class UnrangedError(Exception):
    """An image has more than 8 bits, and no range has been chosen for the set."""


def is_wide(image: Image.Image) -> bool:
    """Whether a grey image has more than 8 bits."""
    return image.mode in WIDE


def swapped_mode(image: Image.Image) -> str | None:
    """Name the raw mode by which Pillow reads the lower byte of 16-bit colours; None for any other image.

    Pillow keeps the upper byte alone. Read as numbers of the other byte order, it keeps the lower one.
    """
    tiles: list[Any] = list(getattr(image, "tile", []))
    raw = {tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in tiles if tile[3]}
    if len(raw) != 1 or image.mode not in ("RGB", "RGBA"):
        return None
    mode, _, order = str(raw.pop()).partition(";16")
    if mode != image.mode or order not in ("B", "L", "N"):
        return None
    return f"{mode};16{ {'B': 'L', 'L': 'B', 'N': NATIVE}[order] }"


def read_lower_bytes(image: Image.Image, raw_mode: str) -> NDArray[np.uint8]:
    """Load the lower bytes of an image of 16-bit colours that is not loaded yet: (H, W, C)."""
    holder: Any = image
    holder.tile = [
        tile._replace(args=raw_mode if isinstance(tile[3], str) else (raw_mode, *tile[3][1:])) for tile in holder.tile
    ]
    holder.load()
    return np.asarray(image)


def deep_values(upper: Image.Image, lower: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Put both bytes of 16-bit colours together: (H, W, 3)."""
    return np.asarray(upper).astype(np.float64)[..., :3] * 256 + lower[..., :3]


def grey_values(image: Image.Image) -> NDArray[np.float64]:
    """Give the values of a wide grey image: (H, W)."""
    return np.asarray(image).astype(np.float64)


def usual_range(values: NDArray[np.float64], mode: str) -> Range:
    """Give the range that the type of an image by itself suggests: 16 bits whole, floats 0..1 or 0..255."""
    if mode != "F":
        return FULL
    return (0.0, 1.0) if values.size and np.nanmax(values) <= 1 else (0.0, 255.0)


def eight_bits(values: NDArray[np.float64], value_range: Range) -> NDArray[np.uint8]:
    """Map a range to 0..255; what lies outside is cut, and what is no number is black."""
    low, high = value_range
    scaled = np.nan_to_num((values - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    return (scaled.clip(0, 1) * 255).round().astype(np.uint8)


def thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take some 4,096 values of an image, spread evenly, without those that are no numbers."""
    step = max(1, int((values.size / PIXELS) ** 0.5))
    some = values[::step, ::step].reshape(-1)
    return some[np.isfinite(some)]


def chosen_range(samples: list[NDArray[np.float64]]) -> Range:
    """Choose the range of a set by values of a sample of its images.

    A usual range is taken where the values keep to it and span at least half of it, such as 0..65535 of 16 bits; else
    0.1 % of the values become black, and as many white.
    """
    values = np.concatenate([*samples, np.zeros(0)])
    if not values.size:
        return FULL
    low, high = (float(edge) for edge in np.percentile(values, TAILS))
    for top in LIMITS:
        if values.min() >= 0 and values.max() <= top and high - low >= top / 2:
            return 0.0, top
    return (low, high) if high > low else (low, low + 1)
