"""A folder of links to some images of a collection: nothing is copied, moved or deleted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from viewkin.collection.reader import Reader
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing


def check_links(folder: Path | None, reader: Reader) -> None:
    """Refuse a folder of links that cannot be made, before any work is done.

    Raises:
        UserError: it is not empty, lies among the images, or these are not files of their own.
    """
    if folder is None:
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--link {folder} is not empty: name a new folder.")
    root = reader.manifest.images.root
    if root is not None and folder.absolute().resolve().is_relative_to(Path(root).resolve()):
        raise UserError(f"--link {folder} lies among the images: name a folder elsewhere.")
    if not any(files_of(reader)):
        raise UserError(
            f"--link needs images that are files of their own, where they were; the images of {reader.folder} are none."
        )


def link_images(folder: Path, reader: Reader, rows: Sequence[int], *, hard: bool) -> int:
    """Make a link for each image under its key, all or none; gives how many were made.

    Args:
        folder: where; made.
        reader: the collection.
        rows: which images.
        hard: hard links instead of symbolic ones.

    Raises:
        UserError: the system makes no such links there.
    """
    files = files_of(reader)
    wanted = [(reader.rows.keys[row], file) for row in rows if (file := files[row]) is not None]
    try:
        with replacing(folder.absolute()) as part:
            part.mkdir(parents=True)
            for key, file in wanted:
                place = part / key
                place.parent.mkdir(parents=True, exist_ok=True)
                if hard:
                    os.link(file, place)
                else:
                    place.symlink_to(file)
    except OSError as error:
        other = "leave out --hard, or name a folder on the disk of the images" if hard else "name another folder"
        raise UserError(f"{folder} cannot be filled with links ({error.strerror or error}): {other}.") from error
    return len(wanted)


def files_of(reader: Reader) -> list[Path | None]:
    """Find the file of each image; None where it is inside a file of many, in memory or gone."""
    paths: list[str | None] = reader.table(vectors=False)["path"].to_pylist()
    files = [
        Path(path) if path and Path(path).as_posix().endswith(key) else None
        for path, key in zip(paths, reader.rows.keys)
    ]
    return [file.absolute() if file is not None and file.is_file() else None for file in files]
