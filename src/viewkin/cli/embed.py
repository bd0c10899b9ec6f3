"""``viewkin embed``: options in, one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viewkin.cli.early_checks import check_images, check_models
from viewkin.cli.options import Data, Device, Features, ImageColumn, LabelColumn, Model, NoLabels
from viewkin.cli.terminal import say, shown
from viewkin.runtime.errors import UserError
from viewkin.runtime.wording import counted


def embed(
    model: Model,
    data: Data,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write: .parquet, .csv or .npy.")] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Collection to bring up to date; made if it is not there.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Embed this split only [default: every split].")
    ] = None,
    features: Features = "backbone",
    normalise: Annotated[bool, typer.Option(help="Scale every row to length 1.")] = True,
    half: Annotated[
        bool, typer.Option("--half", help="Keep the vectors of a new collection as float16, in half the space.")
    ] = False,
    precision: Annotated[
        str,
        typer.Option(metavar="NAME", help="float32, bfloat16, int8, or auto: the faster of the first two by a trial."),
    ] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace embeddings of other images or by another model too.")
    ] = False,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    no_labels: NoLabels = False,
    device: Device = "auto",
) -> None:
    """Write one embedding for every image of every split, to a file or to a collection.

    \b
    --out x.parquet   the columns id, path, split, label and class_name (where known), embedding
    --out x.csv       key, split, label, class_name, then a column for each number: e0, e1, ...
    --out x.npy       the matrix; the other columns are in a .csv of the same name
    --to x.collection a folder that grows with the images: only new and changed ones are computed, renamed ones
                      keep their row, and those that are gone are forgotten; `viewkin search` looks into it

    \b
    Examples:
      viewkin embed runs/mine photos/ --out photos.parquet
      viewkin embed runs/mine photos/ --to photos.collection
      viewkin embed runs/mine photos/ --split test --out test.csv
    """  # noqa: D301 (click reads \b as: keep the lines)
    if out is None and to is None:
        raise UserError("Say where the embeddings go: --out FILE for a file, or --to DIR for a collection.")
    if to is not None and not normalise:
        raise UserError("A collection keeps rows of length 1: leave out --no-normalise, or write a file by --out.")
    if half and to is None:
        raise UserError("--half is for a collection: name one by --to.")
    check_models(model)
    check_images(data)
    from viewkin.commands.embed import EmbedRequest
    from viewkin.commands.embed import embed as to_file
    from viewkin.commands.embed_collection import EmbedCollectionRequest, embed_collection
    from viewkin.data.reading import Reading

    reading = Reading(image_column=image_column, label_column=label_column, labels=not no_labels)
    with shown() as console:
        if out is not None:
            request = EmbedRequest(
                model=model,
                data=data,
                out=out,
                overwrite=overwrite,
                split=split,
                features=features,
                normalise=normalise,
                precision=precision,
                reading=reading,
                device=device,
            )
            embeddings = to_file(request)
            rows, width = embeddings.embeddings.shape
            say(console, *embeddings.notes, f"{counted(rows, 'embedding')} of {width} numbers in {out}")
        if to is not None:
            update = embed_collection(
                EmbedCollectionRequest(
                    model=model,
                    data=data,
                    to=to,
                    split=split,
                    features=features,
                    overwrite=overwrite,
                    half=half,
                    precision=precision,
                    reading=reading,
                    device=device,
                )
            )
            say(console, *update.notes, f"{to}: {update.sentence}")
