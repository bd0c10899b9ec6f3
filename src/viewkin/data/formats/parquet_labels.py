"""Labels and names of the rows of several Parquet files, which may write them in different types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from viewkin.data.formats.parquet_columns import is_text
from viewkin.data.formats.parquet_facts import FileFacts
from viewkin.data.formats.tree import printable
from viewkin.data.left_out import classes_named, some
from viewkin.data.reading import Reading
from viewkin.runtime.errors import UserError

MOST_CLASSES = 10**6
"""Whole numbers from here on are names of classes, such as bar codes, and no count of them."""
WHOLE, TEXT, TRUTH = "whole numbers", "texts", "truth values"


@dataclass(frozen=True)
class Labels:
    """What the label columns of one split say."""

    labels: Tensor | None
    """(n,) int64, -1 without; None when no image has one."""
    classes: tuple[str, ...]
    """Class names by label."""
    notes: list[str]
    """Sentences on what was chosen."""


def read_labels(own: Sequence[FileFacts], others: Sequence[FileFacts], reading: Reading) -> Labels:
    """Read the labels of one split.

    Whole numbers are labels as they are, also where they are written as 1.0. Texts, truth values and numbers of
    MOST_CLASSES and more are numbered in their order over all splits, of which ``others`` are those not read.

    Raises:
        UserError: labels of several kinds, or a column that was asked for and holds none.
    """
    if not reading.labels:
        return Labels(None, (), [])
    facts = [*own, *others]
    columns = [plain(one) for one in facts]
    _check_asked(facts, columns, reading)
    notes = [
        f"Labels must be whole numbers or texts; the column {one.label} holds {one.labels.type}."
        for one, column in zip(own, columns)
        if column is None and one.labels is not None
    ][:1]
    kind = _one_kind(facts, columns)
    values = set[Any]().union(*map(distinct, columns[: len(own)]))
    notes += _unused(own, bool(values))
    if kind is None or not values:
        return Labels(None, (), [*notes, *_without_values(own, columns)])
    names = list(dict.fromkeys(one.classes for one in facts if one.classes))
    if kind == WHOLE and len(names) > 1:  # two splits number their classes differently: their names decide
        columns = [_named(one, column) for one, column in zip(facts, columns)]
        kind, values = TEXT, set[Any]().union(*map(distinct, columns[: len(own)]))
    values = sorted(values.union(*map(distinct, columns[len(own) :])))
    column = joined(own, columns)
    labels, classes, more = numbered(column, kind, values, names[0] if names and kind == WHOLE else ())
    used = next(one.label for one, column in zip(own, columns) if column is not None)
    without = int((labels < 0).sum())
    told = [f"{without:,} of {len(labels):,} images have no label."] if without else []
    return Labels(labels, classes, [*notes, *more, _said(str(used), classes), *told])


def _without_values(own: Sequence[FileFacts], columns: Sequence[pa.ChunkedArray | None]) -> list[str]:
    """Say it of a column that holds values, none of which is a label."""
    for one, column in zip(own, columns):
        if column is not None and column.null_count < len(column):
            return [f"The column {one.label} holds negative numbers or empty texts alone, which are no labels."]
    return []


def numbered(
    column: pa.ChunkedArray, kind: str, values: list[Any], names: tuple[str, ...]
) -> tuple[Tensor, tuple[str, ...], list[str]]:
    """Turn the values of a column into labels; ``values`` are those of all splits, in their order."""
    if kind == WHOLE and values[-1] < max(MOST_CLASSES, len(names)):
        labels = torch.from_numpy(column.cast(pa.int64()).fill_null(-1).to_numpy().copy()).clamp(min=-1)
        top = int(labels.max())
        return labels, names if len(names) > top else tuple(map(str, range(top + 1))), []
    number = {value: label for label, value in enumerate(values)}
    labels = torch.tensor([number.get(value, -1) for value in column.to_pylist()])
    note = f"Labels go up to {values[-1]}, so the {len(values):,} that occur are numbered from 0 in their order."
    return labels, tuple(map(str, values)), [note] if kind == WHOLE else []


def plain(facts: FileFacts) -> pa.ChunkedArray | None:
    """Write the labels of a file plainly: int64 or uint64, bool, string, or null; None where they are no labels."""
    column = facts.labels
    if column is None:
        return None
    if pa.types.is_dictionary(column.type):
        column = pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], column.type.value_type)
    if is_text(column.type):
        return column.cast(pa.string())
    if pa.types.is_floating(column.type):
        return _whole(column)
    types = pa.types
    known = (types.is_integer, types.is_boolean, types.is_null)
    return column if any(is_one(column.type) for is_one in known) else None


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Read numbers such as 1.0 as whole ones; None where one of them is not whole. NaN is no label."""
    column = column.cast(pa.float64())
    column = pa.chunked_array([pa.array(column.to_numpy(), pa.float64(), from_pandas=True)])  # NaN is null
    try:
        return column.cast(pa.int64())  # refuses what is not whole
    except pa.ArrowInvalid:
        return None


