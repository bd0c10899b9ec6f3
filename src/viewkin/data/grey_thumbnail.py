"""A whole picture as a small grey square, to compare pictures by their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from viewkin.data.decode import Readable, decode
from viewkin.data.values import Range

WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Of red, green and blue in a grey level (ITU-R BT.601)."""


def grey_thumbnail(image: Readable, side: int, value_range: Range | None = None) -> NDArray[np.float32] | None:
    """Squeeze an upright picture into a square of grey levels 0 to 255: (side, side); None where it cannot be read."""
    pixels = decode(image, side, squash=True, value_range=value_range)
    return None if isinstance(pixels, str) else np.tensordot(WEIGHTS, pixels.astype(np.float32), 1)
