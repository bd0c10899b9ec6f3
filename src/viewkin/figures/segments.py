"""Which component of AMDIM's mixture answers for which part of an image, laid over the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from viewkin.figures.canvas import COLOURS, Canvas, Picture, Text, legend, sign_of
from viewkin.figures.grids import picture_of

TILE, GAP, COLUMNS = 128.0, 12.0, 4
SHARE = 0.55
"""Weight of the colour over the image."""


def overlay(image: Tensor, parts: Tensor) -> Image.Image:
    """Colour an image by its parts' components.

    Args:
        image: (3, S, S) uint8.
        parts: (h, w) component of each part; parts lie on a regular grid over the image.
    """
    side = max(image.shape[-1], 128)
    under = picture_of(image).resize((side, side), Image.Resampling.BICUBIC)
    table = np.array(COLOURS, dtype=np.uint8)
    colours = Image.fromarray(table[(parts % len(COLOURS)).cpu().numpy()])
    return Image.blend(under, colours.resize((side, side), Image.Resampling.NEAREST), SHARE)


def draw_segments(images: Sequence[Tensor], parts: Sequence[Tensor], what: str) -> Canvas:
    """Draw pairs of an image and its overlay, four in a line.

    Args:
        images: (3, S, S) uint8 each.
        parts: (h, w) each.
        what: which map of the network the parts are of.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    pair = 2 * TILE + 4 + GAP
    width = columns * pair + GAP
    used = sorted({int(c) for part in parts for c in torch.unique(part)})
    # Components have a colour each; beyond eight they come again, and the overlay cannot tell these apart.
    entries = [(f"component {c + 1}", sign_of(c % len(COLOURS))[0], "square") for c in used]
    key, tall = legend(entries, GAP, 50 + rows * (TILE + GAP), width - 2 * GAP)  # type: ignore[arg-type]
    canvas = Canvas(width, 58 + rows * (TILE + GAP) + tall)
    canvas.add(Text(GAP, 20, f"Component that answers for each part ({what})", 14))
    for place, (image, part) in enumerate(zip(images, parts)):
        x, y = GAP + place % columns * pair, 42 + place // columns * (TILE + GAP)
        canvas.add(Picture(x, y, TILE, TILE, picture_of(image)))
        canvas.add(Picture(x + TILE + 4, y, TILE, TILE, overlay(image, part)))
    canvas.add(*key)
    return canvas
