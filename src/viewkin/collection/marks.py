"""Pairs of images that a person has said are no duplicates: a file beside the manifest, by content id.

A content id is of the image itself, so a mark lasts when vectors are computed anew or images are renamed. The file is
written whole or not at all, under the collection's lock, so that two writers lose no mark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from viewkin.collection.places import locked, unwritable
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

MARKS = "marks.json"
"""Name of the file in the collection's folder."""
FORMAT = "viewkin marks 1"
Pair = frozenset[str]
"""Content ids of two images; one id, where they are the same bytes."""


def read_marks(folder: Path) -> set[Pair]:
    """Read the pairs that are no duplicates.

    Raises:
        UserError: the file is damaged or may not be read.
    """
    path = folder / MARKS
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] != FORMAT:
            raise ValueError(stored["format"])
        return {frozenset(map(str, pair)) for pair in stored["not_duplicates"]}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} cannot be read as marks: restore it from a copy, or remove it.") from error


def add_marks(folder: Path, pairs: Iterable[Pair]) -> set[Pair]:
    """Remember pairs that are no duplicates; gives all of them.

    Raises:
        UserError: the file is damaged, or cannot be written.
    """
    try:
        with locked(folder):
            marks = read_marks(folder) | set(pairs)
            listed = sorted([min(pair), max(pair)] for pair in marks)
            with replacing(folder / MARKS) as part:
                part.write_text(
                    json.dumps({"format": FORMAT, "not_duplicates": listed}, indent=1) + "\n", encoding="utf-8"
                )
    except OSError as error:
        raise unwritable(folder, error) from error
    return marks
