"""A set of images, listed once: a folder, files, Parquet, an archive of torchvision, images in memory, drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from viewkin.data.cache import default_folder
from viewkin.data.first_pass import Storage, store
from viewkin.data.formats.generated import generated_config
from viewkin.data.formats.recognise import ImageLike, layout_of
from viewkin.data.identity import contents_of, fingerprint_of
from viewkin.data.image_place import is_generated
from viewkin.data.layout import PixelLayout
from viewkin.data.left_out import LeftOut
from viewkin.data.listing import Listing, Survey, choose_side, survey_of
from viewkin.data.reading import Reading
from viewkin.data.source import Source
from viewkin.runtime.errors import UserError

__all__ = ["MEMORY_LIMIT", "Dataset", "Images", "Survey", "generated_config", "is_generated", "open_source", "survey"]

MEMORY_LIMIT = 8 * 2**30
"""Bytes of decoded pixels that are held in memory by default."""


class Dataset:
    """A set of images, listed once.

    What is asked twice is answered from memory: folders are walked, files are opened and headers are read at the first
    question that needs them. So a data set is a snapshot; make another to see what was added or changed since.

    An image has a key and a content id. The key is what a user sees: the path relative to the root of the set, such as
    ``train/cat/1.jpg``; ``photos.parquet#3`` for a row of a Parquet file; ``train#17`` in an archive and in the
    generated set; the position for an image in memory. The content id tells whether it is still the same image, under
    whatever key (:mod:`viewkin.data.identity`).
    """

    def __init__(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        labels: bool = True,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        """Take a set of images.

        Args:
            images: a folder of images; an image file; a folder laid out as VOC; a Parquet file or a folder of them; a
                folder that holds ``cifar-10-batches-py``, ``cifar-100-python`` or ``stl10_binary``;
                ``generated:images=4000,classes=10,size=32,seed=0,plain=0``; a picture of Pillow; an array of uint8,
                (H, W, 3), (H, W) or (N, H, W, 3); a tensor of uint8, (3, H, W) or (N, 3, H, W); a list of paths,
                pictures and arrays. A list keeps its order; a folder is sorted by key.
            image_column: column of the Parquet files that holds the images; None: ``image`` or another usual name,
                else the only one that holds images.
            label_column: column of the Parquet files that holds the labels; None: ``label`` or another usual name,
                else the only one that the files declare as labels.
            labels: whether to take labels from folders, columns and annotations.
            value_range: values that become black and white in images of more than 8 bits; None: chosen by the images.

        Raises:
            UserError: nothing is there, or it is nothing that holds images.
        """
        self._reading = Reading(
            image_column=image_column, label_column=label_column, labels=labels, value_range=value_range
        )
        self._layout, self._name = layout_of(images, self._reading)
        self._listings: dict[str, Listing] = {}
        self._surveys: dict[str, Survey] = {}
        self._content_ids: dict[str, list[str]] = {}

    @classmethod
    def of(cls, images: Images, reading: Reading | None = None) -> Dataset:
        """Take a set of images as :class:`Dataset` does; a data set passes through, read as it was made to be.

        Raises:
            UserError: nothing is there, it is nothing that holds images, or a data set is to be read in another way.
        """
        if not isinstance(images, Dataset):
            return cls(images, **(vars(reading) if reading is not None else {}))
        for name in ("image_column", "label_column", "labels"):
            value = getattr(reading or images.reading, name)
            if value not in (getattr(images.reading, name), getattr(Reading(), name)):
                raise UserError(f"{images!r} is made already: give {name}={value!r} to Dataset(...) where it is made.")
        return images

    def __repr__(self) -> str:
        return f"Dataset({self._name!r})"

    @property
    def name(self) -> str:
        """The set as the user named it, for messages and tables: ``photos/``, ``3 images``."""
        return self._name

    @property
    def reading(self) -> Reading:
        """How the set is read, where that is not left to its files."""
        return self._reading

    @property
    def place(self) -> Path | None:
        """Absolute folder that the keys start from; None for images that lie nowhere."""
        return self._layout.root

    @property
    def address(self) -> str | None:
        """Text that names the same set from any working directory; None for a list and for images in memory."""
        return self._layout.address

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that can be opened."""
        return self._layout.splits

    def listing(self, split: str = "train") -> Listing:
        """List the images of a split.

        Raises:
            UserError: no such split, or nothing in it.
        """
        if split not in self._listings:
            listing = self._layout.listing(split)
            self._listings[split] = listing if self._reading.labels else listing.without_labels()
        return self._listings[split]

    def survey(self, split: str = "train") -> Survey:
        """Look at a split without decoding it: the headers of a sample are read.

        Raises:
            UserError: no such split, or nothing in it.
        """
        split = self._layout.surveyed_split(split)
        if split not in self._surveys:
            known = self._layout.known_survey(split) or survey_of(self.listing(split))
            self._surveys[split] = known if self._reading.labels else known.without_labels()
        return self._surveys[split]

    def source(
        self,
        split: str = "train",
        *,
        size: int | None = None,
        squash: bool = False,
        workers: int = 0,
        cache_dir: Path | None = None,
        memory_limit: int = MEMORY_LIMIT,
        least: int = 2,
        value_range: tuple[float, float] | None = None,
        progress: bool = True,
    ) -> Source:
        """Open a split as squares of uint8 RGB.

        Args:
            split: ``train``, ``test`` or ``val``; STL-10 also has ``unlabeled`` and ``train+unlabeled``.
            size: side of the stored square, pixels; None keeps one size that all images share, else chooses by the
                median of the shorter sides. Images are resized by their shorter side and cut at the centre.
            squash: resize whole images to the square instead, as the VOC07 protocol does.
            workers: processes that decode a streaming source, and threads of the first pass (0: one a core).
            cache_dir: folder of the cache; None is $VIEWKIN_CACHE, else ``~/.cache/viewkin``.
            memory_limit: bytes of decoded pixels above which images are decoded on demand.
            least: readable images that are needed: training compares two at least, an embedding is of one.
            value_range: values that become black and white in images of more than 8 bits; None: the set's own setting,
                else chosen by its images. The source says which it was.
            progress: whether to show a bar when decoding takes over two seconds.

        Raises:
            UserError: no such split, or fewer readable images than are needed.
        """
        if size is not None and not 8 <= size <= 1024:
            raise UserError(f"Images are stored at 8 to 1024 px, not {size}: give another size.")
        if isinstance(self._layout, PixelLayout):
            source = self._layout.source(split, size)
            return source if self._reading.labels else source.without_labels()
        listing, notes = self.listing(split), list[str]()
        if size is None:
            size, why = choose_side(listing.sides)
            notes = [why]
        storage = Storage(
            size=size,
            workers=workers,
            cache_dir=default_folder() if cache_dir is None else cache_dir,
            memory_limit=memory_limit,
            squash=squash,
            progress=progress,
            least=least,
            value_range=self._reading.value_range if value_range is None else value_range,
        )
        return store(listing, storage, tuple(notes), self.left_out(split))

    def content_ids(
        self,
        split: str = "train",
        *,
        keys: Sequence[str] | None = None,
        cache_dir: Path | None = None,
        progress: bool = True,
    ) -> list[str]:
        """Give the content ids of a split, 32 hexadecimal digits each; they are computed once.

        Args:
            split: which images.
            keys: those of these keys, in their order, such as the keys of a source; None: all, in listing order.
            cache_dir: folder of the cache, which keeps them for files that have not changed.
            progress: whether to show a bar when reading takes over two seconds.

        Raises:
            UserError: no such split, or nothing in it.
        """
        if split not in self._content_ids:
            if isinstance(self._layout, PixelLayout):
                content_ids = self._layout.content_ids(split)
            else:
                folder = default_folder() if cache_dir is None else cache_dir
                content_ids = contents_of(self.listing(split).encoded, folder, progress=progress)
            self._content_ids[split] = content_ids
        every = self._content_ids[split]
        if keys is None:
            return list(every)
        of_key = dict(zip(self.listing(split).keys, every))
        return [of_key[key] for key in keys]

    def fingerprint(self, split: str = "train", *, cache_dir: Path | None = None, progress: bool = True) -> str:
        """Hash the (key, content id) pairs of a split, 32 hexadecimal digits.

        It depends on no order. A stream of tar shards gives the same pairs while it is read, and
        :func:`viewkin.data.identity.fingerprint_of` takes pairs from anywhere.

        Raises:
            UserError: no such split, or nothing in it.
        """
        content_ids = self.content_ids(split, cache_dir=cache_dir, progress=progress)
        return fingerprint_of(zip(self.listing(split).keys, content_ids))

    def left_out(self, split: str | None = None) -> list[LeftOut]:
        """Count what lies among the images of a split, or of the whole set, and is not used, by reason.

        Images that are listed and turn out to be unreadable are not among it: they are a source's ``skipped``.

        Raises:
            UserError: no such split.
        """
        return self._layout.left_out(split)


Images: TypeAlias = Dataset | ImageLike | Sequence[ImageLike]
"""What a set of images is made of: see :class:`Dataset`."""


def open_source(
    spec: Images,
    *,
    split: str = "train",
    size: int | None = None,
    squash: bool = False,
    workers: int = 0,
    cache_dir: Path | None = None,
    memory_limit: int = MEMORY_LIMIT,
    progress: bool = True,
) -> Source:
    """Open a split of a set of images as squares of uint8 RGB: :meth:`Dataset.source`.

    Raises:
        UserError: nothing there, no such split, or fewer than two readable images.
    """
    return Dataset.of(spec).source(
        split,
        size=size,
        squash=squash,
        workers=workers,
        cache_dir=cache_dir,
        memory_limit=memory_limit,
        progress=progress,
    )


def survey(spec: Images, split: str = "train") -> Survey:
    """Look at a split of a set of images without decoding it: :meth:`Dataset.survey`.

    Raises:
        UserError: nothing there, no such split, or nothing in it.
    """
    return Dataset.of(spec).survey(split)
