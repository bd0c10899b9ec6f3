"""``viewkin clusters``, ``select`` and ``label``: options in, one function call each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viewkin.cli.findings import CollectionFolder, Json, Labels, Out, Seed, show_findings
from viewkin.cli.terminal import shown


def clusters(
    collection: CollectionFolder,
    k: Annotated[
        int | None, typer.Option("-k", "--k", metavar="NUMBER", help="Number of clusters [default: chosen].")
    ] = None,
    sheets: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for a contact sheet (PNG) of each cluster.")
    ] = None,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Cluster the images. Which cluster an image is in is a column; clusters are named by words of their paths.

    \b
    Examples:
      viewkin clusters photos.collection --sheets sheets/
      viewkin clusters photos.collection -k 20 --out clusters.csv
    """  # noqa: D301 (click reads \b as: keep the lines)
    from viewkin.commands.clusters import ClustersRequest, cluster_images

    with shown() as console:
        found = cluster_images(ClustersRequest(collection=collection, count=k, sheets=sheets, seed=seed, out=out))
        show_findings(console, found, out, json)


def select(
    collection: CollectionFolder,
    count: Annotated[int, typer.Option("-n", "--count", metavar="NUMBER", help="Images to choose.")],
    labelled: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="What is labelled: CSV or Parquet with a column key; 'label': the collection's labels."
        ),
    ] = None,
    method: Annotated[str, typer.Option(metavar="NAME", help="typical, k-centre or random.")] = "typical",
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Choose images to label first: a few that stand for all, and are unlike what is labelled already.

    \b
    Examples:
      viewkin select photos.collection -n 200 --out to-label.csv
      viewkin select photos.collection -n 200 --labelled labels.csv --out next.csv
    """  # noqa: D301 (click reads \b as: keep the lines)
    from viewkin.commands.select import SelectRequest
    from viewkin.commands.select import select as run

    request = SelectRequest(collection=collection, count=count, labelled=labelled, method=method, seed=seed, out=out)
    with shown() as console:
        show_findings(console, run(request), out, json)


def label(
    collection: CollectionFolder,
    labels: Labels = None,
    least_confidence: Annotated[
        float, typer.Option(metavar="SHARE", help="Give no label below this confidence, 0 to 1.")
    ] = 0.0,
    k: Annotated[int, typer.Option("-k", "--k", metavar="NUMBER", help="Labelled images that vote.")] = 10,
    out: Out = None,
    json: Json = False,
) -> None:
    """Pass a few labels on to all images, by the labelled ones nearest to each, with a confidence.

    \b
    Examples:
      viewkin label photos.collection --labels labels.csv --out labelled.csv
      viewkin label photos.collection --labels labels.csv --least-confidence 0.8 --out labelled.csv
    """  # noqa: D301 (click reads \b as: keep the lines)
    from viewkin.commands.label import LabelRequest, label_images

    request = LabelRequest(collection=collection, labels=labels, least_confidence=least_confidence, k=k, out=out)
    with shown() as console:
        show_findings(console, label_images(request), out, json)
