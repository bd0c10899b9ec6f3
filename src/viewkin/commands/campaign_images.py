"""The images of a campaign: found, or the first of a larger set written beside the runs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from viewkin.campaigns.campaign import Edition
from viewkin.data.dataset import Dataset
from viewkin.data.source import Source
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing
from viewkin.runtime.progress import announce, progress_bar

PLACES = {
    "CIFAR-10": "data/cifar-10-batches-py",
    "CIFAR-100": "data/cifar-100-python",
    "Cars-196": "data/cars196",
    "ImageNet": "data/imagenet",
}
"""Set to where it usually lies."""
IMAGES = "images"
"""Folder beside the runs of the images that were written."""
BLOCK = 1000
"""Images that are written at a time."""


def images_for(data: str | None, edition: Edition, runs: Path) -> str:
    """Give the images of an edition; where its budget takes fewer than there are, the first are written to Parquet.

    Raises:
        UserError: they are not there, have no labels, or are too few.
    """
    if data is None:
        data = PLACES[edition.images]
        if not Path(data).exists():
            raise UserError(f"{data} is not there; name the images of {edition.images} with --data.")
    most, place = edition.budget.images, runs / IMAGES
    if most is not None and place.is_dir():
        return str(place)
    dataset = Dataset.of(data)
    survey = dataset.survey("train")
    if not survey.labelled:
        raise UserError(f"{data} has no labels, which judging needs; name the images of {edition.images} with --data.")
    if most is None:
        return data
    source = dataset.source("train", size=survey.shorter_side)
    if len(source) < most:
        raise UserError(
            f"{data} has {len(source):,} images for training; the budget takes {most:,}: name a larger set."
        )
    if len(source) == most:
        return data
    announce(f"The first {most:,} training images of {data} and its test images are written to {place}.")
    test = dataset.source("test", size=survey.shorter_side)
    with replacing(place) as part:
        part.mkdir(parents=True)
        _write(part / "train-00000-of-00001.parquet", source, most, "train")
        _write(part / "test-00000-of-00001.parquet", test, len(test), "test")
    return str(place)


def _write(file: Path, source: Source, count: int, split: str) -> None:
    """Write the first images of a source as Hugging Face Parquet: PNG and label."""
    if source.labels is None:
        raise UserError(f"The {split} images have no labels, which judging needs.")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    label = {"_type": "ClassLabel", "names": list(source.classes)}
    about = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    schema = pa.schema([("image", kind), ("label", pa.int64())], metadata={b"huggingface": json.dumps(about).encode()})
    labels = source.labels.tolist()
    with pq.ParquetWriter(file, schema) as writer, progress_bar(f"{split} images", count) as bar:
        for start in range(0, count, BLOCK):
            places = range(start, min(start + BLOCK, count))
            encoded = [{"bytes": _png(source, place), "path": None} for place in places]
            rows = [pa.array(encoded, kind), pa.array([labels[place] for place in places], pa.int64())]
            writer.write_table(pa.Table.from_arrays(rows, schema=schema))
            bar.advance(len(places))


def _png(source: Source, place: int) -> bytes:
    import torch

    pixels = source.images(torch.tensor([place]))[0].permute(1, 2, 0).contiguous().numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
