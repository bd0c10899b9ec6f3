"""JPEG pictures of a collection's images, by row; the newest are held in memory."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from viewkin.collection.reader import Reader
from viewkin.commands.thumbnails import SIDE, Thumbnails

LARGE_SIDE = 1024
"""Longer side of a picture that is looked at alone, pixels."""
HELD = 64 * 2**20
"""Bytes of pictures that are held."""


class Pictures:
    """Makes pictures one at a time, because an archive that they lie in is read by one."""

    def __init__(self, reader: Reader) -> None:
        """Show the images of a collection."""
        self._reader, self._thumbnails, self._lock = reader, Thumbnails(reader), Lock()
        self._held: OrderedDict[tuple[int, int], bytes | None] = OrderedDict()
        self._bytes = 0

    def of(self, row: int, *, large: bool = False) -> bytes | None:
        """Give the picture of a row; None where the image is no longer there or cannot be read."""
        place = row, LARGE_SIDE if large else SIDE
        with self._lock:
            if place in self._held:
                self._held.move_to_end(place)
                return self._held[place]
            match = self._reader.match("", 0, 1.0, row)
            made = self._held[place] = self._thumbnails.jpeg(match, place[1])
            self._bytes += len(made or b"")
            while self._bytes > HELD:
                _, oldest = self._held.popitem(last=False)
                self._bytes -= len(oldest or b"")
            return made
