"""The image files of a folder and all below it. Each folder is looked into once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from viewkin.data.formats.beginnings import has_ending, kind_by_content
from viewkin.data.left_out import Tally, ending_of
from viewkin.data.opening import register_plugins
from viewkin.runtime.errors import UserError
from viewkin.runtime.places import is_of_system, printable, why_not

UNLISTED = "left out, cannot be listed"
"""Why a folder is not read that the user may not look into."""
RUN = {"recipe.json", "versions.json"}
"""Files that tell a run directory."""
NOT_PHOTOS = {".eps", ".ps", ".pdf", ".mpg", ".mpeg", ".h5", ".hdf", ".bufr", ".grib", ".wmf", ".emf"}
"""What Pillow lists as images and needs another program for, or only recognises."""
Entries = Sequence[os.DirEntry[str]]
"""What lies in a folder, sorted by name."""
Look = Callable[[Path], Entries]
"""Looks into a folder; raises OSError where that is not allowed."""


@cache
def image_suffixes() -> frozenset[str]:
    """List the file name endings that Pillow can read, in lower case with their dot."""
    register_plugins()
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return frozenset(known - NOT_PHOTOS)


def is_image_name(name: str) -> bool:
    """Whether a file's ending is one of an image that can be read."""
    return ending_of(name) in image_suffixes()


def kind_without_ending(entry: os.DirEntry[str]) -> str:
    """Look into a file whose name has no ending; name the usual ending of the image in it, "" for all else."""
    return kind_by_content(entry.path) if not has_ending(entry.name) and is_file(entry) else ""


def is_image(entry: os.DirEntry[str]) -> bool:
    """Whether a file is an image that can be read, by its ending, or by its first bytes where it has none."""
    return is_image_name(entry.name) or kind_without_ending(entry) in image_suffixes()


def absolute(path: Path) -> Path:
    """Write a path from the root of the system, without dots; links stay as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)


def entries_of(folder: str | Path) -> Entries:
    """Look into a folder; raises OSError where that is not allowed."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


class Looks:
    """Looks into folders, into each once."""

    def __init__(self, root: Path, entries: Entries) -> None:
        """Begin with what lies in ``root``, which was looked into."""
        self._seen: dict[str, Entries] = {os.fspath(absolute(root)): entries}

    def __call__(self, folder: Path) -> Entries:
        """Look into a folder; raises OSError where that is not allowed."""
        place = os.fspath(absolute(folder))
        if place not in self._seen:
            self._seen[place] = entries_of(folder)
        return self._seen[place]


def entries_of_root(root: Path) -> Entries:
    """Look into the folder that a user named.

    Raises:
        UserError: it cannot be listed.
    """
    try:
        return entries_of(root)
    except OSError as error:
        raise UserError(
            f"{root} cannot be listed ({why_not(error)}): allow it to be read, or name another folder."
        ) from error


def is_run(entries: Entries) -> bool:
    """Whether a folder is a run directory: its figures are no images to learn from."""
    return {entry.name for entry in entries} >= RUN


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file, or a link to one."""
    try:
        return entry.is_file()
    except OSError:
        return False


def image_files(root: Path) -> list[str]:
    """List the image files below ``root``: sorted relative paths.

    Hidden files and folders are passed over, and so are run directories and folders that cannot be listed.
    """
    return image_files_below(root, "", Tally())


def image_files_below(
    folder: Path, prefix: str, tally: Tally, entries: Entries | None = None, look: Look | None = None
) -> list[str]:
    """List the image files of a folder and below: sorted paths that begin with ``prefix``.

    Args:
        folder: where to begin.
        prefix: what the paths begin with: "" or the folder's own path with its slash.
        tally: what is passed over is counted here.
        entries: what lies in the folder, where it is known.
        look: looks into a folder.
    """
    look = look or entries_of
    paths, seen = list[str](), set[str]()
    waiting = [(os.fspath(folder), os.path.realpath(folder), prefix, entries)]
    while waiting:
        place, real, prefix, entries = waiting.pop()
        name = printable(prefix.rstrip("/") or place)
        if real in seen:  # a link that leads back up, or to a folder beside
            tally.add("linked folder", "listed already under another name", name)
            continue
        seen.add(real)
        if is_of_system(real):
            tally.add("system folder", "not read, because it holds no files of a disk", name)
            continue
        try:
            entries = look(Path(place)) if entries is None else entries
        except OSError as error:
            tally.add("folder", f"{UNLISTED} ({why_not(error)})", name)
            continue
        if is_run(entries):
            tally.add("run directory", "not read, because figures are no images to learn from", name)
            continue
        folders = _visible_folders(entries, prefix, tally)
        waiting += [(one.path, _real(one, real), f"{prefix}{one.name}/", None) for one in reversed(folders)]
        paths += _images(entries, prefix, tally)
    return sorted(paths)


def _real(entry: os.DirEntry[str], above: str) -> str:
    """Follow the links of a folder's path; ``above`` is that of the folder it lies in. Only a link costs a look."""
    return os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(above, entry.name)  # noqa: PTH118


def _visible_folders(entries: Entries, prefix: str, tally: Tally) -> list[os.DirEntry[str]]:
    """Choose the folders that are not hidden."""
    folders = [entry for entry in entries if is_folder(entry)]
    for entry in folders:
        if entry.name.startswith("."):
            tally.add("hidden folder", "not read", printable(prefix + entry.name))
    return [entry for entry in folders if not entry.name.startswith(".")]


def _images(entries: Entries, prefix: str, tally: Tally) -> list[str]:
    """Choose the image files of one folder."""
    paths: list[str] = []
    for entry in entries:
        hidden, image = entry.name.startswith("."), is_image_name(entry.name)
        if is_folder(entry) or (hidden and not image):
            continue
        if hidden:
            tally.add("hidden file", "not read", printable(prefix + entry.name))
        elif not image:
            kind = kind_without_ending(entry)
            if kind in image_suffixes():
                paths.append(prefix + entry.name)
            else:
                tally.add_file(printable(prefix + entry.name), kind)
        elif is_file(entry):
            paths.append(prefix + entry.name)
        elif entry.is_symlink():
            tally.add("link", "leads to no file", printable(prefix + entry.name))
        else:
            tally.add(
                "special file", "not read, as pipes, sockets and devices are no images", printable(prefix + entry.name)
            )
    return paths
