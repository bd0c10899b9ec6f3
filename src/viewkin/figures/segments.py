"""Overlays that colour the parts of an image by the component of AMDIM's mixture that they are assigned to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from viewkin.figures.image_sheet import ImageSheet, rgb, to_pil
from viewkin.figures.style import COLOURS

TILE_SIDE, GAP, COLUMNS, KEY = 128.0, 12.0, 4, 120.0
"""Side of an image, gap between two pairs, pairs per line, width of an entry of the colour key; lengths in units."""
COLOUR_WEIGHT = 0.55
"""Weight of the colour in the blend with the image."""


def overlay(image: Tensor, parts: Tensor) -> Image.Image:
    """Colour the parts of an image by their components.

    Args:
        image: (3, S, S) uint8.
        parts: (h, w) component of each part; the parts form a regular grid over the image.
    """
    side = max(image.shape[-1], 128)
    under = to_pil(image).resize((side, side), Image.Resampling.BICUBIC)
    table = np.array([rgb(colour) for colour in COLOURS], dtype=np.uint8)
    colours = Image.fromarray(table[(parts % len(COLOURS)).cpu().numpy()])
    return Image.blend(under, colours.resize((side, side), Image.Resampling.NEAREST), COLOUR_WEIGHT)


def draw_segments(images: Sequence[Tensor], parts: Sequence[Tensor], what: str) -> ImageSheet:
    """Draw pairs of an image and its overlay, four per line.

    Args:
        images: (3, S, S) uint8 each.
        parts: (h, w) each.
        what: name of the feature map that the parts belong to.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    pair = 2 * TILE_SIDE + 4 + GAP
    used = sorted({int(c) for part in parts for c in torch.unique(part)})
    across = max(int((columns * pair - GAP) // KEY), 1)
    bottom = 42 + rows * (TILE_SIDE + GAP)
    sheet = ImageSheet(columns * pair + GAP, bottom + 20 * -(-len(used) // across) + 8)
    sheet.write(GAP, 20, f"Component that answers for each part ({what})", 14)
    for place, (image, part) in enumerate(zip(images, parts)):
        x, y = GAP + place % columns * pair, 42 + place // columns * (TILE_SIDE + GAP)
        sheet.paste(to_pil(image), x, y, TILE_SIDE)
        sheet.paste(overlay(image, part), x + TILE_SIDE + 4, y, TILE_SIDE)
    # After eight components the colours repeat.
    for place, component in enumerate(used):
        x, y = GAP + place % across * KEY, bottom + 20 * (place // across)
        sheet.box(x, y + 3, 13, 13, COLOURS[component % len(COLOURS)])
        sheet.write(x + 18, y + 10, f"component {component + 1}")
    return sheet
