"""Figures of runs and models, each a matplotlib ``Figure``.

``viewkin.plot.neighbours(run).savefig("neighbours.png")``. The same figures as ``viewkin figures NAME``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from viewkin.api.embedding import name_of
from viewkin.api.notebook import progress_where_seen
from viewkin.api.run import Run
from viewkin.commands.figures.ablation import draw_ablation_of
from viewkin.commands.figures.curves import draw_curves_of
from viewkin.commands.figures.evidence import draw_negatives, draw_positives, draw_segments_of
from viewkin.commands.figures.inputs import Drawing, FigureRequest, check_drawing
from viewkin.commands.figures.map import MapRequest, draw_map
from viewkin.commands.figures.neighbours import draw_neighbours
from viewkin.commands.figures.similarities import draw_similarities
from viewkin.data.dataset import Dataset, Images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Model = Run | Path | str
"""A run, its directory, a backbone file, a checkpoint, or ``"pixels"`` for raw pixels."""


def map(
    *models: Model,
    images: Images | None = None,
    split: str | Sequence[str] = (),
    by: str = "auto",
    way: str = "tsne",
    views: int = 1,
    clusters: int = 10,
    untrained: bool = False,
    most: int = 2000,
    seed: int = 0,
    features: str = "backbone",
) -> Figure:
    """Draw embeddings in the plane, models side by side.

    Args:
        models: runs, paths, or Parquet files that ``viewkin embed`` wrote.
        images: images to draw; None: those of the first run.
        split: split or splits; none: test if there is one, else train.
        by: what colours a point: ``label``, ``folder``, ``file``, ``split``, ``cluster``; ``auto``: the first that
            tells.
        way: ``tsne`` or ``umap``.
        views: augmentations of each of 40 images; 1: all images as they are.
        clusters: k-means clusters, if they colour.
        untrained: draw the first model's untrained network before it.
        most: images at most.
        seed: of the map and the clusters.
        features: ``backbone`` or ``embedding``.

    Raises:
        UserError: a model, images or an optional library that is not there.
    """
    look = _request(models, images, split, features, untrained, most)
    return _figure(lambda: draw_map(MapRequest(look=look, by=by, way=way, views=views, clusters=clusters, seed=seed)))


def neighbours(
    *models: Model,
    images: Images | None = None,
    split: str | Sequence[str] = (),
    queries: int = 8,
    gallery: str | None = None,
    untrained: bool = False,
    most: int = 5000,
    features: str = "backbone",
) -> Figure:
    """Draw a few images, each with the eight most like it by cosine, models side by side.

    Args:
        models: runs or paths.
        images: images to search; None: those of the first run.
        split: split or splits; none: test if there is one, else train.
        queries: images on the left.
        gallery: split that is searched; None: the one that the queries are from.
        untrained: draw the first model's untrained network before it.
        most: images at most.
        features: ``backbone`` or ``embedding``.

    Raises:
        UserError: a model or images that are not there.
    """
    look = _request(models, images, split, features, untrained, most)
    return _figure(lambda: draw_neighbours(look, queries, gallery))


def similarities(
    *models: Model,
    images: Images | None = None,
    split: str | Sequence[str] = (),
    of: str = "label",
    nearest: float | None = None,
    untrained: bool = False,
    most: int = 2000,
    features: str = "backbone",
) -> Figure:
    """Draw histograms of the cosines of positives and of any two images, models side by side.

    Args:
        models: runs or paths.
        images: images; None: those of the first run.
        split: split or splits; none: test if there is one, else train.
        of: what positives are: images of one ``label``, or ``evidence`` (what the first run's method used).
        nearest: also draw the cosines of images and this share of all images that is nearest to each, 0 to 1.
        untrained: draw the first model's untrained network before it.
        most: images at most.
        features: ``backbone`` or ``embedding``.

    Raises:
        UserError: no labels or no evidence to say what positives are.
    """
    look = _request(models, images, split, features, untrained, most)
    return _figure(lambda: draw_similarities(look, of, nearest))


def curves(*runs: Model, series: Sequence[str] = ()) -> Figure:
    """Draw what runs logged over the steps: a plot each series, a colour each run.

    Args:
        runs: runs or their directories.
        series: names in the log, such as ``loss``; none: the loss and others.

    Raises:
        UserError: no run, or a series that none of them logged.
    """
    return _figure(lambda: draw_curves_of([name_of(run) for run in runs], series))


def ablation(*runs: Model, setting: str, measure: str = "knn_monitor", features: str = "backbone") -> Figure:
    """Draw one measure of several runs against one setting, with error bars over seeds.

    Args:
        runs: runs or their directories.
        setting: path of the setting, such as ``method.temperature``.
        measure: ``knn@200``, ``linear top-1``, ..., or ``knn_monitor`` of the log.
        features: ``backbone`` or ``embedding``.

    Raises:
        UserError: a setting or measure that the runs do not have.
    """
    return _figure(lambda: draw_ablation_of([name_of(run) for run in runs], setting, measure, features))


def negatives(*runs: Model, anchors: int = 6) -> Figure:
    """Draw five negatives of a few anchors, runs side by side; negatives of the anchor's class are framed.

    Raises:
        UserError: a run whose method left no evidence of negatives.
    """
    return _figure(lambda: draw_negatives([name_of(run) for run in runs], anchors))


def positives(*runs: Model, anchors: int = 6) -> Figure:
    """Draw the most and the least similar positives of a few anchors, runs side by side.

    Raises:
        UserError: a run whose method left no evidence of positives.
    """
    return _figure(lambda: draw_positives([name_of(run) for run in runs], anchors))


def segments(run: Model, *, anchors: int = 12, scale: str = "7") -> Figure:
    """Draw which component of AMDIM's mixture answers for which part of a few images.

    Args:
        run: run of ``amdim`` with ``method.mixtures`` above 1, or its directory.
        anchors: images.
        scale: map of parts: ``7`` (small ones) or ``5``.

    Raises:
        UserError: a run that left no such evidence.
    """
    return _figure(lambda: draw_segments_of(name_of(run), anchors, scale))


def _request(
    models: Sequence[Model],
    images: Images | None,
    split: str | Sequence[str],
    features: str,
    untrained: bool,
    most: int,
) -> FigureRequest:
    return FigureRequest(
        models=tuple(name_of(model) for model in models),
        data=None if images is None else Dataset.of(images),
        splits=(split,) if isinstance(split, str) else tuple(split),
        features=features,
        untrained=untrained,
        most=most,
    )


def _figure(draw: Callable[[], Drawing]) -> Figure:
    check_drawing(None)
    with progress_where_seen():
        return draw().figure
