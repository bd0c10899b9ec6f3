"""What a person has marked images as: a file in the collection's folder, by content id.

A content id is of the image itself, so a mark lasts when an image is renamed or vectors are computed anew. The file is
written whole or not at all, under the collection's lock, so that two writers lose no mark.
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
        self._contents = contents_of(reader)

    def of_rows(self) -> dict[int, str]:
        """Give row to mark, of the rows that have one.

        Raises:
            UserError: the file is damaged or may not be read.
        """
        marks = self._read()
        if not marks:
            return {}
        return {row: marks[content] for row, content in enumerate(self._contents) if content in marks}

    def put(self, rows: Sequence[int], name: str | None) -> dict[int, str]:
        """Mark the images of some rows, or take their marks away; gives all marks.

        Raises:
            UserError: an unknown mark, or a file that is damaged or cannot be written.
        """
        require(name is None or name in NAMES, "The mark", name, f"one of {', '.join(NAMES)}")
        try:
            with locked(self._path.parent):
                marks = self._read()
                for row in rows:
                    if name is None:
                        marks.pop(self._contents[row], None)
                    else:
                        marks[self._contents[row]] = name
                text = json.dumps({"format": FORMAT, "marks": dict(sorted(marks.items()))}, indent=1)
                with replacing(self._path) as part:
                    part.write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            raise unwritable(self._path.parent, error) from error
        return self.of_rows()

    def _read(self) -> dict[str, str]:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            if stored["format"] != FORMAT:
                raise ValueError(stored["format"])
            return {str(content): str(name) for content, name in stored["marks"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(f"{self._path} cannot be read as marks: restore it from a copy, or remove it.") from error