def distinct(column: pa.ChunkedArray | None) -> set[Any]:
    """Collect the values of a column of labels: null, negative numbers and empty texts are none."""
    if column is None:
        return set()
    return {v for v in column.unique().to_pylist() if (v != "" if isinstance(v, str) else v is not None and v >= 0)}


def joined(own: Sequence[FileFacts], columns: Sequence[pa.ChunkedArray | None]) -> pa.ChunkedArray:
    """Put the columns of some files one after the other; a file without one, or without a label, has none."""
    labelled = [column if distinct(column) else None for column in columns]
    present = {column.type for column in labelled if column is not None}
    kind = present.pop() if len(present) == 1 else pa.uint64() if pa.uint64() in present else pa.int64()
    parts: list[pa.Array] = []
    for one, column in zip(own, labelled):
        if column is None:
            parts.append(pa.nulls(one.rows, kind))
        elif kind == pa.uint64() and pa.types.is_signed_integer(column.type):
            numbers = column.fill_null(-1).to_numpy()
            parts.append(pa.array(numbers, mask=numbers < 0).cast(kind))  # negative numbers are no labels
        else:
            parts += column.cast(kind).chunks
    return pa.chunked_array(parts, kind)


def joined_texts(own: Sequence[FileFacts], columns: Sequence[pa.ChunkedArray | None]) -> list[Any]:
    """Put columns of texts one after the other; None where a file has none."""
    return [
        value
        for one, column in zip(own, columns)
        for value in ([None] * one.rows if column is None else column.to_pylist())
    ]


def read_names(own: Sequence[FileFacts]) -> list[str]:
    """Read what each row calls itself: its ``name``, else its image's path; [] unless all have one and they differ."""
    for columns in ([one.names for one in own], [one.paths for one in own]):
        if any(column is not None for column in columns):
            names = joined_texts(own, columns)
            return [str(name) for name in names] if all(names) and len(set(names)) == len(names) else []
    return []


def _kind(column: pa.ChunkedArray) -> str:
    if pa.types.is_boolean(column.type):
        return TRUTH
    return TEXT if is_text(column.type) else WHOLE


def _one_kind(facts: Sequence[FileFacts], columns: Sequence[pa.ChunkedArray | None]) -> str | None:
    """Name the kind of all labels; None without any.

    Raises:
        UserError: they are of several kinds.
    """
    kinds: dict[str, FileFacts] = {}
    for one, column in zip(facts, columns):
        if column is not None and distinct(column):
            kinds.setdefault(_kind(column), one)
    if len(kinds) > 1:
        (first, one), (second, other) = list(kinds.items())[:2]
        raise UserError(
            f"Labels are {first} in {printable(one.path.name)} and {second} in {printable(other.path.name)}, so they "
            "cannot be compared: write them alike, or leave labels out by --set data.labels=false."
        )
    return next(iter(kinds), None)


def _named(one: FileFacts, column: pa.ChunkedArray | None) -> pa.ChunkedArray | None:
    """Write labels by the names that the file gives its classes, or as their numbers."""
    if column is None:
        return None
    names = one.classes
    texts = [
        None if value is None or value < 0 else names[value] if value < len(names) else str(value)
        for value in column.to_pylist()
    ]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _check_asked(facts: Sequence[FileFacts], columns: Sequence[pa.ChunkedArray | None], reading: Reading) -> None:
    """Refuse a label column that was asked for and is not there, or holds no labels.

    Raises:
        UserError: it is so.
    """
    asked = reading.label_column
    if asked is None or any(column is not None for column in columns):
        return
    one = facts[0]
    if all(other.label is None for other in facts):
        raise UserError(f"{one.path} has no column {asked!r}: name one of its columns, {', '.join(one.schema.names)}.")
    raise UserError(f"The column {asked} of {one.path} holds no whole numbers or texts: name another for labels.")


def _unused(own: Sequence[FileFacts], found: bool) -> list[str]:
    """Name the columns that may hold labels and are not used."""
    unused = list(dict.fromkeys(name for one in own for name in one.unused if name not in {o.label for o in own}))
    if not unused:
        return []
    columns = f"column{'s' * (len(unused) > 1)} {some(unused)}"
    verb = "are" if len(unused) > 1 else "is"
    taken = f"--label-column {unused[0]} (setting data.label_column) takes it."
    if found:
        return [f"The {columns} may hold labels too and {verb} not used: {taken}"]
    return [f"No labels are read; the {columns} {verb} not used: {taken}"]


def _said(column: str, classes: tuple[str, ...]) -> str:
    return f"Labels come from the column {column}: {classes_named(classes)}."
