"""Hugging Face image Parquet: one image a row, as bytes or as a struct of bytes and path."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from viewkin.data.formats.parquet_columns import BYTES, class_groups, image_kind, split_columns
from viewkin.data.formats.parquet_facts import FileFacts, read_facts
from viewkin.data.formats.parquet_labels import read_labels, read_names
from viewkin.data.formats.parquet_places import files_by_split, parquet_files
from viewkin.data.formats.parquet_rows import ParquetRows, stream_of
from viewkin.data.formats.tree import Entries, absolute, is_folder, is_image, printable
from viewkin.data.layout import Layout
from viewkin.data.left_out import LeftOut, Tally, some
from viewkin.data.listing import Listing, openable_splits
from viewkin.data.reading import Reading
from viewkin.runtime.errors import UserError

__all__ = ["ParquetLayout", "parquet_files", "stream_of"]


class ParquetLayout(Layout):
    """A Parquet file, or a folder of them whose names tell the splits; each file is opened once."""

    def __init__(
        self,
        place: Path,
        files: Sequence[Path],
        reading: Reading,
        beside: Entries = (),
        passed_over: Sequence[Path] = (),
    ) -> None:
        """Take Parquet files.

        Args:
            place: the file or folder as the user named it.
            files: the files, sorted.
            reading: the columns that the user named.
            beside: what lies in the folder.
            passed_over: Parquet files of the set that hold no images.
        """
        self.place = place
        single = list(files) == [place]
        whole = absolute(place)
        self.address = str(whole)
        self._folder = self.root = whole.parent if single else whole
        by_split, self._unnamed = files_by_split(place, [] if single else files)
        self.files = {"train": list(files)} if single else by_split
        self._reading = reading
        self._beside = beside
        self._passed_over = passed_over

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that can be opened."""
        return openable_splits(self.files)

    @cached_property
    def _facts(self) -> dict[Path, FileFacts]:
        """What each file says without its images.

        Raises:
            UserError: one cannot be read, or has no column of images.
        """
        return {path: read_facts(path, self._reading) for path in self._all()}

    def listing(self, split: str) -> Listing:
        """List the images of a split.

        Raises:
            UserError: no such split, not a Parquet file, no image column, no rows, or labels of several kinds.
        """
        chosen, notes = self._choose(split)
        files = self.files[chosen]
        facts = [self._facts[path] for path in files]
        groups, total = row_groups(facts)
        if total == 0:
            raise UserError(f"{self.place} holds no rows; give a Parquet file with at least 2 images.")
        read = read_labels(facts, [self._facts[path] for path in self._all() if path not in files], self._reading)
        columns = [one.image for one in facts]
        encoded = ParquetRows([absolute(path) for path in files], columns, groups, total, named_files(facts))
        return Listing(
            name=self.place.stem,
            encoded=encoded,
            keys=[f"{name}#{row}" for name, one in zip(self._keys(files), facts) for row in range(one.rows)],
            names=read_names(facts),
            labels=read.labels,
            classes=read.classes,
            splits=self.splits,
            notes=(*notes, *self._said_of(chosen), *read.notes),
            groups=class_groups(facts[0].schema) if read.labels is not None else {},
        )

    def _said_of(self, split: str) -> list[str]:
        """Say what was guessed from names: splits, and columns of images of another name than ``image``."""
        notes: list[str] = []
        if len(self.files) > 1:
            notes.append(f"Split {split} of {', '.join(self.files)}, by the names of the Parquet files.")
        if split == "train" and self._unnamed:
            names = some(self._keys(self._unnamed))
            notes.append(f"Files whose names tell no split are taken for train ({names}).")
        named = dict.fromkeys(name for path in self.files[split] for name in split_columns(self._facts[path].schema))
        if len(self.files) == 1 and named:
            notes.append(
                f"The column {some(list(named))} is not used, and all rows are of {split}: splits are files, such as "
                "train.parquet and test.parquet."
            )
        columns = dict.fromkeys(self._facts[path].image for path in self.files[split])
        if list(columns) != ["image"]:
            notes.append(f"Images come from the column {' or '.join(columns)}.")
        return notes

    def left_out(self, split: str | None) -> list[LeftOut]:
        """Count the rows of a split, or of all, without an image, and what lies beside the files."""
        tally = Tally()
        for path in self._all() if split is None else self.files[self._choose(split)[0]]:
            if self._facts[path].empty and not named_files([self._facts[path]]):
                tally.add("row", "without an image", self._keys([path])[0], self._facts[path].empty)
            if self._facts[path].further:
                why = "the first of each row is used"
                tally.add("further image", why, self._keys([path])[0], self._facts[path].further)
        for path in self._passed_over:
            tally.add("Parquet file", "without a column of images", self._keys([path])[0])
        places = {path.relative_to(self.place).parts[0] for path in (*self._all(), *self._passed_over) if self._beside}
        for entry in self._beside:
            name = printable(entry.name)
            if entry.name in places or entry.name.startswith("."):
                continue
            if is_folder(entry):
                tally.add("folder", "not read, beside Parquet files", name)
            elif is_image(entry):
                tally.add("image file", "not used, because Parquet files beside it hold images", name)
            elif split is None:
                tally.add_file(name)
        return tally.report()

    def _all(self) -> list[Path]:
        """List the files of all splits."""
        return [path for files in self.files.values() for path in files]

    def _keys(self, files: Sequence[Path]) -> list[str]:
        """Name files by their paths relative to the root."""
        return [printable(absolute(path).relative_to(self._folder).as_posix()) for path in files]

    def _choose(self, split: str) -> tuple[str, list[str]]:
        """Pick the files of a split, and say so where they are not those named.

        Raises:
            UserError: there is no such split.
        """
        if split in self.files:
            return split, []
        if split == "test" and "val" in self.files:
            return "val", [f"{self.place} has no test file, so its val file stands in."]
        raise UserError(
            f"{self.place} has no {split} split, only {', '.join(self.files)}: give a folder with a *{split}*.parquet "
            "file, or set part of the images aside with --holdout."
        )


def named_files(facts: Sequence[FileFacts]) -> list[str]:
    """List the image files that rows name and that exist, as absolute paths; none where the rows hold bytes."""
    named: list[str] = []
    for one in facts:
        if one.paths is not None and (one.empty or image_kind(one.schema.field(one.image).type) != BYTES):
            paths = [absolute(one.path.parent / path) for path in one.paths.to_pylist() if path]
            named += [str(path) for path in paths if path.is_file()]
    return named


def row_groups(facts: Sequence[FileFacts]) -> tuple[list[tuple[int, int, int]], int]:
    """Find every row group that holds rows: (file, group, first row), and the number of rows."""
    groups: list[tuple[int, int, int]] = []
    total = 0
    for number, one in enumerate(facts):
        for group, rows in enumerate(one.group_rows):
            if rows:
                groups.append((number, group, total))
                total += rows
    return groups, total
