"""What the commands on a collection find, on the terminal; options that they share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from viewkin.cli.terminal import say
from viewkin.runtime.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from viewkin.collection.findings import Findings

LINES = 40
"""Rows that a table shows; a file has all."""
CollectionFolder = Annotated[Path, typer.Argument(metavar="COLLECTION", help="Folder that `viewkin embed --to` wrote.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="File to write: .csv, .parquet or .json.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Labels = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="CSV or Parquet with the columns key and label [default: the collection's own]."),
]
Seed = Annotated[int, typer.Option(metavar="NUMBER", help="Seed of all draws.")]


def show_findings(console: Console, found: Findings, out: Path | None, as_json: bool) -> None:
    """Print a table of the first rows and the sentences, or JSON alone."""
    from viewkin.cli.output import PlainTable
    from viewkin.commands.finding_files import as_json as written

    if as_json:
        print(written(found))
        return
    header, rows = found.cells(LINES)
    if rows:
        table = PlainTable()
        numbers = {"group", "rank", "likeness", "similarity", "distance", "value", "limit", "confidence", "score"}
        for name in header:
            table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
        for row in rows:
            table.add(*row)
        table.show(console)
    if len(found) > LINES:
        hint = "--out FILE writes all" if out is None else "the file has all"
        say(console, f"These are the first {LINES} of {counted(len(found), 'row')}; {hint}.")
    say(console, *found.notes, *([f"Written to {out}"] if out is not None else []))
