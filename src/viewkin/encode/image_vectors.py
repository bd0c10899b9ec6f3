"""One vector for each image, which depends on that image and the model alone, whatever lies beside it.

:meth:`viewkin.encode.model.Model.features` stores all images of a set at one size, chosen by the set. Here each image
is stored by its own size, so a vector stays the same when images are added, and a query is seen as an image of the
collection is. The content is hashed from the very bytes that are decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from viewkin.augment.views import test_view
from viewkin.data.decode import Readable, decode, reason, shape
from viewkin.data.formats.pixels import PixelImages
from viewkin.data.identity import EDGE, content_of, content_of_ends
from viewkin.data.listing import Openable
from viewkin.data.pillow_warnings import PillowWarnings
from viewkin.data.pool import default_threads, in_order
from viewkin.data.values import UnrangedError
from viewkin.encode.features import frozen
from viewkin.encode.model import LARGEST_STORED, Model
from viewkin.encode.precision import CALIBRATION, Chosen, Precision, in_precision
from viewkin.runtime.allocation import kept_memory
from viewkin.runtime.errors import UserError

BLOCK = 256
"""Images encoded at once."""
CHUNK = 16
"""Images decoded by one task of the pool."""
SMALLEST_STORED = 8
"""Side of the smallest images that are kept, pixels."""
Range = tuple[float, float]
"""Values of images of more than 8 bits that become black and white."""


@dataclass(frozen=True)
class SeenImage:
    """An image as it was read."""

    pixels: NDArray[np.uint8]
    """(3, s, s), its central square at the size it is stored at."""
    content: str
    """Content id of what was decoded."""
    whole: str | None
    """BLAKE2b-128 of all its bytes, where the content id leaves out some; else None."""
    size: int | None
    """Bytes of the encoded image; None for pixels without a file."""
    width: int
    """Width, pixels, as stored in the file."""
    height: int
    """Height, pixels."""


@dataclass(frozen=True)
class Vectors:
    """Some images and their vectors."""

    positions: list[int]
    """Positions in the listing of the images that could be read."""
    rows: Tensor
    """(n, D) float32 on the CPU."""
    images: list[SeenImage]
    """The images, in the same order."""
    unread: dict[int, str] = field(default_factory=dict[int, str])
    """Position to reason of those that could not be read."""


def image_vectors(
    model: Model,
    encoded: Openable,
    positions: Sequence[int],
    device: torch.device,
    choose_range: Callable[[], Range] | None = None,
    precision: Precision = "float32",
    settled: Callable[[Chosen], None] | None = None,
) -> Generator[Vectors]:
    """Encode images by position, in order, in blocks of at most ``BLOCK``.

    Args:
        model: the model; its own range of values goes before any other.
        encoded: the images.
        positions: which of them.
        device: where the network runs.
        choose_range: gives the range of values for images of more than 8 bits; None: the range of their type.
        precision: form that the network runs in; what has to be tried or measured for it, is by the first block.
        settled: is told of that form, where it is not float32.

    Raises:
        UserError: the encoder gives anything but one finite row an image, or cannot run in the precision.
    """
    model.to(device)
    network = model.encoder
    chunks = [positions[i : i + CHUNK] for i in range(0, len(positions), CHUNK)]
    look = partial(seen_image, model=model, encoded=encoded, choose_range=choose_range)

    def work(chunk: Sequence[int]) -> list[tuple[int, SeenImage | str]]:
        return [(position, look(position)) for position in chunk]

    held = encoded.read() if isinstance(encoded, PixelImages) else None  # an archive is read once while it is held

    def formed(model: Model, block: Sequence[tuple[int, SeenImage | str]]) -> Model:
        images = [image for _, image in block if isinstance(image, SeenImage)][:CALIBRATION]
        if precision == "float32" or model.encoder is not network or not images:
            return model
        chosen = in_precision(model, precision, views_of(model, images, device), device)
        if settled is not None:
            settled(chosen)
        return chosen.model

    with PillowWarnings(), kept_memory(device.type == "cpu"), frozen(network):
        waiting: list[tuple[int, SeenImage | str]] = []
        for part in in_order(work, chunks, default_threads()):
            waiting += part
            if len(waiting) >= BLOCK:
                model = formed(model, waiting[:BLOCK])
                yield encode_block(model, waiting[:BLOCK], device)
                waiting = waiting[BLOCK:]
        if waiting:
            yield encode_block(formed(model, waiting), waiting, device)
    del held


def seen_image(
    position: int, model: Model, encoded: Openable, choose_range: Callable[[], Range] | None
) -> SeenImage | str:
    """Read one image, or say why it cannot be read."""
    try:
        image = encoded.open(position)
        data = (
            image.read_bytes() if isinstance(image, Path) else None if isinstance(image, Image.Image) else _all(image)
        )
    except OSError as error:
        return reason(error)
    stream: Callable[[], Readable] = (lambda: image) if data is None else partial(BytesIO, data)
    size = shape(stream())
    if size is None:  # the decoder says why
        said = decode(image, SMALLEST_STORED)
        return said if isinstance(said, str) else "not an image that Pillow can read"
    side = stored_side(size, model.image_size)
    try:
        aside: dict[str, int] | None = None if choose_range is None else {}
        pixels = decode(stream(), side, squash=model.policy.squash, value_range=model.value_range, aside=aside)
    except UnrangedError:
        assert choose_range is not None
        pixels = decode(stream(), side, squash=model.policy.squash, value_range=choose_range())
    if isinstance(pixels, str):
        return pixels
    content = content_of(image) if data is None else content_of_ends(len(data), data[:EDGE], data[EDGE:][-EDGE:])
    return SeenImage(pixels, content.hex(), whole_of(data), None if data is None else len(data), *size)


def stored_side(size: tuple[int, int], image_size: int) -> int:
    """Side at which an image is stored: a margin of 256/224 around the view; its own shorter side if that is less."""
    return max(SMALLEST_STORED, min(round(image_size * 256 / 224), LARGEST_STORED, min(size)))


def whole_of(data: bytes | None) -> str | None:
    """Hash all bytes of an encoded image that is longer than what its content id reads; else None."""
    if data is None or len(data) <= 2 * EDGE:
        return None
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def encode_block(model: Model, seen: Sequence[tuple[int, SeenImage | str]], device: torch.device) -> Vectors:
    """Encode some images that were read.

    Raises:
        UserError: the encoder gives anything but one finite row an image.
    """
    unread = {position: why for position, why in seen if isinstance(why, str)}
    positions = [position for position, image in seen if isinstance(image, SeenImage)]
    images = [image for _, image in seen if isinstance(image, SeenImage)]
    if not images:
        return Vectors([], torch.empty(0, 0), [], unread)
    with torch.no_grad():
        rows: Any = model.encoder(views_of(model, images, device))
    if rows.ndim != 2 or len(rows) != len(images):
        raise UserError(f"the encoder turned {len(images)} images into {tuple(rows.shape)}: it must give a row each.")
    if not bool(torch.isfinite(rows).all()):
        raise UserError("the vectors hold NaN or infinity: the network has diverged; train it again or name another.")
    return Vectors(positions, rows.float().cpu(), images, unread)


def views_of(model: Model, images: Sequence[SeenImage], device: torch.device) -> Tensor:
    """Make the test views of some images: (n, 3, h, h) normalised."""
    views = torch.empty(len(images), 3, model.image_size, model.image_size, device=device)
    for side in {image.pixels.shape[-1] for image in images}:
        places = [place for place, image in enumerate(images) if image.pixels.shape[-1] == side]
        pixels = torch.from_numpy(np.stack([images[place].pixels for place in places]))
        views[torch.tensor(places, device=device)] = test_view(pixels.to(device), model.image_size, model.policy)
    return views


def _all(stream: BinaryIO) -> bytes:
    return stream.getvalue() if isinstance(stream, BytesIO) else stream.read()
