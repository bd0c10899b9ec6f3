"""Make a collection mirror a set of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from viewkin.collection.manifest import Origin
from viewkin.collection.update import update
from viewkin.collection.writer import Update, UpdateRequest
from viewkin.data.dataset import Dataset, Images
from viewkin.data.reading import Reading
from viewkin.encode.fingerprint import fingerprint_of
from viewkin.encode.model import Model
from viewkin.encode.precision import precision_for
from viewkin.runs.models import device_named, open_model
from viewkin.runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class EmbedCollectionRequest:
    """Which images a collection is to mirror, and by which model."""

    model: str
    """Run directory, backbone file or checkpoint."""
    data: Images
    """Images: a folder, a file, a list of paths, pictures or arrays."""
    to: Path
    """Folder of the collection; made where it is not there."""
    split: str | None = None
    """Split of the images; None: every image of every split, once."""
    features: str = "backbone"
    """``backbone``, or ``embedding`` (through the run's head as well)."""
    overwrite: bool = False
    """Let images of another place take the place of most of those that are there."""
    half: bool = False
    """Keep a new collection's vectors as float16."""
    precision: str = "auto"
    """``float32``, ``bfloat16``, ``int8``, or ``auto``: that of the collection or, in a new one, the fastest."""
    reading: Reading | None = None
    """Which columns hold images and labels, and whether labels are taken; None: found out."""
    device: str = "auto"
    """``cpu``, ``cuda`` or ``auto``."""


def embed_collection(request: EmbedCollectionRequest) -> Update:
    """Embed what is new or has changed, take over what was renamed, forget what is gone.

    Raises:
        UserError: a model, images or place that do not fit; a collection of another model or of other images.
    """
    device = device_named(request.device)
    precision_for(request.precision, 0)
    dataset = Dataset.of(request.data, request.reading)
    if dataset.place is not None and request.to.absolute() == dataset.place:
        raise UserError(f"--to {request.to} is the folder of the images: name another folder.")
    model = open_model(request.model, request.features, device)
    return update(
        UpdateRequest(
            folder=request.to,
            dataset=dataset,
            model=model,
            origin=origin_of(model, request.model, request.features),
            device=device,
            split=request.split,
            precision=request.precision,
            number="float16" if request.half else None,
            overwrite=request.overwrite,
        )
    )


def origin_of(model: Model, name: str, features: str) -> Origin:
    """Say what a manifest keeps of a model; the length of its vectors is known once an image is encoded."""
    place = str(Path(name).absolute()) if Path(name).exists() else name
    return Origin(fingerprint_of(model, features), name, place, features, model.image_size, 0)
