"""Some images side by side under a title."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from viewkin.figures.image_sheet import ImageSheet
from viewkin.figures.style import FAINT

COLUMNS, TILES = 8, 40
"""Images of a line, and of a sheet at most."""
SIDE, GAP, MARGIN, TITLE = 76.0, 4.0, 12.0, 34.0
"""Sizes in units."""
EMPTY = "#e6e8ec"
"""Colour of an image that could not be read."""


def contact_sheet(title: str, images: Sequence[Image.Image | None]) -> ImageSheet:
    """Draw images in lines, in their order; a grey tile stands for one that could not be read."""
    lines = max(1, -(-len(images) // COLUMNS))
    pitch = SIDE + GAP
    sheet = ImageSheet(2 * MARGIN + COLUMNS * pitch - GAP, MARGIN + TITLE + lines * pitch)
    sheet.write(MARGIN, MARGIN + TITLE / 2 - 6, title, 13)
    for place, image in enumerate(images[:TILES]):
        x, y = MARGIN + place % COLUMNS * pitch, MARGIN + TITLE + place // COLUMNS * pitch
        if image is None:
            sheet.box(x, y, SIDE, SIDE, EMPTY)
            sheet.write(x + 8, y + SIDE / 2, "not there", 10, FAINT)
        else:
            sheet.paste(image, x, y, SIDE)
    return sheet
