"""Maps: what the features hold to be alike, in the plane."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from viewkin.augment.views import ViewMaker
from viewkin.collection.embeddings import read_embeddings
from viewkin.commands.figures.inputs import Drawing, FigureInputs, FigureRequest, class_names, folder_of
from viewkin.encode.model import Model
from viewkin.figures.maps import PROJECTIONS, SEEDS, draw_maps
from viewkin.memory.kmeans import kmeans
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError, require

BY = ("auto", "label", "folder", "file", "split", "cluster")
WAYS = {"tsne": "t-SNE", "umap": "UMAP"}
VIEWED = 40
"""Images of a map that shows several augmentations of each."""


@dataclass(frozen=True, kw_only=True)
class MapRequest:
    """How to draw a map."""

    look: FigureRequest
    """Models and images; models may be files that ``viewkin embed`` wrote, all of the same images."""
    by: str = "auto"
    """``label``, ``folder``, ``split``, ``cluster``; ``file``: several files in one map; ``auto``: the first of label
    and folder that tells, else cluster."""
    way: str = "tsne"
    """``tsne`` or ``umap``."""
    views: int = 1
    """Augmentations of each image; 1: the image as it is."""
    clusters: int = 10
    """k-means clusters of the first model's features, where it is these that colour."""
    seed: int = 0
    """Of the map and the clusters."""


def draw_map(request: MapRequest) -> Drawing:
    """Draw embeddings in the plane, models side by side.

    Raises:
        UserError: a setting, model, set or optional library that is not there.
    """
    require(request.by in BY, "--by", request.by, f"one of {', '.join(BY)}")
    require(request.way in PROJECTIONS, "--way", request.way, f"one of {', '.join(PROJECTIONS)}")
    require(1 <= request.views <= 64, "--views", request.views, "1 to 64")
    require(request.clusters >= 2, "--clusters", request.clusters, "at least 2")
    require(0 <= request.seed < SEEDS, "--seed", request.seed, f"0 to {SEEDS - 1}")
    files = [name for name in request.look.models if name.endswith(".parquet")]
    if files and len(files) < len(request.look.models):
        raise UserError("A map is of files of embeddings or of models, not of both; embed the models first.")
    if request.by == "file" and len(files) < 2:
        raise UserError("--by file needs two or more files of embeddings; 'viewkin embed' writes them.")
    read = joined_points if request.by == "file" else stored_points
    shown = read(files) if files else encoded_points(request)
    by, names = colouring(request, shown)
    panels = [(title, PROJECTIONS[request.way](rows, seed=request.seed)) for title, rows in shown.rows]
    figure = draw_maps(panels, names, by=by, owner=shown.owner)
    caption = f"{WAYS[request.way]} map of {shown.about}, coloured by {by}"
    return Drawing(figure, "map", caption, request.look.models)


@dataclass(frozen=True)
class Points:
    """What a map shows."""

    rows: list[tuple[str, Tensor]]
    """Title and unit features (N, D) of each model."""
    keys: list[str]
    """Path or row id of each."""
    labels: list[str]
    """Class name of each, empty where it has none."""
    splits: list[str]
    """Split of each; empty where it is not known."""
    about: str
    """What it is, in words."""
    owner: Tensor | None = None
    """(N,) the image that each is a view of."""
    files: list[str] = field(default_factory=list[str])
    """File that each comes from, in a map of several."""


def stored_points(files: list[str]) -> Points:
    """Read files of embeddings of the same images, one map each.

    Raises:
        UserError: a file that is none, or of other images.
    """
    files_read = [read_embeddings(file) for file in files]
    for file, one in zip(files, files_read):
        if one.keys != files_read[0].keys:
            raise UserError(f"{file} and {files[0]} are of different images; embed one set twice, or take --by file.")
    rows = [
        (Path(file).stem, torch.nn.functional.normalize(one.embeddings, dim=1)) for file, one in zip(files, files_read)
    ]
    first = files_read[0]
    names = class_names(first.labels, first.classes, len(first.keys))
    splits = list(first.splits) or [""] * len(first.keys)
    return Points(rows, list(first.keys), names, splits, f"{len(first.keys):,} images of {files[0]}")


def joined_points(files: list[str]) -> Points:
    """Read files of embeddings by one model, all into one map.

    Raises:
        UserError: a file that is none, or of another width.
    """
    files_read = [read_embeddings(file) for file in files]
    for file, one in zip(files, files_read):
        width, first = one.embeddings.shape[1], files_read[0].embeddings.shape[1]
        if width != first:
            raise UserError(f"{file} has {width} dimensions, {files[0]} {first}; embed both sets with one model.")
    rows = torch.nn.functional.normalize(torch.cat([one.embeddings for one in files_read]), dim=1)
    ids = [name for one in files_read for name in one.keys]
    names = [name for one in files_read for name in class_names(one.labels, one.classes, len(one.keys))]
    owners = [Path(file).name for file, one in zip(files, files_read) for _ in one.keys]
    about = f"{len(ids):,} images of {' and '.join(files)}"
    splits = [split for one in files_read for split in one.splits or [""] * len(one.keys)]
    return Points([("embeddings", rows)], ids, names, splits, about, files=owners)


def encoded_points(request: MapRequest) -> Points:
    """Encode the images, or several views of a few of them, by each model."""
    look = FigureInputs(request.look)
    names = class_names(look.labels, look.classes, len(look.keys))
    if request.views == 1:
        rows = [(title, look.rows(model)) for title, model in look.models]
        return Points(rows, look.keys, names, look.splits, look.about)
    chosen = torch.linspace(0, len(look.keys) - 1, min(VIEWED, len(look.keys))).long().unique()
    images = torch.stack(look.images(chosen))
    rows = [(title, views_of(model, images, request.views, request.seed, look)) for title, model in look.models]
    owner = torch.arange(len(chosen)).repeat_interleave(request.views)
    every = chosen.repeat_interleave(request.views).tolist()
    about = f"{request.views} augmentations of each of {len(chosen)} images of {look.place}"
    kept = [[column[i] for i in every] for column in (look.keys, names, look.splits)]
    return Points(rows, kept[0], kept[1], kept[2], about, owner)


def views_of(model: Model, images: Tensor, views: int, seed: int, look: FigureInputs) -> Tensor:
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


def tells(names: list[str], shown: Points) -> bool:
    """Tell whether names say which images belong together: not one name, one for every image or the splits again."""
    groups = {*names} - {""}
    by_split = set(zip(names, shown.splits))
    again = len({*shown.splits}) == len(groups) == len(by_split)
    return 2 <= len(groups) <= len(names) // 2 and not again


def colouring(request: MapRequest, shown: Points) -> tuple[str, list[str]]:
    """Choose what colours the points, and name it for each.

    Raises:
        UserError: what was asked for is not known of these images.
    """
    folders = [folder_of(name) for name in shown.keys]
    by = request.by
    if by == "auto":
        by = next(
            (way for way, names in (("label", shown.labels), ("folder", folders)) if tells(names, shown)), "cluster"
        )
    if by == "cluster":
        rows = shown.rows[0][1]
        count = min(request.clusters, len(rows))
        labels, _ = kmeans(rows, count, generator_for(request.seed, "map clusters"), shown=False)
        return f"cluster of {shown.rows[0][0]}", [str(label + 1) for label in labels.tolist()]
    names = {"label": shown.labels, "folder": folders, "file": shown.files, "split": shown.splits}[by]
    if not any(names):
        raise UserError(f"These images have no {by}s to colour by; take --by cluster.")
    return by, names
