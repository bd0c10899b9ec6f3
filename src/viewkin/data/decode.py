"""From an encoded image of any kind to a square of uint8 RGB."""

from __future__ import annotations

import contextlib
import importlib
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

GREY = 128
"""Grey level shown in place of an image that can no longer be read."""
ORIENTATION = 0x0112
"""EXIF tag of the camera's orientation."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation (EXIF 2.3, table 4)."""
Readable = Path | BinaryIO | Image.Image
"""What can be decoded: a file, a binary stream, or an image that Pillow has opened."""
WIDE = ("I", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of 16-bit grey, wherever it keeps them."""


@cache
def register_plugins() -> None:
    """Let Pillow read the kinds of image that installed plugins add."""
    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("pillow_heif").register_heif_opener()
    for plugin in ("pillow_avif", "pillow_jxl"):
        with contextlib.suppress(ImportError):
            importlib.import_module(plugin)  # it registers itself


def turn(image: Image.Image) -> Image.Transpose | None:
    """Read from the EXIF orientation how to turn an image upright; broken EXIF data leave it as it lies."""
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the picture is fine even where its metadata are not; plugins raise nearly anything here
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB: 16-bit grey maps 0..65535 to 0..255, transparency goes onto white.

    Float grey is taken as 0..1 where it lies in that range, else as 0..255.
    """
    if image.mode in WIDE:
        values = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        values = values * 255 if values.max() <= 1 else values
        image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")  # converting RGB would copy it


def central_square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize the shorter side of an RGB image to ``size`` pixels and cut out the centre: (3, size, size).

    Only the central square is resized, so it costs the same whatever the longer side.
    """
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return squashed(image.crop((left, top, left + side, top + side)), size)


def squashed(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Resize the whole of an RGB image to a square (bicubic, antialiased), whatever its shape: (3, size, size)."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if image.size != (size, size):
        # The same filter as Pillow's to a grey level or three, in a third of its time at 224 px.
        pixels = interpolate(pixels.unsqueeze(0), (size, size), mode="bicubic", antialias=True)[0]
    return pixels.contiguous().numpy()


def upright(image: Image.Image) -> Image.Image:
    """Give an image as it should be looked at: RGB, turned as its EXIF data say."""
    method = turn(image)
    rgb = to_rgb(image)
    return rgb if method is None else rgb.transpose(method)


def square_of(image: Image.Image, size: int, squash: bool) -> NDArray[np.uint8]:
    """Turn a loaded image into its upright square: (3, size, size)."""
    method = turn(image)
    square = (squashed if squash else central_square)(to_rgb(image), size)
    if method is None:
        return square
    turned = Image.fromarray(square.transpose(1, 2, 0)).transpose(method)
    return np.ascontiguousarray(np.asarray(turned).transpose(2, 0, 1))


def read(stream: Readable, size: int, *, squash: bool = False) -> NDArray[np.uint8]:
    """Decode to (3, size, size) uint8; raises what Pillow raises. An image of the caller's is left as it is."""
    if isinstance(stream, Image.Image):
        stream.load()
        return square_of(stream, size, squash)
    register_plugins()
    with Image.open(stream) as image:
        # A JPEG decodes faster at 1/2, 1/4 or 1/8 scale. Five quarters of the stored side differ from full decoding by
        # 2.9 grey levels in the root mean square, twice the side by 2.4: no reason to decode four times the pixels.
        image.draft(None, (5 * size // 4, 5 * size // 4))
        image.load()
        return square_of(image, size, squash)


def decode(stream: Readable, size: int, *, squash: bool = False) -> NDArray[np.uint8] | str:
    """Decode to (3, size, size) uint8, or say in words why it cannot be done."""
    try:
        return read(stream, size, squash=squash)
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error and more
        return reason(error)


def shape(stream: Readable) -> tuple[int, int] | None:
    """Read (width, height) from the header, in pixels; None where there is no readable one."""
    if isinstance(stream, Image.Image):
        return stream.size
    register_plugins()
    try:
        with Image.open(stream) as image:
            return image.size
    except Exception:  # as in decode; the first pass names the file
        return None


def reason(error: Exception) -> str:
    """Put an error in a few words that hold no path and no object's address."""
    text = str(error).strip().split("\n")[0]
    if not text or "cannot identify" in text:
        return "not an image that Pillow can read"
    return text if isinstance(error, OSError | ValueError | SyntaxError) else f"{type(error).__name__}: {text}"
