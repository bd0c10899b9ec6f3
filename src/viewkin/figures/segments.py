"""Which component of AMDIM's mixture answers for which part of an image, laid over the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from viewkin.figures.board import Board, picture_of, rgb
from viewkin.figures.style import COLOURS

TILE, GAP, COLUMNS, KEY = 128.0, 12.0, 4, 120.0
"""Side of an image, distance of two pairs, pairs in a line, width of an entry of the key; units."""
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
    table = np.array([rgb(colour) for colour in COLOURS], dtype=np.uint8)
    colours = Image.fromarray(table[(parts % len(COLOURS)).cpu().numpy()])
    return Image.blend(under, colours.resize((side, side), Image.Resampling.NEAREST), SHARE)


def draw_segments(images: Sequence[Tensor], parts: Sequence[Tensor], what: str) -> Board:
    """Draw pairs of an image and its overlay, four in a line.

    Args:
        images: (3, S, S) uint8 each.
        parts: (h, w) each.
        what: which map of the network the parts are of.
    """
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    pair = 2 * TILE + 4 + GAP
    used = sorted({int(c) for part in parts for c in torch.unique(part)})
    across = max(int((columns * pair - GAP) // KEY), 1)
    bottom = 42 + rows * (TILE + GAP)
    board = Board(columns * pair + GAP, bottom + 20 * -(-len(used) // across) + 8)
    board.write(GAP, 20, f"Component that answers for each part ({what})", 14)
    for place, (image, part) in enumerate(zip(images, parts)):
        x, y = GAP + place % columns * pair, 42 + place // columns * (TILE + GAP)
        board.paste(picture_of(image), x, y, TILE)
        board.paste(overlay(image, part), x + TILE + 4, y, TILE)
    # Components have a colour each; beyond eight they come again, and the overlay cannot tell these apart.
    for place, component in enumerate(used):
        x, y = GAP + place % across * KEY, bottom + 20 * (place // across)
        board.box(x, y + 3, 13, 13, COLOURS[component % len(COLOURS)])
        board.write(x + 18, y + 10, f"component {component + 1}")
    return board
