"""``viewkin outliers``, ``quality`` and ``suspects``: options in, one function call each."""

from __future__ import annotations

from typing import Annotated

import typer

from viewkin.cli.findings import CollectionFolder, Json, Labels, Out, show_findings
from viewkin.cli.terminal import shown


def outliers(
    collection: CollectionFolder,
    count: Annotated[
        int | None, typer.Option("-n", "--count", metavar="NUMBER", help="Images to list [default: one in a hundred].")
    ] = None,
    k: Annotated[
        int, typer.Option("-k", "--k", metavar="NUMBER", help="Neighbour that the distance is measured to.")
    ] = 10,
    out: Out = None,
    json: Json = False,
) -> None:
    """List the images that are like few others, by the distance to their k-th nearest, with the nearest.

    \b
    Examples:
      viewkin outliers photos.collection
      viewkin outliers photos.collection -n 100 --out outliers.csv
    """  # noqa: D301 (click reads \b as: keep the lines)
    from viewkin.commands.outliers import OutliersRequest, list_outliers

    with shown() as console:
        found = list_outliers(OutliersRequest(collection=collection, count=count, k=k, out=out))
        show_findings(console, found, out, json)


def quality(
    collection: CollectionFolder,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ISSUE", help="Look for this only: blurred, dark, bright, low-information, odd-aspect, tiny."
        ),
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """List pictures that are blurred, dark, overexposed, nearly empty, of odd shape or tiny, for their set.

    \b
    Examples:
      viewkin quality photos.collection
      viewkin quality photos.collection --only blurred --only dark --out quality.csv
    """  # noqa: D301 (click reads \b as: keep the lines)
    from viewkin.commands.quality import QualityRequest
    from viewkin.commands.quality import quality as run

    with shown() as console:
        show_findings(console, run(QualityRequest(collection=collection, only=tuple(only or ()), out=out)), out, json)


def suspects(
    collection: CollectionFolder,
    labels: Labels = None,
    count: Annotated[
        int | None, typer.Option("-n", "--count", metavar="NUMBER", help="Images to list [default: all doubtful ones].")
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", metavar="NUMBER", help="Neighbours that are the evidence.")] = 10,
    out: Out = None,
    json: Json = False,
) -> None:
    """List labels that the other images contradict, with the class that they speak for and the nearest images.

    \b
    Examples:
      viewkin suspects photos.collection
      viewkin suspects photos.collection --labels labels.csv -n 100 --out suspects.csv
    """  # noqa: D301 (click reads \b as: keep the lines)
    from viewkin.commands.suspects import SuspectsRequest, list_suspects

    with shown() as console:
        request = SuspectsRequest(collection=collection, labels=labels, count=count, k=k, out=out)
        show_findings(console, list_suspects(request), out, json)
