"""``viewkin search``: options in, one function call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from viewkin.cli.early_checks import check_models
from viewkin.cli.options import Device
from viewkin.cli.terminal import say, shown

GREEDY = ("--like", "--not", "--where", "--not-duplicate")
"""Options that take every value up to the next option: ``--like a.jpg b.jpg``."""


class GreedyOptions(TyperCommand):
    """A command with options that take several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write ``--like A B`` as ``--like A --like B``, which click understands."""
        return super().parse_args(ctx, repeated(args))


def repeated(arguments: Sequence[str]) -> list[str]:
    """Repeat an option before each of its values; ``--`` ends all options."""
    found: list[str] = []
    option, taken = "", False
    for place, one in enumerate(arguments):
        if one == "--":
            return found + list(arguments[place:])
        if one in GREEDY:
            option, taken = one, False
            found.append(one)
        elif option and not (one.startswith("-") and taken):
            found += [option, one] if taken else [one]
            taken = True
        else:
            option = ""
            found.append(one)
    return found


def search(
    collection: Annotated[Path, typer.Argument(metavar="COLLECTION", help="Folder that `viewkin embed --to` wrote.")],
    queries: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY...", help="Keys of the collection, image files, or folders of images."),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", metavar="NUMBER", help="Matches of each query.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION...", help="Search among these only: label=cat, folder=sub/dir, split=train, width>=500."
        ),
    ] = None,
    like: Annotated[
        list[str] | None, typer.Option(metavar="QUERY...", help="Examples that make one query together, their mean.")
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="QUERY...", help="Counter-examples, whose mean is subtracted."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write: .csv, .parquet, .json, or .html with thumbnails."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Where the collection's model is now, if it has moved.")
    ] = None,
    index: Annotated[str, typer.Option(metavar="NAME", help="auto, exact, ivf (FAISS), lancedb or qdrant.")] = "auto",
    device: Device = "auto",
) -> None:
    """Find the images of a collection that are most like an image.

    A query is a key of the collection (the path below its folder, as results show it), an image file, or a folder, each
    image of which is a query. A key needs no model. With --like or --not all examples make one query.

    \b
    Examples:
      viewkin search photos.collection cat/001.jpg
      viewkin search photos.collection new.jpg -k 20 --out matches.html
      viewkin search photos.collection new.jpg --where label=cat split=train
      viewkin search photos.collection --like a.jpg b.jpg --not c.jpg
    """  # noqa: D301 (click reads \b as: keep the lines)
    if model is not None:
        check_models(model)
    from viewkin.cli.output import PlainTable
    from viewkin.commands.match_files import as_json
    from viewkin.commands.search import SearchRequest
    from viewkin.commands.search import search as run

    request = SearchRequest(
        collection=collection,
        queries=tuple(queries or ()),
        like=tuple(like or ()),
        unlike=tuple(unlike or ()),
        k=k,
        where=tuple(where or ()),
        model=model,
        index=index,
        out=out,
        device=device,
    )
    with shown() as console:
        matches = run(request)
        if json:
            print(as_json(matches))
            return
        header, rows = matches.rows()
        table = PlainTable()
        for name in header:
            table.add_column(name, justify="right" if name in ("rank", "similarity") else "left", overflow="fold")
        for row in rows:
            table.add(*row)
        table.show(console)
        say(console, *matches.notes, *([f"Written to {out}"] if out is not None else []))
