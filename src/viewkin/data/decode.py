"""From an encoded image of any kind to a square of uint8 RGB."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from viewkin.data.large import ONE, is_large, reduced, refuse_bomb
from viewkin.data.opening import is_pointer, opened, readable_png
from viewkin.data.values import (
    FULL,
    Range,
    UnrangedError,
    deep_values,
    eight_bits,
    grey_values,
    is_wide,
    read_lower_bytes,
    swapped_mode,
    thinned,
    usual_range,
)

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


def turn(image: Image.Image) -> Image.Transpose | None:
    """Read from the EXIF orientation how to turn an image upright; broken EXIF data leave it as it lies."""
    try:
        return UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the picture is fine even where its metadata are not; plugins raise nearly anything here
        return None


def to_rgb(image: Image.Image, value_range: Range | None = None) -> Image.Image:
    """Convert any Pillow mode to RGB: transparency goes onto white.

    Args:
        image: loaded.
        value_range: values of wide grey that become black and white; None: those that its type suggests.
    """
    if is_wide(image):
        values = grey_values(image)
        image = Image.fromarray(eight_bits(values, value_range or usual_range(values, image.mode)))
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


def square_of(rgb: Image.Image, method: Image.Transpose | None, size: int, squash: bool) -> NDArray[np.uint8]:
    """Turn an RGB image into its square, turned upright by ``method``: (3, size, size)."""
    square = (squashed if squash else central_square)(rgb, size)
    if method is None:
        return square
    turned = Image.fromarray(square.transpose(1, 2, 0)).transpose(method)
    return np.ascontiguousarray(np.asarray(turned).transpose(2, 0, 1))


def read(
    stream: Readable,
    size: int,
    *,
    squash: bool = False,
    value_range: Range | None = None,
    aside: dict[str, int] | None = None,
) -> NDArray[np.uint8]:
    """Decode to (3, size, size) uint8; raises what Pillow raises. An image of the caller's is left as it is.

    Args:
        stream: the encoded image, or a picture.
        size: side of the square, pixels.
        squash: resize the whole image to the square.
        value_range: values that become black and white in images of more than 8 bits; None: those of the type.
        aside: takes the number of ``pages`` that are not used, and whether the image is ``wide``. Who gives it wants a
            range for every wide image: UnrangedError is raised where there is none.
    """
    if isinstance(stream, Image.Image):
        stream.load()
        _note_wide(aside, value_range, is_wide(stream))
        return square_of(to_rgb(stream, value_range), turn(stream), size, squash)
    try:
        return _read(stream, size, squash, value_range, aside)
    except ValueError as error:
        return _read(readable_png(stream, error), size, squash, value_range, aside)


def _read(
    stream: Path | BinaryIO, size: int, squash: bool, value_range: Range | None, aside: dict[str, int] | None
) -> NDArray[np.uint8]:
    with opened(stream) as image:
        lower = swapped_mode(image)
        if aside is not None:
            aside["pages"] = pages_beyond(image)
        _note_wide(aside, value_range, is_wide(image) or lower is not None)
        if is_large(image):
            refuse_bomb(image, stream)
        # A JPEG decodes faster at 1/2, 1/4 or 1/8 scale. Five quarters of the stored side differ from full decoding by
        # 2.9 grey levels in the root mean square, twice the side by 2.4: no reason to decode four times the pixels.
        image.draft(None, (5 * size // 4, 5 * size // 4))
        if is_large(image):
            # Asked for data of the camera that a PNG file has not at its beginning, Pillow decodes all of it.
            method = turn(image) if image.format != "PNG" or "exif" in image.info else None
            with ONE:
                rgb = reduced(image, stream, 2 * size, partial(to_rgb, value_range=value_range))
            return square_of(rgb, method, size, squash)
        image.load()
        method = turn(image)
        if lower is not None and value_range not in (None, FULL):
            return square_of(_deep(image, stream, lower, value_range), method, size, squash)
        return square_of(to_rgb(image, value_range), method, size, squash)


def _note_wide(aside: dict[str, int] | None, value_range: Range | None, wide: bool) -> None:
    """Note an image of more than 8 bits.

    Raises:
        UnrangedError: it is wanted with a range, and there is none.
    """
    if wide and aside is not None:
        aside["wide"] = 1
        if value_range is None:
            raise UnrangedError


def _deep(image: Image.Image, stream: Path | BinaryIO, lower: str, value_range: Range) -> Image.Image:
    """Convert 16-bit colours to RGB by a range."""
    values = eight_bits(values_of_colours(image, stream, lower), value_range)
    if image.mode == "RGBA":
        values = np.concatenate([values, np.asarray(image)[..., 3:]], axis=2)
    return to_rgb(Image.fromarray(values))


def values_of_colours(image: Image.Image, stream: Path | BinaryIO, lower: str) -> NDArray[np.float64]:
    """Give the 16-bit colours of a loaded image (H, W, 3); its file is opened again for their lower bytes."""
    if not isinstance(stream, Path):
        stream.seek(0)
    with opened(stream) as again:
        return deep_values(image, read_lower_bytes(again, lower))


def pages_beyond(image: Image.Image) -> int:
    """Count the pages or frames of a file that are not used, all but the first.

    A camera's preview or depth beside its photograph (MPO) is none.
    """
    if image.format == "MPO":
        return 0
    try:
        return max(0, int(getattr(image, "n_frames", 1)) - 1)
    except Exception:  # a damaged page further on; the first is fine
        return 0
    finally:
        if image.format != "MPO" and image.tell():
            image.seek(0)


def values_in(stream: Readable) -> NDArray[np.float64] | None:
    """Give some values of an image of more than 8 bits; None for any other, and where it cannot be read."""
    try:
        if isinstance(stream, Image.Image):
            return thinned(grey_values(stream)) if is_wide(stream) else None
        with opened(stream) as image:
            lower = swapped_mode(image)
            if is_large(image) or not (is_wide(image) or lower is not None):
                return None
            image.load()
            if lower is not None:
                return thinned(values_of_colours(image, stream, lower))
            return thinned(grey_values(image))
    except Exception:  # as in decode; the first pass names the file
        return None


def decode(
    stream: Readable,
    size: int,
    *,
    squash: bool = False,
    value_range: Range | None = None,
    aside: dict[str, int] | None = None,
) -> NDArray[np.uint8] | str:
    """Decode as :func:`read` does, or say in words why it cannot be done."""
    try:
        return read(stream, size, squash=squash, value_range=value_range, aside=aside)
    except UnrangedError:
        raise
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error and more
        return reason(error, stream)


def shape(stream: Readable) -> tuple[int, int] | None:
    """Read (width, height) from the header, in pixels; None where there is no readable one."""
    if isinstance(stream, Image.Image):
        return stream.size
    try:
        try:
            with opened(stream) as image:
                return image.size
        except ValueError as error:
            with opened(readable_png(stream, error)) as image:
                return image.size
    except Exception:  # as in decode; the first pass names the file
        return None


def reason(error: Exception, stream: Readable | None = None) -> str:
    """Put an error in a few words that hold no path and no object's address."""
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror
    text = str(error).strip().split("\n")[0]
    if not text or "cannot identify" in text:
        return (
            "not an image that Pillow can read" if not is_pointer(stream) else "a Git LFS pointer: run 'git lfs pull'"
        )
    return text if isinstance(error, OSError | ValueError | SyntaxError) else f"{type(error).__name__}: {text}"
