"""Hugging Face image Parquet: one image a row, as bytes or as a struct of bytes and path."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from viewkin.data.formats.parquet_columns import (
    FileFacts,
    class_groups,
    class_names,
    image_column,
    read_facts,
    read_labels,
    read_names,
)
from viewkin.data.formats.parquet_rows import ParquetRows, stream_of
from viewkin.data.formats.tree import Entries, absolute, is_folder, printable
from viewkin.data.layout import Layout
from viewkin.data.left_out import LeftOut, Tally
from viewkin.data.listing import Listing, openable_splits
from viewkin.runtime.errors import UserError

__all__ = ["ParquetLayout", "parquet_files", "stream_of"]

SPLITS = ("train", "test", "val")
"""What a file's name holds that belongs to a split; ``val`` also finds ``validation``."""


def parquet_files(path: Path) -> list[Path]:
    """List the Parquet files that a path names: the file, or those of the folder or of its ``data`` subfolder."""
    if path.is_file():
        return [path]
    return sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))


def files_by_split(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Sort files into splits by their names; a name without one belongs to train."""
    splits: dict[str, list[Path]] = {}
    for path in files:
        split = next((s for s in SPLITS if s in path.stem.lower()), "train")
        splits.setdefault(split, []).append(path)
    return splits


class ParquetLayout(Layout):
    """A Parquet file, or a folder of them whose names tell the splits; each file is opened once."""

    def __init__(self, place: Path, files: Sequence[Path], beside: Entries = ()) -> None:
        """Take Parquet files.

        Args:
            place: the file or folder as the user named it.
            files: the files, sorted.
            beside: what lies in the folder.
        """
        self.place = place
        single = list(files) == [place]
        whole = absolute(place)
        self.address = str(whole)
        self._folder = self.root = whole.parent if single else whole
        self.files = {"train": list(files)} if single else files_by_split(files)
        self._beside = beside

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that can be opened."""
        return openable_splits(self.files)

    @cached_property
    def _facts(self) -> dict[Path, FileFacts]:
        """What each file says without its images.

        Raises:
            UserError: one cannot be read.
        """
        try:
            return {path: read_facts(path) for files in self.files.values() for path in files}
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error

    def listing(self, split: str) -> Listing:
        """List the images of a split.

        Raises:
            UserError: no such split, not a Parquet file, no image column, or no rows.
        """
        chosen, notes = self._choose(split)
        files = self.files[chosen]
        facts = [self._facts[path] for path in files]
        schema = facts[0].schema
        column = image_column(files[0], schema)
        groups, total = row_groups(facts)
        if total == 0:
            raise UserError(f"{self.place} holds no rows; give a Parquet file with at least 2 images.")
        shared = facts[0].table.column_names
        try:
            table = pa.concat_tables([one.table.select(shared) for one in facts])
        except (KeyError, pa.ArrowException) as error:
            raise self._unreadable(error) from error
        others = [self._facts[path].table for path in self._all() if path not in files]
        labels, classes, more = read_labels(table, others, class_names(schema))
        return Listing(
            name=self.place.stem,
            encoded=ParquetRows([absolute(path) for path in files], column, groups, total),
            keys=[f"{name}#{row}" for name, one in zip(self._keys(files), facts) for row in range(one.rows)],
            names=read_names(table, column),
            labels=labels,
            classes=classes,
            splits=self.splits,
            notes=(*notes, *more),
            groups=class_groups(schema) if labels is not None else {},
        )

    def left_out(self, split: str | None) -> list[LeftOut]:
        """Count the rows of a split, or of all, without an image, and what lies beside the files."""
        tally = Tally()
        for path in self._all() if split is None else self.files[self._choose(split)[0]]:
            empty = self._facts[path].empty
            column = image_column(path, self._facts[path].schema)
            if empty[column]:
                tally.add("row", "without an image", *self._keys([path]), count=empty[column])
        named = {path.name for path in self._all()}
        for entry in self._beside if split is None else ():
            name = printable(entry.name)
            if entry.name in named or entry.name.startswith("."):
                continue
            if not is_folder(entry):
                tally.add_file(name)
            elif entry.name != "data":
                tally.add("folder", "not read, beside Parquet files", name)
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

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(f"{self.place} cannot be read as Parquet ({str(error).splitlines()[0]}): fetch it again.")


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
