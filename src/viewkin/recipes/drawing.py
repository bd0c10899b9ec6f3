"""Figures of features: maps, neighbours, similarities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from viewkin.augment.views import ViewMaker
from viewkin.draws import generator_for
from viewkin.errors import UserError, require
from viewkin.evaluate.embeddings import Embeddings, read_embeddings
from viewkin.figures.grids import Tile, draw_grid, kin_tile
from viewkin.figures.histograms import Panel, any_pairs, cosines, draw_histograms, positive_pairs
from viewkin.figures.maps import PROJECTIONS, draw_maps
from viewkin.figures.neighbours import RIGHT, WRONG, nearest_others
from viewkin.memory.kmeans import kmeans
from viewkin.neighbours import top_k
from viewkin.recipes.looking import Look, LookRequest, check_target, folder_of, keep
from viewkin.recipes.models import Model
from viewkin.recipes.showing import evidence_pairs

BY = ("auto", "label", "folder", "split", "cluster")
WAYS = {"tsne": "t-SNE", "umap": "UMAP"}
VIEWED = 40
"""Images of a map that shows several augmentations of each."""


@dataclass(frozen=True, kw_only=True)
class MapRequest:
    """How to draw a map."""

    look: LookRequest
    """Models and images; models may be files that ``viewkin embed`` wrote, all of the same images."""
    by: str = "auto"
    """``label``, ``folder``, ``split``, ``cluster``; ``auto``: the first of label, folder and cluster that tells."""
    way: str = "tsne"
    """``tsne`` or ``umap``."""
    views: int = 1
    """Augmentations of each image; 1: the image as it is."""
    clusters: int = 10
    """k-means clusters of the first model's features, where it is these that colour."""
    seed: int = 0
    """Of the map and the clusters."""
    out: Path | None = None
    """File to write."""


def draw_map(request: MapRequest, console: Console) -> None:
    """Draw embeddings in the plane, models side by side.

    Raises:
        UserError: a setting, model, set or optional library that is not there.
    """
    check_target(request.out)
    require(request.by in BY, "--by", request.by, f"one of {', '.join(BY)}")
    require(request.way in PROJECTIONS, "--way", request.way, f"one of {', '.join(PROJECTIONS)}")
    require(1 <= request.views <= 64, "--views", request.views, "1 to 64")
    require(request.clusters >= 2, "--clusters", request.clusters, "at least 2")
    files = [name for name in request.look.models if name.endswith(".parquet")]
    if files and len(files) < len(request.look.models):
        raise UserError("A map is of files of embeddings or of models, not of both; embed the models first.")
    shown = stored_points(files) if files else encoded_points(request)
    by, names = colouring(request, shown)
    panels = [(title, PROJECTIONS[request.way](rows, seed=request.seed)) for title, rows in shown.rows]
    canvas = draw_maps(panels, names, by=by, owner=shown.owner)
    caption = f"{WAYS[request.way]} map of {shown.about}, coloured by {by}"
    keep(canvas, "map", caption, request.look.models, request.out, console)


@dataclass(frozen=True)
class Points:
    """What a map shows."""

    rows: list[tuple[str, Tensor]]
    """Title and unit features (N, D) of each model."""
    ids: list[str]
    """Path or row id of each."""
    labels: list[str]
    """Class name of each, empty where it has none."""
    splits: list[str]
    """Split of each; empty where it is not known."""
    about: str
    """What it is, in words."""
    owner: Tensor | None = None
    """(N,) the image that each is a view of."""


def stored_points(files: list[str]) -> Points:
    """Read files of embeddings of the same images.

    Raises:
        UserError: a file that is none, or of other images.
    """
    found = [read_embeddings(file) for file in files]
    for file, one in zip(files, found):
        if one.ids != found[0].ids:
            raise UserError(f"{file} and {files[0]} are of different images; embed the same set with both models.")
    rows = [(Path(file).stem, torch.nn.functional.normalize(one.embeddings, dim=1)) for file, one in zip(files, found)]
    first: Embeddings = found[0]
    names = class_names(first.labels, first.classes, len(first.ids))
    return Points(rows, list(first.ids), names, [""] * len(first.ids), f"{len(first.ids):,} images of {files[0]}")


def encoded_points(request: MapRequest) -> Points:
    """Encode the images, or several views of a few of them, by each model."""
    look = Look(request.look)
    names = class_names(look.labels, look.classes, len(look.ids))
    if request.views == 1:
        rows = [(title, look.rows(model)) for title, model in look.models]
        return Points(rows, look.ids, names, look.splits, look.about)
    chosen = torch.linspace(0, len(look.ids) - 1, min(VIEWED, len(look.ids))).long().unique()
    images = torch.stack(look.images(chosen))
    rows = [(title, views_of(model, images, request.views, request.seed, look)) for title, model in look.models]
    owner = torch.arange(len(chosen)).repeat_interleave(request.views)
    every = chosen.repeat_interleave(request.views).tolist()
    about = f"{request.views} augmentations of each of {len(chosen)} images of {look.place}"
    kept = [[column[i] for i in every] for column in (look.ids, names, look.splits)]
    return Points(rows, kept[0], kept[1], kept[2], about, owner)


