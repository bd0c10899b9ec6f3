"""Embed images: into memory, a file, or a collection."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, overload

from viewkin.api.collection import Collection
from viewkin.api.notebook import progress_where_seen
from viewkin.collection.embeddings import Embeddings
from viewkin.commands.embed import EmbedRequest
from viewkin.commands.embed import embed as embed_images
from viewkin.commands.embed_collection import EmbedCollectionRequest, embed_collection
from viewkin.data.dataset import Images
from viewkin.data.reading import Reading
from viewkin.runtime.errors import require


class HasPath(Protocol):
    """What lies in a folder, such as a :class:`viewkin.Run`."""

    path: Path


@overload
def embed(
    model: HasPath | Path | str,
    images: Images,
    *,
    to: None = None,
    split: str | None = None,
    features: str = "backbone",
    normalise: bool = True,
    half: bool = False,
    precision: str = "auto",
    image_column: str | None = None,
    label_column: str | None = None,
    labels: bool = True,
    out: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Embeddings: ...
@overload
def embed(
    model: HasPath | Path | str,
    images: Images,
    *,
    to: Path | str,
    split: str | None = None,
    features: str = "backbone",
    normalise: bool = True,
    half: bool = False,
    precision: str = "auto",
    image_column: str | None = None,
    label_column: str | None = None,
    labels: bool = True,
    out: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Collection: ...
def embed(
    model: HasPath | Path | str,
    images: Images,
    *,
    to: Path | str | None = None,
    split: str | None = None,
    features: str = "backbone",
    normalise: bool = True,
    half: bool = False,
    precision: str = "auto",
    image_column: str | None = None,
    label_column: str | None = None,
    labels: bool = True,
    out: Path | str | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Embeddings | Collection:
    """Embed images: one row of numbers each; images that look alike to the network have rows of high cosine.

    Args:
        model: a run, its directory, a backbone file or a checkpoint.
        images: folder, file, list of paths, PIL images or arrays; one image is enough.
        to: folder of a collection to bring up to date, made if it is not there: only new and changed images are
            computed, renamed ones keep their row, and those that are gone are forgotten. It is returned, opened.
        split: split of the images; None: every image of every split, once, with the split in ``splits``.
        features: ``backbone``, or ``embedding`` (through the run's head as well).
        normalise: scale every row to length 1.
        half: keep a new collection's vectors as float16.
        precision: form that the network runs in: ``float32``, ``bfloat16``, ``int8``, or ``auto``, the faster of the
            first two by a trial; a collection keeps to that of its first images.
        image_column: column of Parquet files that holds the images; None: found by its name or type.
        label_column: column of Parquet files that holds the labels; None: found by its name or type.
        labels: whether to take labels from folders, columns and annotations.
        out: file to write as well, by its ending: .parquet, .csv or .npy.
        overwrite: replace a file of other images or of another model too.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        UserError: a model, images or place that do not fit.
    """
    reading = Reading(image_column=image_column, label_column=label_column, labels=labels)
    if to is not None:
        require(normalise, "normalise", normalise, "True for a collection, which keeps rows of length 1")
        require(out is None, "out", out, "None beside to: write the file by another call")
        into = EmbedCollectionRequest(
            model=name_of(model),
            data=images,
            to=Path(to),
            split=split,
            features=features,
            overwrite=overwrite,
            half=half,
            precision=precision,
            reading=reading,
            device=device,
        )
        with progress_where_seen():
            update = embed_collection(into)
        collection = Collection(to, model=name_of(model), device=device)
        collection.notes = (*update.notes, update.sentence)
        return collection
    request = EmbedRequest(
        model=name_of(model),
        data=images,
        out=None if out is None else Path(out),
        overwrite=overwrite,
        split=split,
        features=features,
        normalise=normalise,
        precision=precision,
        reading=reading,
        device=device,
    )
    with progress_where_seen():
        return embed_images(request)


def name_of(model: HasPath | Path | str) -> str:
    """Give the path of a model."""
    return str(model) if isinstance(model, (str, Path)) else str(model.path)
