"""Where an index lies beside the parts: a cache that names the rows it is of, and can be deleted at any time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from viewkin.collection.places import INDEXES, unwritable
from viewkin.runtime.files import remove, replacing
from viewkin.runtime.json_text import read_json

BLOCK = 2**22
"""Bytes hashed at once."""


def read_kept(folder: Path, kind: str, state: str) -> tuple[Path, dict[str, Any]] | None:
    """Find the index of a kind and of the rows that ``state`` names: its file and its facts.

    None where there is none, or it is damaged.
    """
    data, about = _places(folder, kind, state)
    try:
        facts: dict[str, Any] = read_json(about.read_bytes())
        if facts["state"] != state or facts["digest"] != _digest(data):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return data, facts


def keep(folder: Path, kind: str, state: str, write: Callable[[Path], object], facts: Mapping[str, Any]) -> bool:
    """Write an index and remove those of the kind that are of other rows; False where the folder cannot take it.

    The facts are written last: an index without them counts as none.
    """
    data, about = _places(folder, kind, state)
    try:
        data.parent.mkdir(exist_ok=True)
        with replacing(data) as part:
            write(part)
            digest = _digest(part)
        with replacing(about) as part:
            part.write_text(json.dumps({**facts, "state": state, "digest": digest}, indent=1) + "\n")
    except (OSError, RuntimeError):  # faiss raises RuntimeError where a file cannot be written
        return False
    _remove_others(data, kind, state)
    return True


def read_kept_folder(folder: Path, kind: str, state: str) -> tuple[Path, dict[str, Any]] | None:
    """Find the folder that an index of other libraries keeps of the rows that ``state`` names; None: there is none."""
    place, _ = _places(folder, kind, state)
    return (place, {}) if place.is_dir() else None


def keep_folder(folder: Path, kind: str, state: str, write: Callable[[Path], object]) -> Path:
    """Let another library write its files into a folder, whole or not at all; remove those of other rows.

    Raises:
        UserError: the collection cannot be written.
    """
    place, _ = _places(folder, kind, state)
    try:
        place.parent.mkdir(exist_ok=True)
        with replacing(place) as part:
            write(part)
    except OSError as error:
        if not place.is_dir():  # else another process was first
            raise unwritable(folder, error) from error
    _remove_others(place, kind, state)
    return place


def _remove_others(place: Path, kind: str, state: str) -> None:
    for old in place.parent.glob(f"{kind}-*"):
        if state not in old.name:
            remove(old)


def _places(folder: Path, kind: str, state: str) -> tuple[Path, Path]:
    base = folder / INDEXES
    return base / f"{kind}-{state}.index", base / f"{kind}-{state}.json"


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
