"""One embedding for every image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from viewkin.collection.embeddings import Embeddings, read_schema
from viewkin.commands.output_files import check_target
from viewkin.data.dataset import Dataset, Images
from viewkin.encode.model import stored_size
from viewkin.runs.models import device_named, open_model
from viewkin.runtime.errors import UserError
from viewkin.runtime.provenance import versions


@dataclass(frozen=True, kw_only=True)
class EmbedRequest:
    """Which images to embed, and how."""

    model: str
    """Run directory, backbone file or checkpoint."""
    data: Images
    """Images: a folder, a file, a list of paths, pictures or arrays; one image is enough."""
    out: Path | None = None
    """Parquet file to write; None: no file."""
    split: str = "train"
    """Split of the images."""
    features: str = "backbone"
    """``backbone``, or ``embedding`` (through the run's head as well)."""
    normalise: bool = True
    """Scale every row to length 1."""
    device: str = "auto"
    """``cpu``, ``cuda`` or ``auto``."""


def embed(request: EmbedRequest) -> Embeddings:
    """Embed every image of a split; write the rows as Parquet where a file is named.

    Raises:
        UserError: a model, split or place that is not there.
    """
    if request.out is not None:
        check_target(request.out, ".parquet", read_schema)
    device = device_named(request.device)
    dataset = Dataset.of(request.data)
    if request.split not in dataset.splits:
        raise UserError(f"{dataset.name} has no {request.split} split; it has {', '.join(dataset.splits)}.")
    model = open_model(request.model, request.features, device)
    size = stored_size(dataset.survey(request.split), model.image_size)
    source = dataset.source(request.split, size=size, squash=model.policy.squash, least=1)
    rows = model.features(source, device)
    if request.normalise:
        rows = nn.functional.normalize(rows, dim=1)
    metadata = {"model": request.model, "features": model.name, "normalised": str(request.normalise), **versions()}
    embeddings = Embeddings(
        embeddings=rows,
        keys=tuple(source.keys),
        index=torch.arange(len(rows)),
        labels=source.labels,
        classes=source.classes,
        metadata=metadata,
        notes=source.notes,
    )
    if request.out is not None:
        embeddings.save(request.out)
    return embeddings
