"""``viewkin duplicates``: options in, one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viewkin.cli.findings import CollectionFolder, Json, Out, show_findings
from viewkin.cli.options import Device
from viewkin.cli.terminal import shown
from viewkin.runtime.errors import UserError


def duplicates(
    collection: CollectionFolder,
    near: Annotated[
        float | None,
        typer.Option(
            metavar="LIKENESS", help="Likeness of pixels from which two are one picture, 0 to 1 [default: by copies]."
        ),
    ] = None,
    scene: Annotated[
        float | None,
        typer.Option(
            metavar="SIMILARITY", help="Similarity from which two show one scene, 0 to 1 [default: by copies]."
        ),
    ] = None,
    not_duplicate: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY KEY", help="Remember that these two are no duplicates. Repeatable."),
    ] = None,
    out: Out = None,
    link: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Fill a new folder with links to the images that are kept.")
    ] = None,
    hard: Annotated[bool, typer.Option("--hard", help="Make hard links instead of symbolic ones.")] = False,
    json: Json = False,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Where the collection's model is now, if it has moved.")
    ] = None,
    device: Device = "auto",
) -> None:
    """List pictures that are there more than once. Nothing is deleted.

    \b
    exact   the same bytes
    near    the same picture encoded anew, resized or slightly cropped
    scene   another picture of the same thing; all of them are kept

    In each group the image to keep comes first: most pixels, then the largest file.

    \b
    Examples:
      viewkin duplicates photos.collection --out duplicates.csv
      viewkin duplicates photos.collection --near 0.9
      viewkin duplicates photos.collection --not-duplicate a.jpg b.jpg
      viewkin duplicates photos.collection --link clean/
    """  # noqa: D301 (click reads \b as: keep the lines)
    marked = not_duplicate or []
    if len(marked) % 2:
        raise UserError(f"--not-duplicate takes two keys, and {marked[-1]} has no partner: write --not-duplicate A B.")
    from viewkin.commands.duplicates import DuplicatesRequest
    from viewkin.commands.duplicates import duplicates as run

    request = DuplicatesRequest(
        collection=collection,
        near=near,
        scene=scene,
        not_duplicates=tuple(zip(marked[::2], marked[1::2])),
        out=out,
        link=link,
        hard=hard,
        model=model,
        device=device,
    )
    with shown() as console:
        show_findings(console, run(request), out, json)
