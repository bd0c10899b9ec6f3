"""The images on which an export is compared with the network that it came from."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viewkin.commands.model_facts import without_folders
from viewkin.data.dataset import Dataset, Images
from viewkin.data.decode import upright
from viewkin.data.listing import evenly
from viewkin.data.opening import opened
from viewkin.encode.model import Model
from viewkin.runs.record import RunRecord
from viewkin.runtime.errors import UserError

COUNT = 8
"""Images to compare on."""
DRAWN = 20
"""Images of a rendered set, two of each class; some of them are compared on."""
CUT = 0.75
"""Height of every second rendered image, as a share of its width."""


def pictures_for(images: Images | None, record: RunRecord | None, model: Model) -> tuple[list[NDArray[np.uint8]], str]:
    """Choose images: those that the user named, else some that the run was trained on, else rendered ones.

    Returns:
        Each image (H, W, 3), upright; what they are, in a few words.

    Raises:
        UserError: none of the images that the user named can be read.
    """
    if images is not None:
        dataset = Dataset.of(images)
        found = read_pictures(dataset)
        if not found:
            raise UserError(f"No image of {dataset.name} can be read: give other images to compare on.")
        return found, f"{len(found)} of {without_folders(dataset.name)}"
    if record is not None:
        with suppress(UserError):
            found = read_pictures(record.stored.images_from())
            if found:
                return found, f"{len(found)} of those that it was trained on"
    side = round(model.image_size * 1.25)
    drawn = read_pictures(Dataset.of(f"generated:images={DRAWN},size={side}"))
    return [one[: round(CUT * side)] if place % 2 else one for place, one in enumerate(drawn)], f"{COUNT} rendered ones"


def read_pictures(dataset: Dataset) -> list[NDArray[np.uint8]]:
    """Read some images, evenly spread over the first split; what cannot be read is left out."""
    listing = dataset.listing(dataset.splits[0])
    encoded = listing.encoded
    found: list[NDArray[np.uint8]] = []
    for place in evenly(len(listing.keys), COUNT):
        with suppress(Exception):  # Pillow's plugins raise nearly anything for a damaged file
            found.append(read_picture(encoded.open(place)))
    return found


def read_picture(stream: Any) -> NDArray[np.uint8]:
    """Decode an image: (H, W, 3), upright."""
    if isinstance(stream, Image.Image):
        return np.array(upright(stream))
    with opened(stream) as image:
        image.load()
        return np.array(upright(image))
