"""Grids of images: an anchor on the left, and in blocks beside it what was taken for its kin or for strangers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from viewkin.figures.board import Board, picture_of
from viewkin.figures.style import FAINT, INK, shortened, text_width

RIGHT, WRONG, UNKNOWN = "#1f8c54", "#ce3e3e", "#8c9096"
"""Frame of an image of the anchor's class, of another class, and where a label is missing."""
TILE, EDGE, STEP, LINE, BETWEEN, FIRST = 64.0, 3.0, 76.0, 20.0, 26.0, 110.0
"""Side of an image, width of its frame, distance of two, height of the line below, distance of two blocks; width of
the anchors' column, whose lines are class names."""


@dataclass(frozen=True)
class Tile:
    """An image of a grid."""

    image: Tensor
    """(3, S, S) uint8."""
    text: str = ""
    """Line below it."""
    frame: str | None = None
    """Colour of its frame."""


Block = tuple[str, Sequence[Sequence[Tile]]]
"""Title, and one row of tiles an anchor."""


def kin_tile(image: Tensor, own: int, other: int, similarity: float | None) -> Tile:
    """Frame what was taken for kin: green where the labels agree, red and crossed where not, grey where one is missing.

    Args:
        image: (3, S, S) uint8.
        own: label of the anchor, below 0 where it has none.
        other: label of the image.
        similarity: cosine to print, if known.
    """
    frame = UNKNOWN if min(own, other) < 0 else RIGHT if own == other else WRONG
    return Tile(image, _line("x " if frame == WRONG else "", similarity), frame)


def stranger_tile(image: Tensor, own: int, other: int, similarity: float | None) -> Tile:
    """Frame a negative that has the anchor's label, for it is none: red and crossed. Others get no frame."""
    false = own == other and own >= 0
    return Tile(image, _line("x " if false else "", similarity), WRONG if false else None)


def draw_grid(anchors: Sequence[Tile], blocks: Sequence[Block], note: str = "") -> Board:
    """Draw one line an anchor: the anchor, then every block's tiles of it, with the blocks' titles above.

    Args:
        anchors: the leftmost column.
        blocks: title and one row an anchor each; rows may be shorter than others.
        note: a sentence below, such as what the frames mean.
    """
    widths = [max((len(row) for row in rows), default=0) * STEP for _, rows in blocks]
    titles = [text_width(title, 14) + 2 * EDGE for title, _ in blocks]
    widths = [max(wide, min(title, 3 * STEP), STEP) for wide, title in zip(widths, titles)]
    total = 16 + FIRST + sum(BETWEEN + wide for wide in widths) + 8
    tall = 44 + len(anchors) * (STEP + LINE)
    board = Board(max(total, text_width(note, 12) + 32), tall + (28 if note else 8))
    board.write(16 + EDGE, 22, "anchor", 13, FAINT)
    for row, anchor in enumerate(anchors):
        _put(board, anchor, 16, 42 + row * (STEP + LINE), FIRST)
    left = 16 + FIRST + BETWEEN
    for (title, rows), wide in zip(blocks, widths):
        board.write(left + EDGE, 22, shortened(title, 14, wide), 14)
        board.box(left - BETWEEN / 2 - 3, 14, 1.5, tall - 22, "#d6dadf")
        for place, row in enumerate(rows):
            for column, tile in enumerate(row):
                _put(board, tile, left + column * STEP, 42 + place * (STEP + LINE), STEP)
        left += wide + BETWEEN
    board.write(16 + EDGE, tall + 10, note, 12, FAINT)
    return board


def _put(board: Board, tile: Tile, x: float, y: float, room: float) -> None:
    if tile.frame is not None:
        board.box(x, y, TILE + 2 * EDGE, TILE + 2 * EDGE, tile.frame)
    board.paste(picture_of(tile.image), x + EDGE, y + EDGE, TILE)
    if tile.text:
        text = shortened(tile.text, 12, room - 4)
        board.write(x + EDGE, y + TILE + 2 * EDGE + 9, text, 12, WRONG if tile.frame == WRONG else INK)


def _line(sign: str, similarity: float | None) -> str:
    return sign.strip() if similarity is None else f"{sign}{similarity:.2f}"