def views_of(model: Model, images: Tensor, views: int, seed: int, look: Look) -> Tensor:
    """Unit features of random views by the model's own policy, those of one image together: (n * views, D)."""
    maker = ViewMaker(model.policy, model.image_size, {"first": "first"})
    repeated = images.repeat_interleave(views, dim=0)
    parameters = maker.sample(len(repeated), generator_for(seed, "map views"), images.shape[-1])
    parts: list[Tensor] = []
    for start in range(0, len(repeated), 256):
        stop = min(start + 256, len(repeated))
        view = maker(repeated[start:stop].to(look.device), parameters.rows(start, stop))["first"]
        parts.append(model.encode(view, look.device).float().cpu())
    return torch.nn.functional.normalize(torch.cat(parts), dim=1)


def colouring(request: MapRequest, shown: Points) -> tuple[str, list[str]]:
    """Choose what colours the points, and name it for each.

    Raises:
        UserError: what was asked for is not known of these images.
    """
    folders = [folder_of(name) for name in shown.ids]
    by = request.by
    if by == "auto":
        by = "label" if any(shown.labels) else "folder" if len(set(folders)) > 1 else "cluster"
    if by == "cluster":
        rows = shown.rows[0][1]
        count = min(request.clusters, len(rows))
        labels, _ = kmeans(rows, count, generator_for(request.seed, "map clusters"), shown=False)
        return f"cluster of {shown.rows[0][0]}", [str(label + 1) for label in labels.tolist()]
    names = {"label": shown.labels, "folder": folders, "split": shown.splits}[by]
    if not any(names):
        raise UserError(f"These images have no {by}s to colour by; take --by cluster.")
    return by, names


def class_names(labels: Tensor | None, classes: tuple[str, ...], count: int) -> list[str]:
    """Name the class of each image; empty where it has none."""
    if labels is None:
        return [""] * count
    return ["" if i < 0 else classes[i] if i < len(classes) else str(i) for i in labels.tolist()]


def draw_neighbours(
    request: LookRequest, queries: int, gallery: str | None, out: Path | None, console: Console, k: int = 8
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
    check_target(out)
    require(1 <= queries <= 40, "--queries", queries, "1 to 40")
    if gallery is not None:
        request = replace(request, splits=(*(request.splits or ("test",)), gallery))
        require(
            len(request.splits) == 2 and request.splits[0] != gallery, "--gallery", gallery, "a split beside one other"
        )
    look = Look(request)
    first = len(look.ids) if gallery is None else len(look.sources[0])
    asked = torch.linspace(0, first - 1, min(queries, first)).long().unique()
    labels = torch.full((len(look.ids),), -1) if look.labels is None else look.labels
    names = class_names(look.labels, look.classes, len(look.ids))
    blocks: list[tuple[str, list[list[Tile]]]] = []
    for title, model in look.models:
        similarity, index = answered(look.rows(model), asked, None if gallery is None else first, k)
        rows = [neighbour_row(look, labels, own, *found) for own, *found in zip(asked.tolist(), index, similarity)]
        blocks.append((titled(title, rows), rows))
    anchors = [Tile(image, names[i]) for image, i in zip(look.images(asked), asked.tolist())]
    frames = "" if look.labels is None else "; green: of the anchor's class, red and x: of another"
    canvas = draw_grid(anchors, blocks, f"{k} nearest by cosine{frames}.")
    keep(canvas, "neighbours", f"Nearest neighbours among {look.about}", request.models, out, console)


def answered(rows: Tensor, asked: Tensor, gallery: int | None, k: int) -> tuple[Tensor, Tensor]:
    """Find the k nearest of some rows among all others, or among those from row ``gallery`` on: cosine, row."""
    if gallery is None:
        return nearest_others(rows, asked, k)
    similarity, index = top_k(rows[asked], rows[gallery:], k)
    return similarity, index + gallery


def neighbour_row(look: Look, labels: Tensor, own: int, index: Tensor, similarity: Tensor) -> list[Tile]:
    """Tiles of one anchor's neighbours (k,), framed by the labels (N,)."""
    each = zip(look.images(index), index.tolist(), similarity.tolist())
    return [kin_tile(image, int(labels[own]), int(labels[i]), cosine) for image, i, cosine in each]


def titled(title: str, rows: list[list[Tile]]) -> str:
    """Add to a block's title how many of its tiles are of the anchor's class."""
    frames = [tile.frame for row in rows for tile in row]
    judged = sum(frame in (RIGHT, WRONG) for frame in frames)
    return f"{title}: {100 * frames.count(RIGHT) / judged:.0f} % right" if judged else title


def draw_similarities(request: LookRequest, of: str, out: Path | None, console: Console) -> None:
    """Draw how alike positives are, against any two images, by each model side by side.

    Raises:
        UserError: no labels, or no evidence, to say what positives are.
    """
    check_target(out)
    require(of in ("label", "evidence"), "--of", of, "label or evidence")
    if of == "evidence":
        look, pairs = evidence_pairs(request)
    else:
        look = Look(request)
        if look.labels is None:
            raise UserError(f"{look.place} has no labels to say what positives are; take --of evidence.")
        pairs = positive_pairs(look.labels)
    if not len(pairs):
        raise UserError(f"No two of the {look.about} are positives of each other; take more with --most.")
    panels: list[Panel] = []
    for title, model in look.models:
        rows = look.rows(model)
        panels.append((title, cosines(rows, pairs), cosines(rows, any_pairs(len(rows)))))
    positives = "two images of one class" if of == "label" else "anchor and positive"
    canvas = draw_histograms(panels, positives)
    keep(canvas, "similarities", f"Cosines of positives and of any two of {look.about}", request.models, out, console)
