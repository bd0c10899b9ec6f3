"""Figures of features: neighbours and similarities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from viewkin.commands.figures.inputs import Drawing, FigureInputs, FigureRequest, class_names
from viewkin.figures.image_grid import RIGHT, WRONG, Tile, draw_grid, positive_tile
from viewkin.ops.neighbours import nearest_others, top_k
from viewkin.runtime.errors import require


def draw_neighbours(request: FigureRequest, queries: int, gallery: str | None, k: int = 8) -> Drawing:
    """Draw a few images with the eight most like them, by each model side by side.

    Args:
        request: models and images.
        queries: images that ask.
        gallery: split that answers; None: the one that asks.
        k: neighbours of each.

    Raises:
        UserError: a model or set that is not there.
    """
    require(1 <= queries <= 40, "--queries", queries, "1 to 40")
    if gallery is not None:
        request = replace(request, splits=(*(request.splits or ("test",)), gallery))
        require(
            len(request.splits) == 2 and request.splits[0] != gallery, "--gallery", gallery, "a split beside one other"
        )
    look = FigureInputs(request)
    first = len(look.keys) if gallery is None else len(look.sources[0])
    labels = torch.full((len(look.keys),), -1) if look.labels is None else look.labels
    asked = askers(labels[:first], queries)
    names = class_names(look.labels, look.classes, len(look.keys))
    blocks: list[tuple[str, list[list[Tile]]]] = []
    for title, model in look.models:
        similarity, index = answered(look.rows(model), asked, None if gallery is None else first, k)
        rows = neighbour_rows(look.images, labels, asked, index, similarity)
        blocks.append((titled(title, rows), rows))
    anchors = [Tile(image, names[i]) for image, i in zip(look.images(asked), asked.tolist())]
    frames = "" if look.labels is None else "; green: of the anchor's class, red and x: of another"
    board = draw_grid(anchors, blocks, f"{k} nearest by cosine{frames}.")
    return Drawing(board.figure(), "neighbours", f"Nearest neighbours among {look.about}", request.models)


def askers(labels: Tensor, count: int) -> Tensor:
    """Choose images that ask: of the classes in turn, of some evenly spread where these are more; else evenly spread.

    Args:
        labels: (N,) int64, -1 where there is none.
        count: images wanted, as far as there are.
    """
    classes = labels[labels >= 0].unique()
    if not len(classes):
        return torch.linspace(0, len(labels) - 1, min(count, len(labels))).long().unique()
    shown = classes[torch.linspace(0, len(classes) - 1, min(count, len(classes))).long()]
    turns = [
        (turn, place, int(row)) for place, one in enumerate(shown) for turn, row in enumerate((labels == one).nonzero())
    ]
    return torch.tensor([row for *_, row in sorted(turns)[:count]])


def answered(rows: Tensor, asked: Tensor, gallery: int | None, k: int) -> tuple[Tensor, Tensor]:
    """Find the k nearest of some rows among all others, or among those from row ``gallery`` on: cosine, row."""
    if gallery is None:
        return nearest_others(rows, asked, k)
    similarity, index = top_k(rows[asked], rows[gallery:], k)
    return similarity, index + gallery


def neighbour_rows(
    images: Callable[[Tensor], Iterable[Tensor]],
    labels: Tensor,
    asked: Tensor,
    index: Tensor,
    similarity: Tensor,
    names: Sequence[str] = (),
) -> list[list[Tile]]:
    """Tiles of the neighbours of some images, framed by the labels.

    Args:
        images: gives the pixels (3, S, S) of each of some positions.
        labels: (N,) int64, -1 where there is none.
        asked: (Q,) images that ask.
        index: (Q, k) neighbours.
        similarity: (Q, k) their cosines.
        names: names of the N images to write below them; none: no names.
    """
    return [
        [
            replace(positive_tile(image, int(labels[own]), int(labels[i]), cosine), name=names[i] if names else "")
            for image, i, cosine in zip(images(near), near.tolist(), cosines.tolist())
        ]
        for own, near, cosines in zip(asked.tolist(), index, similarity)
    ]


def titled(title: str, rows: list[list[Tile]]) -> str:
    """Add to a block's title how many of its tiles are of the anchor's class."""
    frames = [tile.frame for row in rows for tile in row]
    judged = sum(frame in (RIGHT, WRONG) for frame in frames)
    return f"{title}: {100 * frames.count(RIGHT) / judged:.0f} % right" if judged else title
