"""Images that a caller hands over: a file, a list of files, pictures of Pillow, arrays or tensors."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from viewkin.data.cache import Stamp
from viewkin.data.decode import Readable
from viewkin.data.formats.folder import FileImages
from viewkin.data.formats.tree import printable
from viewkin.data.layout import Layout
from viewkin.data.listing import Encoded, Listing, evenly
from viewkin.runtime.errors import UserError

Given = Path | Image.Image | NDArray[np.uint8]
"""One image: a file, a picture, or the pixels (H, W, 3), (H, W, 4) or (H, W)."""
LOADING = Lock()
"""A picture that is given twice must not be loaded by two threads."""


class ImagesInMemory:
    """Images that a caller holds, by position; some may be files."""

    def __init__(self, images: Sequence[Given]) -> None:
        self._images = images

    def __len__(self) -> int:
        """Count the images."""
        return len(self._images)

    def open(self, position: int) -> Readable:
        """Give one image as the decoder takes it; the caller's own picture is loaded and otherwise left as it is."""
        image = self._images[position]
        if isinstance(image, np.ndarray):
            return Image.fromarray(image)
        if isinstance(image, Image.Image):
            with LOADING:
                return loaded(image)
        return image

    def sample(self, count: int) -> list[int]:
        """Choose ``count`` positions at even distances."""
        return evenly(len(self), count)

    def stamps(self) -> list[Stamp]:
        """Give none: nothing tells pixels in memory from those of another time, so nothing is cached."""
        return []

    def random_access(self, folder: Path) -> ImagesInMemory:
        """Give the images themselves."""
        return self


def loaded(image: Image.Image) -> Image.Image:
    """Load a picture that Pillow has only opened; a broken one fails again, and in words, when it is decoded."""
    try:
        image.load()
    except Exception:  # Pillow's plugins raise nearly anything
        return image
    return image


class ImageListLayout(Layout):
    """Images that a caller hands over, in the order given: one split, ``train``, without labels.

    The key of a file is its path relative to the folder that all lie in. If any image is in memory, the keys are the
    positions.
    """

    def __init__(self, images: Sequence[Given], title: str, address: str | None = None) -> None:
        """Take images.

        Args:
            images: files as absolute paths, pictures and arrays.
            title: name of the set in messages.
            address: text that names the same set, where there is one.

        Raises:
            UserError: no image, or a file that is given twice.
        """
        if not images:
            raise UserError("The list of images is empty: give at least one image.")
        self.title, self.address = title, address
        self._images: Encoded = ImagesInMemory(images)
        self._keys = [str(i) for i in range(len(images))]
        paths = [image for image in images if isinstance(image, Path)]
        if len(paths) == len(images):
            self.root = common_folder(paths)
            relative = [path.relative_to(self.root).as_posix() for path in paths]
            self._images, self._keys = FileImages(self.root, relative), [printable(path) for path in relative]
            twice = next((key for key, count in Counter(self._keys).items() if count > 1), None)
            if twice is not None:
                raise UserError(f"{twice} is given twice in the list of images: give each image once.")

    @property
    def splits(self) -> tuple[str, ...]:
        """The one split there is."""
        return ("train",)

    def listing(self, split: str) -> Listing:
        """List the images.

        Raises:
            UserError: another split than train.
        """
        if split != "train":
            raise UserError(
                f"{self.title} has no {split} split, only train: give a folder with a {split} folder in it, "
                "or set part of the images aside with --holdout."
            )
        return Listing(name=self.title, encoded=self._images, keys=self._keys, splits=self.splits)


def common_folder(paths: Sequence[Path]) -> Path:
    """Find the folder that all absolute paths lie in."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def array_images(pixels: NDArray[Any]) -> list[NDArray[np.uint8]]:
    """Take an array apart into images.

    Args:
        pixels: uint8, (H, W), (H, W, 3) or (H, W, 4) for one image, (N, H, W, 3) or (N, H, W, 4) for several.

    Raises:
        UserError: another type or shape.
    """
    if pixels.dtype != np.uint8:
        raise UserError(
            f"An array of images holds whole numbers of 0 to 255 (uint8), not {pixels.dtype}: convert it first."
        )
    coloured = pixels.ndim in (3, 4) and pixels.shape[-1] in (3, 4)
    if pixels.size and coloured and pixels.ndim == 4:
        return list(pixels)
    if pixels.size and (coloured or pixels.ndim == 2):
        return [pixels]
    raise UserError(
        f"An array of images has the shape (H, W, 3) or (H, W), or (N, H, W, 3) for several, not {pixels.shape}: "
        "reorder its axes."
    )


def tensor_images(pixels: Tensor) -> list[NDArray[np.uint8]]:
    """Take a tensor apart into images.

    Args:
        pixels: uint8, (3, H, W) or (1, H, W) for one image, (N, 3, H, W) or (N, 1, H, W) for several.

    Raises:
        UserError: another type or shape.
    """
    if pixels.dtype == torch.uint8 and pixels.numel() and pixels.ndim in (3, 4) and pixels.shape[-3] in (1, 3):
        values = pixels.detach().cpu().numpy()
        several = values if values.ndim == 4 else values[None]
        return [image[0] if len(image) == 1 else image.transpose(1, 2, 0) for image in several]
    raise UserError(
        "A tensor of images is uint8 of 0 to 255 with the shape (3, H, W) or (N, 3, H, W), not "
        f"{str(pixels.dtype).removeprefix('torch.')} {tuple(pixels.shape)}: convert it first."
    )
