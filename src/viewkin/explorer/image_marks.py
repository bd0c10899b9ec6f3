"""What a person has marked images as: a file in the collection's folder, by content id and key.

A content id is of the image itself, so a mark lasts when an image is renamed or vectors are computed anew. The key
tells copies of the same bytes apart, of which one may be kept and another removed. The file is written whole or not at
all, under the collection's lock, so that two writers lose no mark.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from viewkin.collection.places import locked, unwritable
from viewkin.collection.reader import Reader
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.files import replacing

FILE = "image_marks.json"
"""Name of the file in the collection's folder."""
FORMAT = "viewkin image marks 1"
NAMES = ("keep", "remove", "check")
"""What an image can be marked as."""
Stored = dict[str, dict[str, str]]
"""Content id to key to mark."""


def contents_of(reader: Reader) -> list[str]:
    """Give what tells the images of the rows apart: the content id, and the hash of all bytes where there is one."""
    table = reader.rows.table
    pairs = zip(table["content"].to_pylist(), table["whole"].to_pylist())
    return [f"{content}{whole or ''}" for content, whole in pairs]


class ImageMarks:
    """The marks of one collection's images."""

    def __init__(self, reader: Reader) -> None:
        """Take a collection."""
        self._path = reader.folder / FILE
        self._keys, self._contents = reader.rows.keys, contents_of(reader)
        self._rows_of: dict[str, list[int]] = {}
        for row, content in enumerate(self._contents):
            self._rows_of.setdefault(content, []).append(row)

    def of_rows(self) -> dict[int, str]:
        """Give row to mark, of the rows that have one.

        Raises:
            UserError: the file is damaged or may not be read.
        """
        return self._found(self._read())

    def put(self, rows: Sequence[int], name: str | None) -> dict[int, str]:
        """Mark the images of some rows, or take their marks away; gives all marks.

        Raises:
            UserError: an unknown mark, or a file that is damaged or cannot be written.
        """
        require(name is None or name in NAMES, "The mark", name, f"one of {', '.join(NAMES)}")
        try:
            with locked(self._path.parent):
                stored = self._renamed(self._read())
                for row in rows:
                    marks = stored.setdefault(self._contents[row], {})
                    if name is None:
                        marks.pop(self._keys[row], None)
                    else:
                        marks[self._keys[row]] = name
                kept = {content: marks for content, marks in sorted(stored.items()) if marks}
                with replacing(self._path) as part:
                    part.write_text(json.dumps({"format": FORMAT, "marks": kept}, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise unwritable(self._path.parent, error) from error
        return self._found(stored)

    def _found(self, stored: Stored) -> dict[int, str]:
        """Look up the marks of the rows."""
        found: dict[int, str] = {}
        for content, marks in self._renamed(stored).items():
            for row in self._rows_of.get(content, []):
                if self._keys[row] in marks:
                    found[row] = marks[self._keys[row]]
        return found

    def _renamed(self, stored: Stored) -> Stored:
        """Give marks of images that were renamed their new key, where it is clear which image that is."""
        renamed: Stored = {}
        for content, marks in stored.items():
            keys = [self._keys[row] for row in self._rows_of.get(content, [])]
            lost, new = [key for key in marks if key not in keys], [key for key in keys if key not in marks]
            fitting = dict(zip(lost, new)) if len(lost) == len(new) else {}
            renamed[content] = {fitting.get(key, key): name for key, name in marks.items()}
        return renamed

    def _read(self) -> Stored:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            if stored["format"] != FORMAT:
                raise ValueError(stored["format"])
            return {
                str(content): {str(key): str(name) for key, name in marks.items()}
                for content, marks in stored["marks"].items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(f"{self._path} cannot be read as marks: restore it from a copy, or remove it.") from error
