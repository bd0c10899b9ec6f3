"""Find the images of a collection that are most like an image, a folder of images, or an image of the collection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from viewkin.collection.filters import Where
from viewkin.collection.matches import Matches
from viewkin.collection.reader import Query, Reader, unit
from viewkin.collection.update import other_model
from viewkin.commands.embed_collection import origin_of
from viewkin.commands.match_files import check_match_file, write_matches
from viewkin.data.dataset import Dataset, Images
from viewkin.encode.image_vectors import image_vectors
from viewkin.encode.model import Model
from viewkin.runs.models import device_named, open_model
from viewkin.runtime.errors import UserError
from viewkin.runtime.places import nearest, shortened


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What to search for in which collection."""

    collection: Path
    """Folder of the collection."""
    queries: Sequence[Images] = ()
    """One search each: keys of the collection, image files, folders (a search for each of their images), pictures."""
    like: Sequence[Images] = ()
    """Examples that make one search together: their mean."""
    unlike: Sequence[Images] = ()
    """Counter-examples: their mean is subtracted."""
    k: int = 10
    """Matches of each search."""
    where: Where = None
    """Conditions that matches meet: ``label=cat``, ``folder=sub/dir``, ``width>=500``."""
    model: str | None = None
    """The collection's model, where it has moved; None: where it was."""
    index: str = "auto"
    """``auto``, ``exact``, ``ivf`` or an adapter."""
    out: Path | None = None
    """File to write: .csv, .parquet, .json, or .html with thumbnails; None: no file."""
    device: str = "auto"
    """``cpu``, ``cuda`` or ``auto``."""


def search(request: SearchRequest) -> Matches:
    """Search a collection, and write the matches where a file is named.

    Raises:
        UserError: no collection, no such query, a model that is not the collection's, or a file that cannot be written.
    """
    if request.out is not None:
        check_match_file(request.out)
    searcher = Searcher(Reader(request.collection), request.model, request.device)
    matches = searcher.search(
        request.queries,
        like=request.like,
        unlike=request.unlike,
        k=request.k,
        where=request.where,
        index=request.index,
    )
    if request.out is not None:
        write_matches(request.out, matches, searcher.reader)
    return matches


class Searcher:
    """Searches one opened collection; its model is opened when a query first needs it."""

    def __init__(self, reader: Reader, model: str | None = None, device: str = "auto") -> None:
        """Search what ``reader`` has opened.

        Args:
            reader: the collection.
            model: where its model is; None: where it was.
            device: where the model runs.
        """
        self.reader = reader
        self._named, self._device = model, device
        self._model: Model | None = None

    def search(
        self,
        queries: Sequence[Images] = (),
        *,
        like: Sequence[Images] = (),
        unlike: Sequence[Images] = (),
        k: int = 10,
        where: Where = None,
        index: str = "auto",
    ) -> Matches:
        """Search; see :class:`SearchRequest`.

        Raises:
            UserError: no such query, another model than the collection's, or no image to find.
        """
        if not len(self.reader):
            place = self.reader.folder
            raise UserError(f"{place} holds no images: fill it by `viewkin embed MODEL IMAGES --to {place}`.")
        asked = [example for query in queries for example in self.examples(query)]
        if not like and not unlike:
            if not asked:
                raise UserError("Nothing to search for: name an image, a folder, or a key of the collection.")
            return self.reader.nearest(asked, k, where, index)
        return self.reader.nearest([self._joined(asked, like, unlike)], k, where, index)

    def _joined(self, asked: Sequence[Query], like: Sequence[Images], unlike: Sequence[Images]) -> Query:
        """Make one query: the mean of the examples minus the mean of the counter-examples."""
        examples = [*asked, *(example for one in like for example in self.examples(one))]
        against = [example for one in unlike for example in self.examples(one)]
        if not examples:
            raise UserError("Counter-examples need examples beside them: name images that the matches are to be like.")
        vector = mean_of(examples) - mean_of(against) if against else mean_of(examples)
        name = " + ".join(one.name for one in examples) + "".join(f" - {one.name}" for one in against)
        return Query(name, vector, [key for one in [*examples, *against] for key in one.own])

    def examples(self, query: Images) -> list[Query]:
        """Make a query of each image that is named: by a key of the collection, or anything that is a set of images.

        Raises:
            UserError: it is neither, or one of the images cannot be read.
        """
        row = self.reader.rows.row_of.get(query) if isinstance(query, str) else None
        if isinstance(query, str) and row is not None:
            return [Query(query, self.reader.vectors[row], (query,))]
        if isinstance(query, str) and not Path(query).expanduser().exists():
            raise self._unknown(query)
        dataset = Dataset.of(query)
        return [one for split in splits_of(dataset) for one in self._encoded(dataset, split)]

    def _unknown(self, query: str) -> UserError:
        """Say that a query is neither a key nor a file, with the nearest name."""
        keys = self.reader.rows.keys
        ending = [key for key in keys if key.endswith(f"/{query}")][:1]
        near = ending[0] if ending else nearest(query)
        hint = f"did you mean {near}?" if near else f"keys are such as {keys[0]}."
        return UserError(f"{shortened(query)} is no key of {self.reader.folder} and no file: {hint}")

    def _encoded(self, dataset: Dataset, split: str) -> list[Query]:
        """Encode every image of a split as the collection's images were.

        Raises:
            UserError: an image cannot be read, or the model is not the collection's.
        """
        listing, model = dataset.listing(split), self.model()
        stored = self.reader.manifest.value_range
        choose: Callable[[], Any] | None = None if stored is None else lambda: stored
        device = device_named(self._device)
        queries: list[Query] = []
        for block in image_vectors(model, listing.encoded, range(len(listing.keys)), device, choose):
            for position, why in block.unread.items():
                name = named(dataset, listing.keys[position])
                raise UserError(f"{name} cannot be read ({why}): name another image.")
            vectors: NDArray[np.float32] = block.rows.numpy()
            names = [named(dataset, listing.keys[position]) for position in block.positions]
            queries += [Query(name, unit(vector)) for name, vector in zip(names, vectors)]
        return queries

    def model(self) -> Model:
        """Open the collection's model, once.

        Raises:
            UserError: it is not where it was, or what is named is another one.
        """
        if self._model is None:
            origin = self.reader.manifest.model
            place = self._named or origin.place
            try:
                model = open_model(place, origin.features, torch.device("cpu"))
            except UserError as error:
                if self._named is not None or Path(place).exists():
                    raise
                raise UserError(
                    f"The model of {self.reader.folder} was at {shortened(place)} and is not there; say where it is "
                    "by --model, or search by a key of the collection, which needs no model."
                ) from error
            given = origin_of(model, place, origin.features)
            if given.fingerprint != origin.fingerprint:
                raise other_model(self.reader.folder, origin, given)
            self._model = model
        return self._model


def mean_of(queries: Sequence[Query]) -> NDArray[np.float32]:
    """Average the directions of some vectors."""
    return np.mean([unit(query.vector) for query in queries], axis=0)


def splits_of(dataset: Dataset) -> list[str]:
    """List the splits of a set of queries that hold images of their own."""
    keys: set[str] = set()
    splits: list[str] = []
    for split in dataset.splits:
        new = {*dataset.listing(split).keys} - keys
        if new:
            splits.append(split)
            keys |= new
    return splits


def named(dataset: Dataset, key: str) -> str:
    """Name a query as its user did: a single file by its own name, an image of a folder by its place in it."""
    place = Path(dataset.name)
    return dataset.name if place.is_file() and "#" not in key else str(place / key) if place.is_dir() else key
