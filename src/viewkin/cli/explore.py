"""``viewkin explore``: options in, one page served."""

from __future__ import annotations

import importlib.util
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from viewkin.cli.early_checks import check_models
from viewkin.cli.options import Device
from viewkin.cli.terminal import say, shown
from viewkin.runtime.errors import UserError

NEEDED = ("starlette", "uvicorn")
INTERRUPTED = 130


def explore(
    collection: Annotated[Path, typer.Argument(metavar="COLLECTION", help="Folder that `viewkin embed --to` wrote.")],
    other: Annotated[
        Path | None,
        typer.Argument(
            metavar="[COLLECTION2]", help="A collection by another model, to compare with.", show_default=False
        ),
    ] = None,
    columns: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="CSV or Parquet with a column key: more columns to colour by. Repeatable."),
    ] = None,
    map_: Annotated[
        str, typer.Option("--map", metavar="NAME", help="auto, tsne, umap, or pca, which is there at once.")
    ] = "auto",
    port: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="Port; 0 for any that is free [default: the first free one from 8470]."),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address of this machine to answer at.")] = "127.0.0.1",
    open_to_network: Annotated[
        bool, typer.Option("--open-to-network", help="Allow a --host that other machines reach.")
    ] = False,
    token: Annotated[
        bool, typer.Option("--token", help="Ask for a token, where other people use this machine.")
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Where the model is now, if it has moved; twice for two collections."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Show a collection as a page in the browser: a map of all images, neighbours, lists, marks.

    Give two collections of the same images by two models to see what changes in the neighbours. Press Ctrl-C to stop.

    \b
    Examples:
      viewkin explore photos.collection
      viewkin explore photos.collection --no-browser --port 9000
      viewkin explore before.collection after.collection
      viewkin explore photos.collection --columns clusters.parquet
    """  # noqa: D301 (click reads \b as: keep the lines)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"The page needs {' and '.join(missing)}: pip install 'viewkin[explore]'.")
    check_models(*(model or ()))
    from viewkin.explorer.server import ExploreRequest, Page

    request = ExploreRequest(
        collections=(collection,) if other is None else (collection, other),
        models=tuple(model or ()),
        columns=tuple(columns or ()),
        map=map_,
        host=host,
        port=port,
        open_to_network=open_to_network,
        token=token,
        device=device,
    )
    with shown() as console:
        page = Page(request)
        if page.open_to_network:
            say(console, "Warning: whoever reaches this machine and knows the token below can see all images.")
        names = " and ".join(f"{one.name} ({len(one.reader):,} images)" for one in page.collections)
        say(console, f"{names}: {page.address}", "Press Ctrl-C to stop.")
        if browser:
            webbrowser.open(page.address)
        try:
            page.run()
        except SystemExit as stopped:
            if stopped.code != INTERRUPTED:
                raise
            say(console, "Stopped.")
