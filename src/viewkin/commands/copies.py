"""Copies of some of a user's own images, as they come about: encoded anew, resized, cropped."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image
from torch import Tensor

from viewkin.data.decode import Readable, to_rgb, turn
from viewkin.data.large import is_large
from viewkin.data.opening import opened
from viewkin.data.values import Range
from viewkin.encode.image_vectors import image_vectors
from viewkin.encode.model import Model
from viewkin.runtime.draws import generator_for

KINDS = ("encoded anew", "resized", "cropped")
"""What is done to make a copy."""
QUALITY = 60
"""JPEG quality of a copy that is encoded anew."""
SMALLER = 0.6
"""Sides of a resized copy, as a share."""
CUT = 0.85
"""Sides of a cropped copy, as a share."""
AT_ONCE = 32
"""Copies encoded at once: a large network needs gigabytes for more."""
LARGEST = 1024
"""Longer side at which a picture is taken to make copies of, pixels."""


def copies_of(image: Readable, value_range: Range | None = None) -> list[bytes] | None:
    """Make a copy of each kind, as the bytes of a JPEG; None for a picture of too many pixels to be read whole.

    Where the crop lies is drawn from the picture's own content, so it is the same in every call.

    Args:
        image: the picture.
        value_range: values that become black and white in pictures of more than 8 bits.
    """
    if isinstance(image, Image.Image):
        image.load()
        rgb, method = to_rgb(image, value_range), turn(image)
    else:
        stream: Path | BinaryIO = image
        with opened(stream) as file:
            if is_large(file):
                return None
            file.draft("RGB", (LARGEST, LARGEST))
            file.load()
            rgb, method = to_rgb(file, value_range), turn(file)
    rgb = rgb.copy()
    rgb.thumbnail((LARGEST, LARGEST))
    rgb = rgb if method is None else rgb.transpose(method)
    width, height = rgb.size
    anew = encoded(rgb, QUALITY)
    cut = max(1, round(CUT * width)), max(1, round(CUT * height))
    across, down = torch.rand(2, generator=generator_for("crop", blake2b(anew).hexdigest())).tolist()
    left, top = round(across * (width - cut[0])), round(down * (height - cut[1]))
    smaller = rgb.resize((max(8, round(SMALLER * width)), max(8, round(SMALLER * height))), Image.Resampling.LANCZOS)
    cropped = rgb.crop((left, top, left + cut[0], top + cut[1]))
    return [anew, encoded(smaller, 90), encoded(cropped, 90)]


def encoded(picture: Image.Image, quality: int) -> bytes:
    """Encode as JPEG."""
    sink = BytesIO()
    picture.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


class CopiesInMemory:
    """Copies by position, as a model reads images."""

    def __init__(self, copies: Sequence[bytes]) -> None:
        """Take encoded images."""
        self._copies = copies

    def __len__(self) -> int:
        """Count them."""
        return len(self._copies)

    def open(self, position: int) -> BinaryIO:
        """Open one."""
        return BytesIO(self._copies[position])


def vectors_of_copies(model: Model, copies: Sequence[bytes], device: torch.device) -> Tensor:
    """Encode copies: (C, D), unit norm."""
    stored, parts = CopiesInMemory(copies), range(0, len(copies), AT_ONCE)
    positions = [range(start, min(start + AT_ONCE, len(copies))) for start in parts]
    blocks = [block.rows for some in positions for block in image_vectors(model, stored, some, device)]
    return torch.nn.functional.normalize(torch.cat(blocks), dim=1)
