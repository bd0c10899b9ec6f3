"""One embedding for every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from viewkin.augment.views import test_view
from viewkin.collection.embeddings import Embeddings
from viewkin.commands.embeddings_file import Origin, check_embeddings_file
from viewkin.data.dataset import Dataset, Images
from viewkin.data.reading import Reading
from viewkin.data.source import Source
from viewkin.encode.model import Model, stored_size
from viewkin.encode.precision import CALIBRATION, in_precision, precision_for
from viewkin.runs.models import device_named, open_model
from viewkin.runtime.errors import UserError
from viewkin.runtime.provenance import versions
from viewkin.runtime.wording import counted


@dataclass(frozen=True, kw_only=True)
class EmbedRequest:
    """Which images to embed, and how."""

    model: str
    """Run directory, backbone file or checkpoint."""
    data: Images
    """Images: a folder, a file, a list of paths, pictures or arrays; one image is enough."""
    out: Path | None = None
    """File to write: .parquet, .csv or .npy; None: no file."""
    overwrite: bool = False
    """Replace a file of other images or of another model too."""
    split: str | None = None
    """Split of the images; None: every image of every split, once."""
    features: str = "backbone"
    """``backbone``, or ``embedding`` (through the run's head as well)."""
    normalise: bool = True
    """Scale every row to length 1."""
    precision: str = "auto"
    """Form that the network runs in: ``float32``, ``bfloat16``, ``int8``, or ``auto``, the fastest of the first two."""
    reading: Reading | None = None
    """Which columns hold images and labels, and whether labels are taken; None: found out."""
    device: str = "auto"
    """``cpu``, ``cuda`` or ``auto``."""


def embed(request: EmbedRequest) -> Embeddings:
    """Embed every image of a set, or of one split; write the rows where a file is named.

    Raises:
        UserError: a model, split or place that is not there, or a file that holds something else.
    """
    device = device_named(request.device)
    precision_for(request.precision, 0)
    dataset = Dataset.of(request.data, request.reading)
    if request.split is not None and request.split not in dataset.splits:
        raise UserError(f"{dataset.name} has no {request.split} split; it has {', '.join(dataset.splits)}.")
    origin = Origin.of(request.model, request.features, dataset)
    if request.out is not None:
        check_embeddings_file(request.out, origin, dataset, overwrite=request.overwrite)
    model = open_model(request.model, request.features, device)
    keys, notes = chosen_keys(dataset, request.split)
    sources = {split: source for split in keys if (source := opened(dataset, split, keys, model, notes)) is not None}
    if not sources:
        raise UserError(" ".join(notes))
    model, precision = formed(model, request.precision, [*sources.values()], device, notes)
    rows = torch.cat([model.features(source, device) for source in sources.values()])
    if request.normalise:
        rows = nn.functional.normalize(rows, dim=1)
    labels, classes = joined_labels([*sources.values()])
    metadata: dict[str, Any] = {"features": model.name, "normalised": str(request.normalise), **versions()}
    metadata["precision"] = precision
    embeddings = Embeddings(
        embeddings=rows,
        keys=tuple(key for source in sources.values() for key in source.keys),
        index=torch.arange(len(rows)),
        splits=tuple(split for split, source in sources.items() for _ in range(len(source))),
        labels=labels,
        classes=classes,
        metadata={**origin.metadata(), **metadata},
        notes=tuple(dict.fromkeys([*notes, *(note for source in sources.values() for note in source.notes)])),
    )
    if request.out is not None:
        embeddings.save(request.out)
    return embeddings


def formed(
    model: Model, asked: str, sources: Sequence[Source], device: torch.device, notes: list[str]
) -> tuple[Model, str]:
    """Put a model into the form that is asked for, or into the fastest; say so in ``notes``.

    Raises:
        UserError: it cannot run in that form.
    """
    precision = precision_for(asked, sum(map(len, sources)))
    if precision == "float32":
        return model, precision
    pixels = sources[0].images(torch.arange(min(CALIBRATION, len(sources[0]))))
    chosen = in_precision(model, precision, test_view(pixels.to(device), model.image_size, model.policy), device)
    if chosen.note is not None:
        notes.append(chosen.note)
    return chosen.model, chosen.precision


def chosen_keys(dataset: Dataset, split: str | None) -> tuple[dict[str, set[str]], list[str]]:
    """Choose the images to embed: split to keys, each image in the first split that lists it.

    So ``test`` adds nothing where it is another name of ``val``, and neither does ``trainval``.

    Returns:
        The keys, and sentences on what is left out.

    Raises:
        UserError: nothing can be listed.
    """
    keys: dict[str, set[str]] = {}
    notes: list[str] = []
    order = dataset.splits if split is None else [split, *(name for name in dataset.splits if name != split)]
    for name in order:
        try:
            listed = set(dataset.listing(name).keys)
        except UserError as error:
            if name == split or len(order) == 1:
                raise
            notes.append(f"The {name} split is not embedded: {error}")
            continue
        new = listed.difference(*keys.values())
        if new:
            keys[name] = new
    if split is not None:
        others = [f"{counted(len(one), 'image')} of the {name} split" for name, one in keys.items() if name != split]
        if others:
            verb = "is" if others[0].startswith("1 ") and len(others) == 1 else "are"
            notes.append(f"{' and '.join(others)} {verb} not embedded.")
        keys = {name: one for name, one in keys.items() if name == split}
    return keys, notes


def opened(dataset: Dataset, split: str, keys: dict[str, set[str]], model: Model, notes: list[str]) -> Source | None:
    """Open the images of a split that no earlier one has.

    Returns:
        The images; None, with a note, where other splits can be embedded and none of this one can be read.

    Raises:
        UserError: none can be read, and there is no other split.
    """
    try:
        size = stored_size(dataset.survey(split), model.image_size)
        source = dataset.source(split, size=size, squash=model.policy.squash, least=1, value_range=model.value_range)
    except UserError as error:
        if len(keys) == 1:
            raise
        notes.append(f"The {split} split is not embedded: {error}")
        return None
    kept = [place for place, key in enumerate(source.keys) if key in keys[split]]
    return source if len(kept) == len(source) else source.subset(torch.tensor(kept, dtype=torch.int64))


def joined_labels(sources: list[Source]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Join the labels of splits, -1 where an image has none; classes of splits are joined by name."""
    if all(source.labels is None for source in sources):
        return None, ()
    classes = tuple(dict.fromkeys(name for source in sources for name in source.classes if source.labels is not None))
    joined: list[Tensor] = []
    for source in sources:
        labels = torch.full((len(source),), -1) if source.labels is None else source.labels
        if source.classes and source.classes != classes and source.labels is not None:
            number = torch.tensor([*(classes.index(name) for name in source.classes), -1])
            labels = number[labels]  # -1 takes the last
        joined.append(labels)
    return torch.cat(joined), classes
