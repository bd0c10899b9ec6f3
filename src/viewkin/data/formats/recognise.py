"""From what a user names to how it is laid out."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from viewkin.data.formats.archives import ARCHIVES, ArchiveLayout, find_archive
from viewkin.data.formats.beginnings import has_ending, kind_by_content
from viewkin.data.formats.folder import FolderLayout
from viewkin.data.formats.generated import GeneratedLayout
from viewkin.data.formats.image_list import Given, ImageListLayout, array_images, tensor_images
from viewkin.data.formats.parquet import ParquetLayout
from viewkin.data.formats.parquet_facts import has_images, read_facts
from viewkin.data.formats.parquet_places import PARQUET, parquet_below
from viewkin.data.formats.tree import (
    Looks,
    absolute,
    entries_of_root,
    image_suffixes,
    is_folder,
    is_image,
    is_image_name,
    printable,
)
from viewkin.data.formats.voc import VocLayout, is_voc
from viewkin.data.image_place import existing, is_generated
from viewkin.data.layout import Layout
from viewkin.data.left_out import ADVICE
from viewkin.data.reading import Reading
from viewkin.runtime.errors import UserError
from viewkin.runtime.wording import counted

ImageLike = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""What a list of images may hold."""


def layout_of(images: Any, reading: Reading) -> tuple[Layout, str]:
    """Find out how images are laid out, and what to call them in messages.

    Args:
        images: a path, ``generated:...``, a picture, an array, a tensor, or a list of paths, pictures and arrays.
        reading: what the user says of how to read them.

    Raises:
        UserError: nothing is there, or it is nothing that holds images.
    """
    if isinstance(images, str | Path):
        named = os.fspath(images)
        if is_generated(named):
            return GeneratedLayout(named), printable(named)
        return layout_of_place(existing(named), reading), printable(named)
    if isinstance(images, Sequence):
        given = [image for one in images for image in single(one)]
    else:
        given = in_memory(images)
    title = counted(len(given), "image")
    return ImageListLayout(given, title), title


def layout_of_place(path: Path, reading: Reading) -> Layout:
    """Find out how the images of a folder or file are laid out. The folder is looked into once.

    Raises:
        UserError: the file holds no images, or the folder cannot be listed.
    """
    if path.is_file():
        return layout_of_file(path, reading)
    if path.name in ARCHIVES:
        return ArchiveLayout(path)
    entries = entries_of_root(path)
    if is_voc(path):
        return VocLayout(path)
    if any(entry.name in ARCHIVES for entry in entries) and (archive := find_archive(path)) is not None:
        return ArchiveLayout(archive)
    look = Looks(path, entries)
    files = parquet_below(path, entries, look)
    beside = {file.parent for file in files} == {path} and any(is_folder(e) or is_image(e) for e in entries)
    held = {file: has_images(file, reading) for file in files}
    if any(held.values()) or (files and not beside and None in held.values()):
        with_images = [file for file, has in held.items() if has is not False]
        without = [file for file, has in held.items() if has is False]
        return ParquetLayout(path, with_images, reading, entries, without)
    return FolderLayout(path, entries, reading, look=look, metadata=partial(_why_not_parquet, files, reading))


def _why_not_parquet(files: Sequence[Path], reading: Reading) -> str | None:
    """Say why a folder's Parquet files are no images, for a folder without any other; None without such files."""
    if not files:
        return None
    try:
        read_facts(files[0], reading)
    except UserError as error:
        return str(error)
    return None


def layout_of_file(path: Path, reading: Reading) -> Layout:
    """Take a Parquet file, or an image.

    Raises:
        UserError: the file is neither.
    """
    ending = path.suffix.lower()
    if ending in PARQUET:
        return ParquetLayout(path, [path], reading)
    kind = "" if has_ending(path.name) else kind_by_content(path)
    if is_image_name(path.name) or kind in image_suffixes():
        whole = absolute(path)
        return ImageListLayout([whole], printable(path.name), str(whole))
    if (advice := ADVICE.get(kind or ending)) is not None:
        order = re.sub(r"\bthem\b", "it", advice.removeprefix("not read; "))
        raise UserError(f"{printable(path)} cannot be read; {order}.")
    raise UserError(
        f"{printable(path)} is neither an image nor a folder nor a Parquet file: give the folder of the images."
    )


def single(image: Any) -> list[Given]:
    """Take one item of a list of images.

    Raises:
        UserError: it is no image, or several.
    """
    if isinstance(image, str | Path):
        path = existing(os.fspath(image))
        if not path.is_file():
            raise UserError(f"{image} is a folder: a list holds image files; give one folder by itself.")
        return [absolute(path)]
    given = in_memory(image)
    if len(given) > 1:
        raise UserError("The list of images holds an array of several images: give the array by itself.")
    return given


def in_memory(images: Any) -> list[Given]:
    """Take a picture, an array or a tensor apart into images.

    Raises:
        UserError: it is none of these, or has another type or shape.
    """
    if isinstance(images, Image.Image):
        return [images]
    if isinstance(images, np.ndarray):
        return [*array_images(images)]
    if isinstance(images, Tensor):
        return [*tensor_images(images)]
    raise UserError(
        f"Images cannot be taken from a {type(images).__name__}: give a path, a picture of Pillow, an array, a tensor, "
        "or a list of these."
    )
