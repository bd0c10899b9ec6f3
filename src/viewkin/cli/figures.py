"""``viewkin figures NAME``: options in, one function call each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viewkin.cli.early_checks import check_images, check_models, check_runs
from viewkin.cli.options import Device, Features, Runs
from viewkin.cli.terminal import shown

if TYPE_CHECKING:
    from viewkin.commands.figures.inputs import Drawing, FigureRequest

figures = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Draw figures as PNG or SVG files, and add them to the runs' reports.",
)
Models = Annotated[
    list[str],
    typer.Argument(metavar="MODEL...", help="Run directories, backbone files or checkpoints; 'pixels' for raw pixels."),
]
Data = Annotated[
    str | None, typer.Option(metavar="DATA", help="Images [default: those that the first run was trained on].")
]
Split = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Split of the images. Repeatable [default: test if there is one, else train]."),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help=".png or .svg file to write [default: NAME.png in the first run].")
]
Untrained = Annotated[bool, typer.Option("--untrained", help="Show the first model's untrained network too.")]
Most = Annotated[int, typer.Option(metavar="N", help="Largest number of images.")]
Anchors = Annotated[int, typer.Option(metavar="N", help="Number of anchor images.")]


def write_shown(draw: Callable[[], Drawing], out: Path | None) -> None:
    """Draw and write a figure, and print where it went."""
    from viewkin.cli.output import show_drawing
    from viewkin.commands.figures.inputs import write_drawing

    with shown() as console:
        show_drawing(console, write_drawing(draw, out))


def figure_request(
    models: list[str],
    data: str | None,
    split: list[str] | None,
    features: str,
    untrained: bool,
    most: int,
    device: str,
) -> FigureRequest:
    """What the figures of features have in common."""
    from viewkin.commands.figures.inputs import FigureRequest

    return FigureRequest(
        models=tuple(models),
        data=data,
        splits=tuple(split or ()),
        features=features,
        untrained=untrained,
        most=most,
        device=device,
    )


@figures.command("map", short_help="Embeddings in the plane, by t-SNE or UMAP.")
def map_(
    models: Models,
    data: Data = None,
    split: Split = None,
    by: Annotated[
        str, typer.Option(metavar="WHAT", help="What colours show: label, folder, file, split, cluster or auto.")
    ] = "auto",
    way: Annotated[str, typer.Option(metavar="NAME", help="tsne, or umap (needs viewkin[umap]).")] = "tsne",
    views: Annotated[
        int,
        typer.Option(metavar="N", help="Show this many augmentations of each of 40 images; 1: all images as they are."),
    ] = 1,
    clusters: Annotated[
        int, typer.Option(metavar="N", help="Number of k-means clusters, if colours show clusters.")
    ] = 10,
    untrained: Untrained = False,
    most: Most = 2000,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the map and of k-means.")] = 0,
    features: Features = "backbone",
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Draw embeddings in the plane, models side by side. A MODEL may also be a .parquet that 'viewkin embed' wrote.

    \b
    Examples:
      viewkin figures map runs/mine
      viewkin figures map pixels runs/mine runs/other --data photos/ --by folder --out map.svg
      viewkin figures map runs/intra runs/inter runs/both --views 8
      viewkin figures map one.parquet other.parquet --by file
    """  # noqa: D301 (click reads \b as: keep the lines)
    check_models(*models)
    check_images(data)
    from viewkin.commands.figures.map import MapRequest, draw_map

    look = figure_request(models, data, split, features, untrained, most, device)
    request = MapRequest(look=look, by=by, way=way, views=views, clusters=clusters, seed=seed)
    write_shown(lambda: draw_map(request), out)


