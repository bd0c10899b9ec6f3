"""Collections of embeddings that grow with their images, and search by image."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from viewkin.api.collection_findings import CollectionFindings
from viewkin.api.notebook import progress_where_seen
from viewkin.collection.filters import Where
from viewkin.collection.matches import Match, Matches
from viewkin.collection.reader import Reader
from viewkin.commands.match_files import check_match_file, write_matches
from viewkin.commands.search import Searcher
from viewkin.commands.thumbnails import Thumbnails
from viewkin.data.dataset import Images
from viewkin.figures.match_page import fragment
from viewkin.runtime.tables import html_table, text_table
from viewkin.runtime.wording import one_line


class Found(Matches):
    """What a search found: a table that shows itself, in a notebook with thumbnails, and can be saved.

    It is a sequence of :class:`viewkin.Match`: by falling similarity for the first query, then for the next.
    """

    def __init__(self, matches: Sequence[Match], notes: Sequence[str], reader: Reader) -> None:
        """Take what was found, and the collection, for the pictures."""
        super().__init__(matches, notes)
        self._reader = reader

    def save(self, path: Path | str) -> None:
        """Write a file, by its ending: ``.csv``, ``.parquet``, ``.json``, or ``.html``, a page with thumbnails.

        Raises:
            UserError: another ending, or a place that cannot be written.
        """
        check_match_file(Path(path))
        write_matches(Path(path), self, self._reader)

    def _repr_html_(self) -> str:
        thumbnails = Thumbnails(self._reader)
        return fragment(self, thumbnails.of, thumbnails.of_query)


class Collection(CollectionFindings):
    """Embeddings of a set of images in a folder, and the search over them.

    It shows the collection as it was when it was opened; open it again to see what was added since.
    """

    def __init__(self, path: Path | str, *, model: Any = None, device: str = "auto") -> None:
        """Open a collection.

        Args:
            path: folder that ``viewkin embed --to`` or ``viewkin.embed(..., to=...)`` wrote.
            model: the model that made it, where that has moved: a run or its path.
            device: ``cpu``, ``cuda`` or ``auto``.

        Raises:
            UserError: it is no collection, or damaged.
        """
        self.path = Path(path)
        """Its folder."""
        self.notes: tuple[str, ...] = ()
        """Plain sentences on the update that made it, if :func:`viewkin.embed` gave it."""
        self._reader = Reader(self.path)
        self.model_place = None if model is None else str(getattr(model, "path", model))
        self._searcher = Searcher(self._reader, self.model_place, device)

    def __len__(self) -> int:
        """Count the images."""
        return len(self._reader)

    @property
    def keys(self) -> list[str]:
        """Key of each image: its path below the folder of the images, ``file#row`` inside a file of many."""
        return list(self._reader.rows.keys)

    @property
    def embeddings(self) -> Tensor:
        """(N, D) float32 of unit norm, in the order of the keys."""
        return torch.from_numpy(self._reader.vectors)

    def table(self, *, embeddings: bool = True) -> pa.Table:
        """Give the rows as a table of Arrow.

        The columns are ``key``, ``path`` (absolute), ``split``, ``size`` (bytes), ``content`` (content id), ``whole``
        (hash of all bytes of an image over 128 KiB), ``width``, ``height``, ``label``, ``class_name``, ``embedding``.

        Args:
            embeddings: with the column ``embedding``.

        Raises:
            UserError: a part is damaged.
        """
        return self._reader.table(vectors=embeddings)

    def search(
        self,
        query: Images | None = None,
        *,
        k: int = 10,
        where: Where = None,
        like: Images | None = None,
        unlike: Images | None = None,
        index: str = "auto",
    ) -> Found:
        """Find the images that are most like a query.

        Args:
            query: a key of the collection, an image (a path, a picture of Pillow, an array), a folder, each image of
                which is a query, or a list of these.
            k: matches of each query.
            where: conditions that matches meet: ``"label=cat"``, ``["folder=sub/dir", "width>=500"]`` or
                ``{"label": "cat", "split": ["train", "val"]}``.
            like: examples that make one query together: their mean.
            unlike: counter-examples, whose mean is subtracted.
            index: ``auto``, ``exact``, ``ivf``, ``lancedb`` or ``qdrant``.

        Raises:
            UserError: no such query, an image that cannot be read, a model that is not there or not the collection's,
                an unknown column, or no image that meets the conditions.
        """
        with progress_where_seen():
            found = self._searcher.search(
                several(query), like=several(like), unlike=several(unlike), k=k, where=where, index=index
            )
        return Found(found, found.notes, self._reader)

    def _facts(self) -> list[list[str]]:
        manifest = self._reader.manifest
        classes = f" of {len(manifest.classes)} class{'' if len(manifest.classes) == 1 else 'es'}"
        return [
            ["collection", str(self.path)],
            ["images", f"{len(self):,} of {manifest.images.name}{classes if manifest.classes else ''}"],
            ["model", f"{manifest.model.name} ({manifest.model.features}, {manifest.model.fingerprint[:8]})"],
            ["vectors", f"{manifest.model.width} numbers of {manifest.number}"],
        ]

    def __repr__(self) -> str:
        """Say what it holds."""
        (_, place), *rest = self._facts()
        return f"Collection {one_line(place)}\n{text_table(['', ''], rest)}".replace("\n\n", "\n")

    def _repr_html_(self) -> str:
        (_, place), *rest = self._facts()
        return html_table(["collection", escape(place)], rest)


def several(query: Any) -> list[Any]:
    """Take one query or a list of them."""
    if query is None:
        return []
    return list(query) if isinstance(query, (list, tuple)) else [query]


def open_collection(path: Path | str, *, model: Any = None, device: str = "auto") -> Collection:
    """Open a collection to look at its rows and to search it.

    Args:
        path: its folder.
        model: the model that made it, where that has moved: a run or its path.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        UserError: it is no collection, or damaged.
    """
    return Collection(path, model=model, device=device)
