"""Grids of images: an anchor on the left, and blocks of its positives or negatives beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from viewkin.figures.image_sheet import ImageSheet, to_pil
from viewkin.figures.style import FAINT, INK, shortened, text_width

RIGHT, WRONG, UNKNOWN = "#1f8c54", "#ce3e3e", "#8c9096"
"""Frame colour of an image of the anchor's class, of another class, and if a label is missing."""
TILE_SIDE, FRAME_WIDTH, TILE_PITCH, TEXT_HEIGHT, BLOCK_GAP, ANCHOR_WIDTH = 64.0, 3.0, 76.0, 20.0, 26.0, 110.0
"""Sizes in units; the pitch is the distance between the left edges of two tiles. The anchors' column is wider because
class names stand below its images."""
NAME_HEIGHT = 15.0
"""Height of a line with the name of a file, units."""


@dataclass(frozen=True)
class Tile:
    """An image of a grid."""

    image: Tensor
    """(3, S, S) uint8."""
    text: str = ""
    """Text below the image."""
    frame: str | None = None
    """Colour of the frame; None: no frame."""
    name: str = ""
    """Name of its file, on a line below the text; the end of a long one is kept, which tells files apart."""


Block = tuple[str, Sequence[Sequence[Tile]]]
"""Title, and one row of tiles per anchor."""


def positive_tile(image: Tensor, anchor_label: int, label: int, similarity: float | None) -> Tile:
    """Frame a positive: green if it has the anchor's label, red with an x if not, grey if a label is missing.

    Args:
        image: (3, S, S) uint8.
        anchor_label: label of the anchor; negative if it has none.
        label: label of the image.
        similarity: cosine to print, if known.
    """
    frame = UNKNOWN if min(anchor_label, label) < 0 else RIGHT if anchor_label == label else WRONG
    return Tile(image, _text("x " if frame == WRONG else "", similarity), frame)


def negative_tile(image: Tensor, anchor_label: int, label: int, similarity: float | None) -> Tile:
    """Frame a false negative, which has the anchor's label, red with an x; other negatives get no frame."""
    false = anchor_label == label and anchor_label >= 0
    return Tile(image, _text("x " if false else "", similarity), WRONG if false else None)


def draw_grid(anchors: Sequence[Tile], blocks: Sequence[Block], note: str = "") -> ImageSheet:
    """Draw one line per anchor: the anchor, then its tiles in every block, with the blocks' titles above.

    Args:
        anchors: the leftmost column.
        blocks: title and one row per anchor; rows may differ in length.
        note: a sentence below the grid, such as the meaning of the frames.
    """
    widths = [max((len(row) for row in rows), default=0) * TILE_PITCH for _, rows in blocks]
    titles = [text_width(title, 14) + 2 * FRAME_WIDTH for title, _ in blocks]
    widths = [max(width, min(title, 3 * TILE_PITCH), TILE_PITCH) for width, title in zip(widths, titles)]
    total = 16 + ANCHOR_WIDTH + sum(BLOCK_GAP + width for width in widths) + 8
    named = any(tile.name for tile in [*anchors, *(tile for _, rows in blocks for row in rows for tile in row)])
    pitch = TILE_PITCH + TEXT_HEIGHT + NAME_HEIGHT * named
    height = 44 + len(anchors) * pitch
    sheet = ImageSheet(max(total, text_width(note, 12) + 32), height + (28 if note else 8))
    sheet.write(16 + FRAME_WIDTH, 22, "anchor", 13, FAINT)
    for row, anchor in enumerate(anchors):
        _put(sheet, anchor, 16, 42 + row * pitch, ANCHOR_WIDTH)
    left = 16 + ANCHOR_WIDTH + BLOCK_GAP
    for (title, rows), width in zip(blocks, widths):
        sheet.write(left + FRAME_WIDTH, 22, shortened(title, 14, width), 14)
        sheet.box(left - BLOCK_GAP / 2 - 3, 14, 1.5, height - 22, "#d6dadf")
        for line, row in enumerate(rows):
            for column, tile in enumerate(row):
                _put(sheet, tile, left + column * TILE_PITCH, 42 + line * pitch, TILE_PITCH)
        left += width + BLOCK_GAP
    sheet.write(16 + FRAME_WIDTH, height + 10, note, 12, FAINT)
    return sheet


def _put(sheet: ImageSheet, tile: Tile, x: float, y: float, room: float) -> None:
    if tile.frame is not None:
        sheet.box(x, y, TILE_SIDE + 2 * FRAME_WIDTH, TILE_SIDE + 2 * FRAME_WIDTH, tile.frame)
    sheet.paste(to_pil(tile.image), x + FRAME_WIDTH, y + FRAME_WIDTH, TILE_SIDE)
    if tile.text:
        text = shortened(tile.text, 12, room - 4)
        sheet.write(
            x + FRAME_WIDTH, y + TILE_SIDE + 2 * FRAME_WIDTH + 9, text, 12, WRONG if tile.frame == WRONG else INK
        )
    if tile.name:
        below = y + TILE_SIDE + 2 * FRAME_WIDTH + 9 + (NAME_HEIGHT if tile.text else 0)
        sheet.write(x + FRAME_WIDTH, below, shortened(tile.name, 10, room - 6, keep_end=True), 10, FAINT)


def _text(mark: str, similarity: float | None) -> str:
    return mark.strip() if similarity is None else f"{mark}{similarity:.2f}"