@figures.command(short_help="A few images and their nearest neighbours, models side by side.")
def neighbours(
    models: Models,
    data: Data = None,
    split: Split = None,
    queries: Annotated[int, typer.Option(metavar="N", help="Number of query images.")] = 8,
    gallery: Annotated[
        str | None, typer.Option(metavar="SPLIT", help="Split to search [default: the split of the queries].")
    ] = None,
    untrained: Untrained = False,
    most: Most = 5000,
    features: Features = "backbone",
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Draw a few images, each with the eight most like it by cosine, models side by side."""
    check_models(*models)
    check_images(data)
    from viewkin.commands.figures.neighbours import draw_neighbours

    look = figure_request(models, data, split, features, untrained, most, device)
    write_shown(lambda: draw_neighbours(look, queries, gallery), out)


@figures.command(short_help="Histograms of the cosines of positives and of any two images.")
def similarities(
    models: Models,
    data: Data = None,
    split: Split = None,
    of: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="Which pairs are positives: label (same class) or evidence (what the first run's method used).",
        ),
    ] = "label",
    nearest: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Also show the cosines of each image to this share of its nearest, 0 to 1."),
    ] = None,
    untrained: Untrained = False,
    most: Most = 2000,
    features: Features = "backbone",
    device: Device = "auto",
    out: Out = None,
) -> None:
    """Draw how alike positives are, against any two images; with --untrained before and after training."""
    check_models(*models)
    check_images(data)
    from viewkin.commands.figures.similarities import draw_similarities

    look = figure_request(models, data, split, features, untrained, most, device)
    write_shown(lambda: draw_similarities(look, of, nearest), out)


@figures.command(short_help="Negatives of a few anchors; those of the same class are framed.")
def negatives(runs: Runs, anchors: Anchors = 6, out: Out = None) -> None:
    """Draw five negatives of a few anchors from the evidence of runs, side by side; false ones are framed."""
    check_runs(runs)
    from viewkin.commands.figures.evidence import draw_negatives

    write_shown(lambda: draw_negatives(runs, anchors), out)


@figures.command(short_help="Easy and hard positives of a few anchors.")
def positives(runs: Runs, anchors: Anchors = 6, out: Out = None) -> None:
    """Draw the most and the least similar positives of a few anchors from the evidence of runs, side by side."""
    check_runs(runs)
    from viewkin.commands.figures.evidence import draw_positives

    write_shown(lambda: draw_positives(runs, anchors), out)


@figures.command(short_help="Which component of AMDIM's mixture covers which part of an image.")
def segments(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run directory of amdim with method.mixtures above 1.")],
    anchors: Anchors = 12,
    scale: Annotated[str, typer.Option(metavar="N", help="Map of parts: 7 (small ones) or 5.")] = "7",
    out: Out = None,
) -> None:
    """Draw the mixture's assignments of parts over a few images."""
    check_runs([run])
    from viewkin.commands.figures.evidence import draw_segments_of

    write_shown(lambda: draw_segments_of(run, anchors, scale), out)


@figures.command(short_help="What runs logged during training, one plot a series.")
def curves(
    runs: Runs,
    series: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Series to draw, such as loss. Repeatable [default: the loss and a few others]."
        ),
    ] = None,
    out: Out = None,
) -> None:
    """Draw what several runs logged over the steps: a plot each series, a colour each run.

    \b
    Example:
      viewkin figures curves runs/a runs/b --series loss --series knn_monitor
    """  # noqa: D301 (click reads \b as: keep the lines)
    check_runs(runs)
    from viewkin.commands.figures.curves import draw_curves_of

    write_shown(lambda: draw_curves_of(runs, series or ()), out)


@figures.command(short_help="One measure of several runs against one setting.")
def ablation(
    runs: Runs,
    setting: Annotated[str, typer.Option(metavar="PATH", help="Path of the setting, such as method.temperature.")],
    measure: Annotated[
        str, typer.Option(metavar="NAME", help="Measure: knn@200, 'linear top-1', ..., or knn_monitor from the log.")
    ] = "knn_monitor",
    features: Features = "backbone",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".png or .svg file to write [default: ablation.png].")
    ] = None,
) -> None:
    """Draw one measure of several runs against one setting, with error bars over seeds.

    \b
    Example:
      viewkin figures ablation runs/t* --setting method.temperature --measure knn@200
    """  # noqa: D301 (click reads \b as: keep the lines)
    check_runs(runs)
    from viewkin.commands.figures.ablation import draw_ablation_of

    write_shown(lambda: draw_ablation_of(runs, setting, measure, features), out or Path("ablation.png"))
