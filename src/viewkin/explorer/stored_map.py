"""The map of a collection, kept in its folder, and made anew where the collection has changed."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from viewkin.collection.reader import Reader
from viewkin.explorer.jobs import Job
from viewkin.explorer.projection import method_for, project
from viewkin.runtime.files import replacing

FOLDER = "explore"
"""Folder in a collection of what the page keeps and may be deleted."""
FORMAT = "viewkin map 1"


@dataclass(frozen=True)
class PlaneMap:
    """Where each image lies."""

    points: NDArray[np.float32]
    """(N, 2) from -1 to 1, in the order of the rows."""
    method: str
    """``tsne``, ``umap`` or ``pca``."""


class MapOfCollection:
    """The map of an opened collection: principal components at once, and the wanted map when it is ready."""

    def __init__(self, reader: Reader, wanted: str = "auto") -> None:
        """Prepare a map.

        Raises:
            UserError: a way to draw that is unknown or not installed.
        """
        self._reader = reader
        self.method = method_for(wanted, len(reader))
        """How the map will be drawn."""
        self.job = self._fresh()
        """Reads or draws the map."""
        self._first: PlaneMap | None = None

    def _fresh(self) -> Job:
        return Job(self._made, "Opening the map")

    def draw(self, wanted: bool) -> None:
        """Begin to draw the map anew where that was stopped or failed, or stop it."""
        if not wanted:
            self.job.stop()
        elif self.job.ended and self.job.result is None:
            self.job = self._fresh().start()

    def now(self) -> tuple[PlaneMap, bool]:
        """Give the best map there is, and whether it is the wanted one."""
        self.job.start()
        if self.job.ended and self.job.result is not None:
            return self.job.result, True
        if self._first is None:
            self._first = PlaneMap(project(self._reader.vectors, "pca", self.job), "pca")
        return self._first, self.job.ended

    def made(self) -> PlaneMap:
        """Read or draw the wanted map, in this thread."""
        return self._made(self.job)

    def _made(self, job: Job) -> PlaneMap:
        path = self._reader.folder / FOLDER / f"map-{self.method}.npz"
        found = read_map(path, self._reader)
        if found is None:
            found = PlaneMap(project(self._reader.vectors, self.method, job), self.method)
            keep_map(path, found, self._reader)
        return found


def read_map(path: Path, reader: Reader) -> PlaneMap | None:
    """Read a kept map; None where there is none, it is damaged, or it is of other rows."""
    try:
        # numpy leaves a file open that is damaged; bytes in memory need no closing.
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            points = np.asarray(stored["points"], dtype=np.float32)
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile):
        return None
    fits = about == _about(reader, about.get("method", "")) if isinstance(about, dict) else False
    if not fits or points.shape != (len(reader), 2) or not np.isfinite(points).all():
        return None
    return PlaneMap(points, about["method"])


def keep_map(path: Path, found: PlaneMap, reader: Reader) -> None:
    """Keep a map; a folder that may not be written keeps none, and the map is drawn again next time."""
    try:
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, points=found.points, about=json.dumps(_about(reader, found.method)))
    except OSError:
        return


def _about(reader: Reader, method: str) -> dict[str, str]:
    """Say what a map is of."""
    manifest = reader.manifest
    return {"format": FORMAT, "method": method, "state": manifest.state, "model": manifest.model.fingerprint}
