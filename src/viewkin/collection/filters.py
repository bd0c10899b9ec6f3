"""Conditions on the columns of a collection: ``label=cat``, ``folder=sub/dir``, ``width>=500``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from viewkin.runtime.errors import UserError

pc: Any = pyarrow.compute
"""Its functions are made when it is imported, so no type checker knows them."""
FOLDER = "folder"
"""Stands for the folder that a key lies in, at any depth."""
COLUMNS = ("label", "class_name", "split", "key", "path", "size", "width", "height", "content")
"""Columns that conditions may name."""
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
Where: TypeAlias = str | Sequence[str] | Mapping[str, Any] | None
"""``"label=cat"``, several such, or ``{"label": "cat", "split": ["train", "val"]}``."""


@dataclass(frozen=True)
class Condition:
    """One condition."""

    column: str
    """Name of a column, or ``folder``."""
    comparison: str
    """One of :data:`COMPARISONS`."""
    value: str
    """What to compare with."""


def conditions_of(where: Where) -> list[Condition]:
    """Read conditions.

    Raises:
        UserError: one is no condition, or names no column.
    """
    if where is None:
        return []
    if isinstance(where, Mapping):
        found: list[Condition] = []
        for column, value in where.items():
            values: Sequence[Any] = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
            found += [Condition(_column(str(column)), "=", str(one)) for one in values]
        return found
    return [_condition(text) for text in ([where] if isinstance(where, str) else where)]


def _condition(text: str) -> Condition:
    match = re.match(r"\s*(\w+)\s*(<=|>=|!=|<|>|=)\s*(.*?)\s*$", text, re.DOTALL)
    if match is None:
        raise UserError(f"{text!r} is no condition: write such as label=cat, folder=sub/dir or width>=500.")
    return Condition(_column(match[1]), match[2], match[3])


def _column(name: str) -> str:
    columns = (FOLDER, *COLUMNS)
    if name not in columns:
        near = get_close_matches(name, columns, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(columns)}."
        raise UserError(f"There is no column {name!r} to filter by: {hint}")
    return name


def chosen_rows(table: pa.Table, where: Where) -> NDArray[np.bool_] | None:
    """Tell which rows of a table meet all conditions, (N,) bool; None where there is no condition.

    Of several that ask one column for equality, one must hold.

    Raises:
        UserError: a condition is none, names no column, compares a text, or no row meets them.
    """
    conditions = conditions_of(where)
    if not conditions:
        return None
    chosen = np.ones(table.num_rows, dtype=bool)
    equal: dict[str, NDArray[np.bool_]] = {}
    for one in conditions:
        rows = _rows(table, one)
        if one.comparison == "=":
            equal[one.column] = equal.get(one.column, np.zeros_like(rows)) | rows
        else:
            chosen &= rows
    for rows in equal.values():
        chosen &= rows
    if not chosen.any():
        said = ", ".join(f"{one.column}{one.comparison}{one.value}" for one in conditions)
        raise UserError(f"No image meets {said}{_there_are(table, conditions)}.")
    return chosen


def _rows(table: pa.Table, one: Condition) -> NDArray[np.bool_]:
    """Tell which rows meet one condition; a row without a value meets none but ``!=``."""
    if one.comparison == "!=":
        return ~_rows(table, Condition(one.column, "=", one.value))
    if one.column == FOLDER:
        _refuse_order(one)
        prefix = one.value.strip("/")
        return _mask(pc.starts_with(table["key"], f"{prefix}/")) if prefix not in ("", ".") else _every(table)
    if one.column == "label" and one.comparison == "=":
        named = _mask(pc.equal(table["class_name"], one.value))
        return named | _numbers(table["label"], one) if _is_number(one.value) else named
    if pa.types.is_integer(table[one.column].type):
        if not _is_number(one.value):
            raise UserError(f"{one.column} is a number, and {one.value!r} is none: write such as {one.column}>=500.")
        return _numbers(table[one.column], one)
    _refuse_order(one)
    return _mask(pc.equal(table[one.column], one.value))


def _numbers(column: pa.ChunkedArray, one: Condition) -> NDArray[np.bool_]:
    values: Any = column.cast(pa.float64()).to_numpy()  # a missing one is NaN, which no comparison holds for
    with np.errstate(invalid="ignore"):
        return COMPARISONS[one.comparison](values, float(one.value))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(\.\d*)?", text) is not None


def _mask(values: Any) -> NDArray[np.bool_]:
    return values.fill_null(False).to_numpy().astype(bool)


def _every(table: pa.Table) -> NDArray[np.bool_]:
    return np.ones(table.num_rows, dtype=bool)


def _refuse_order(one: Condition) -> None:
    if one.comparison != "=":
        raise UserError(f"{one.column} is a text, which {one.comparison} cannot compare: use = or !=.")


def _there_are(table: pa.Table, conditions: Sequence[Condition]) -> str:
    """Name the values that the first column has, where they are few."""
    column = conditions[0].column
    if column not in ("label", "class_name", "split"):
        return ""
    name = "class_name" if column == "label" else column
    values = sorted(str(value) for value in pc.unique(table[name]).to_pylist() if value is not None)
    return f"; there are {', '.join(values[:10])}{', ...' * (len(values) > 10)}" if values else f"; none has a {column}"
