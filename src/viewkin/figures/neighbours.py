"""The neighbour sheet: what the features hold to be alike, to be judged by eye."""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from viewkin.errors import UserError
from viewkin.neighbours import top_k

RIGHT, WRONG, UNKNOWN = (31, 140, 84), (206, 62, 62), (140, 144, 150)
"""Frame of a neighbour of the query's class, of another class, and where a label is missing."""
PAPER, INK, FAINT = (255, 255, 255), (36, 40, 46), (120, 124, 130)
FRAME, GAP, TEXT = 4, 8, 18
"""Pixels: width of a frame, distance of tiles, height of the line under a tile."""


def neighbour_sheet(
    images: Tensor,
    query_index: Tensor,
    neighbour_index: Tensor,
    similarity: Tensor,
    labels: Tensor | None = None,
    *,
    tile: int = 96,
) -> bytes:
    """Draw a row per query: the query, then its neighbours, nearest first, each with its cosine.

    The frame is green where the neighbour has the query's class and red (with a cross before the number) where it has
    another; grey where a label is missing.

    Args:
        images: (N, 3, S, S) uint8, every image that is drawn.
        query_index: (Q,) rows of ``images``.
        neighbour_index: (Q, K) rows of ``images``; the published sheets have K = 8.
        similarity: (Q, K) cosines.
        labels: (N,) integers, negative where unknown, or None.
        tile: side of a drawn image, pixels.

    Returns:
        A PNG file.

    Raises:
        UserError: shapes that do not fit together.
    """
    _check(images, query_index, neighbour_index, similarity, labels)
    queries, count = neighbour_index.shape
    font = _font(13)
    cell, head = tile + 2 * FRAME + GAP, 22
    sheet = Image.new("RGB", (cell * (count + 1) + 3 * GAP, (cell + TEXT) * queries + head + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 4), "query", fill=FAINT, font=font)
    draw.text((cell + 3 * GAP, 4), "nearest first, with cosine", fill=FAINT, font=font)
    known = None if labels is None else labels.tolist()
    for row, query in enumerate(query_index.tolist()):
        top = head + row * (cell + TEXT)
        sheet.paste(_tile(images[query], tile), (GAP + FRAME, top + FRAME))
        for place, neighbour in enumerate(neighbour_index[row].tolist()):
            left = (place + 1) * cell + 3 * GAP
            colour = _frame_colour(known, query, neighbour)
            draw.rectangle((left, top, left + tile + 2 * FRAME - 1, top + tile + 2 * FRAME - 1), fill=colour)
            sheet.paste(_tile(images[neighbour], tile), (left + FRAME, top + FRAME))
            text = f"{float(similarity[row, place]):.2f}"
            text = f"x {text}" if colour == WRONG else text
            draw.text(
                (left + FRAME, top + tile + 2 * FRAME + 2), text, fill=WRONG if colour == WRONG else INK, font=font
            )
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def nearest_others(rows: Tensor, asked: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the k rows most like each of some rows, but for these themselves.

    Args:
        rows: (N, D) unit norm.
        asked: (Q,) rows that ask.
        k: neighbours.

    Returns:
        Cosine (Q, k) falling, and row (Q, k) int64; fewer than k where there are no more.
    """
    similarity, index = top_k(rows[asked], rows, k + 1)
    # The image itself is its own nearest; leave it out by name, since a duplicate may come first.
    own = index == asked.unsqueeze(1)
    own[:, -1] |= ~own.any(1)
    kept = (~own).sort(dim=1, descending=True, stable=True).indices[:, : index.shape[1] - 1].sort(dim=1).values
    return similarity.gather(1, kept), index.gather(1, kept)


def _check(images: Tensor, query: Tensor, neighbour: Tensor, similarity: Tensor, labels: Tensor | None) -> None:
    """Refuse what cannot be drawn."""
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise UserError(f"a neighbour sheet needs (N, 3, S, S) uint8 images, not {tuple(images.shape)} {images.dtype}.")
    if neighbour.ndim != 2 or len(neighbour) != len(query) or similarity.shape != neighbour.shape:
        raise UserError(
            f"{len(query)} queries come with neighbours {tuple(neighbour.shape)} and similarities "
            f"{tuple(similarity.shape)}: give one row of both a query."
        )
    if labels is not None and len(labels) != len(images):
        raise UserError(f"{len(images)} images come with {len(labels)} labels: give one each, -1 where unknown.")


def _frame_colour(labels: list[int] | None, query: int, neighbour: int) -> tuple[int, int, int]:
    """Colour of a neighbour's frame."""
    if labels is None or min(labels[query], labels[neighbour]) < 0:
        return UNKNOWN
    return RIGHT if labels[query] == labels[neighbour] else WRONG


def _tile(image: Tensor, side: int) -> Image.Image:
    """One image (3, S, S) uint8 at the drawn size; bicubic, and antialiased where it shrinks."""
    scaled = F.interpolate(image[None].float().cpu(), (side, side), mode="bicubic", antialias=True)[0]
    return Image.fromarray(scaled.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy())


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font; without FreeType, or before Pillow 10.1, it has one size only."""
    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError):
        return ImageFont.load_default()
