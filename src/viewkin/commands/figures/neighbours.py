"""Figures of features: neighbours and similarities."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from viewkin.commands.figures.evidence import evidence_pairs
from viewkin.commands.figures.inputs import FigureInputs, FigureRequest, check_drawing, class_names, keep
from viewkin.figures.grids import RIGHT, WRONG, Tile, draw_grid, kin_tile
from viewkin.figures.histograms import Panel, any_pairs, cosines, draw_histograms, nearest_cosines, positive_pairs
from viewkin.ops.neighbours import nearest_others, top_k
from viewkin.runtime.errors import UserError, require


def draw_neighbours(
    request: FigureRequest, queries: int, gallery: str | None, out: Path | None, console: Console, k: int = 8
) -> None:
    """Draw a few images with the eight most like them, by each model side by side.

    Args:
        request: models and images.
        queries: images that ask.
        gallery: split that answers; None: the one that asks.
        out: file to write.
        console: where to say so.
        k: neighbours of each.

    Raises:
        UserError: a model or set that is not there.
    """
    check_drawing(out)
    require(1 <= queries <= 40, "--queries", queries, "1 to 40")
    if gallery is not None:
        request = replace(request, splits=(*(request.splits or ("test",)), gallery))
        require(
            len(request.splits) == 2 and request.splits[0] != gallery, "--gallery", gallery, "a split beside one other"
        )
    look = FigureInputs(request)
    first = len(look.ids) if gallery is None else len(look.sources[0])
    labels = torch.full((len(look.ids),), -1) if look.labels is None else look.labels
    asked = askers(labels[:first], queries)
    names = class_names(look.labels, look.classes, len(look.ids))
    blocks: list[tuple[str, list[list[Tile]]]] = []
    for title, model in look.models:
        similarity, index = answered(look.rows(model), asked, None if gallery is None else first, k)
        rows = neighbour_rows(look.images, labels, asked, index, similarity)
        blocks.append((titled(title, rows), rows))
    anchors = [Tile(image, names[i]) for image, i in zip(look.images(asked), asked.tolist())]
    frames = "" if look.labels is None else "; green: of the anchor's class, red and x: of another"
    board = draw_grid(anchors, blocks, f"{k} nearest by cosine{frames}.")
    keep(board.figure(), "neighbours", f"Nearest neighbours among {look.about}", request.models, out, console)


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
    images: Callable[[Tensor], Iterable[Tensor]], labels: Tensor, asked: Tensor, index: Tensor, similarity: Tensor
) -> list[list[Tile]]:
    """Tiles of the neighbours of some images, framed by the labels.

    Args:
        images: gives the pixels (3, S, S) of each of some positions.
        labels: (N,) int64, -1 where there is none.
        asked: (Q,) images that ask.
        index: (Q, k) neighbours.
        similarity: (Q, k) their cosines.
    """
    return [
        [
            kin_tile(image, int(labels[own]), int(labels[i]), cosine)
            for image, i, cosine in zip(images(near), near.tolist(), cosines.tolist())
        ]
        for own, near, cosines in zip(asked.tolist(), index, similarity)
    ]


def titled(title: str, rows: list[list[Tile]]) -> str:
    """Add to a block's title how many of its tiles are of the anchor's class."""
    frames = [tile.frame for row in rows for tile in row]
    judged = sum(frame in (RIGHT, WRONG) for frame in frames)
    return f"{title}: {100 * frames.count(RIGHT) / judged:.0f} % right" if judged else title


def draw_similarities(
    request: FigureRequest, of: str, nearest: float | None, out: Path | None, console: Console
) -> None:
    """Draw how alike positives are, against any two images and each image's nearest, by each model side by side.

    Args:
        request: models and images.
        of: what positives are, ``label`` or ``evidence``.
        nearest: share of all images that count as the nearest of one, 0 to 1; None: these are not drawn.
        out: file to write.
        console: what the file's name is printed on.

    Raises:
        UserError: no labels, or no evidence, to say what positives are.
    """
    check_drawing(out)
    require(nearest is None or 0 < nearest < 1, "--nearest", nearest, "a share between 0 and 1, such as 0.01")
    require(of in ("label", "evidence"), "--of", of, "label or evidence")
    if of == "evidence":
        look, pairs = evidence_pairs(request)
    else:
        look = FigureInputs(request)
        if look.labels is None:
            raise UserError(f"{look.place} has no labels to say what positives are; take --of evidence.")
        pairs = positive_pairs(look.labels)
    if not len(pairs):
        raise UserError(f"No two of the {look.about} are positives of each other; take more with --most.")
    panels: list[Panel] = []
    for title, model in look.models:
        rows = look.rows(model)
        kinds = [cosines(rows, pairs), cosines(rows, any_pairs(len(rows)))]
        panels.append((title, kinds if nearest is None else [*kinds, nearest_cosines(rows, nearest)]))
    positives = "two images of one class" if of == "label" else "anchor and positive"
    figure = draw_histograms(panels, positives, "" if nearest is None else f"an image and its nearest {nearest:.2g}")
    keep(figure, "similarities", f"Cosines of positives and of any two of {look.about}", request.models, out, console)
