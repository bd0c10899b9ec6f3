"""Which columns of an image Parquet hold images and labels, and what its metadata call the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from viewkin.runtime.errors import UserError
from viewkin.runtime.json_text import read_json

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "images", "picture", "photo")
"""Names of the image column in any case, in order of preference."""
LABEL_COLUMNS = ("label", "labels", "fine_label", "cls", "class", "category", "target", "class_label", "coarse_label")
"""Names of the label column in any case, in order of preference."""
SPLIT_COLUMNS = ("split", "splits", "subset", "partition", "fold")
"""Names, in any case, of a column that holds the split of each row."""
BYTES, PATH = "bytes", "path"


def image_kind(kind: pa.DataType) -> str | None:
    """Tell how a column may hold images: BYTES, PATH (a struct that names files), or None.

    Lists hold one image each, and structs hold either or both.
    """
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if any(is_one(kind) for is_one in lists):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        inner = {field.name: field.type for field in kind}
        if BYTES in inner and is_bytes(inner[BYTES]):
            return BYTES
        return PATH if PATH in inner and is_text(inner[PATH]) else None
    return BYTES if is_bytes(kind) else None


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values are bytes of any length."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether values are texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def has_field(schema: pa.Schema, column: str, name: str) -> bool:
    """Whether a column is a struct that has a field."""
    kind = schema.field(column).type
    return pa.types.is_struct(kind) and kind.get_field_index(name) >= 0


def image_column(
    path: Path, schema: pa.Schema, wanted: str | None = None, is_image: Callable[[str], bool] | None = None
) -> str:
    """Find the column of images: bytes, or a struct with a field of bytes or of paths.

    Args:
        path: the file, for messages.
        schema: its columns.
        wanted: the column that was asked for.
        is_image: looks into a column of any other name, to tell images from other bytes.

    Raises:
        UserError: there is none, or several and none has a usual name.
    """
    have = ", ".join(schema.names)
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise UserError(f"{path} has several columns named {twice[0]!r}: rename all but one of them.")
    if wanted is not None:
        if wanted not in schema.names:
            raise UserError(f"{path} has no column {wanted!r}: name one of its columns, {have}.")
        if image_kind(schema.field(wanted).type) is None and not is_text(schema.field(wanted).type):
            raise UserError(
                f"The column {wanted} of {path} holds {schema.field(wanted).type} and no images: name another."
            )
        return wanted
    able = [name for name in schema.names if image_kind(schema.field(name).type) is not None]
    for known in IMAGE_COLUMNS:
        for name in able:
            if name.lower() == known:
                return name
    declared = [name for name, one in features(schema).items() if name in able and kind_of(one) == "Image"]
    if len(declared) == 1:
        return declared[0]
    others = [name for name in able if is_image is not None and is_image(name)]
    if len(others) == 1:
        return others[0]
    if others:
        raise UserError(
            f"{path} has several columns of images, {' and '.join(others)}: name one by --image-column {others[0]} "
            "(setting data.image_column)."
        )
    raise UserError(
        f"{path} has no column 'image' of encoded images, one a row; its columns are {have}: name the one that holds "
        "them by --image-column NAME (setting data.image_column)."
    )


def split_columns(schema: pa.Schema) -> list[str]:
    """List the columns whose names say that they hold the split of each row."""
    return [name for name in schema.names if name.lower() in SPLIT_COLUMNS and is_text(schema.field(name).type)]


def label_columns(schema: pa.Schema) -> list[str]:
    """List the columns that may hold labels, the likeliest first."""
    named = [name for known in LABEL_COLUMNS for name in schema.names if name.lower() == known]
    declared = [name for name, one in features(schema).items() if kind_of(one) == "ClassLabel" and name in schema.names]
    if declared and not any(name.lower() in ("label", "labels") for name in named):
        named = [name for name in named if name in declared] + declared + named
    return list(dict.fromkeys([*named, *declared]))


def is_label(kind: pa.DataType) -> bool:
    """Whether a column's values may be labels: numbers, truth values, texts, or nothing."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    return is_text(kind) or any(
        is_one(kind) for is_one in (types.is_integer, types.is_boolean, types.is_null, types.is_floating)
    )


def features(schema: pa.Schema) -> dict[str, Any]:
    """Read what Hugging Face's metadata say of the columns; {} without."""
    try:
        known = read_json((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {str(name): one for name, one in known.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def kind_of(feature: Any) -> str:
    """Name the type of a feature."""
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def class_names(schema: pa.Schema, column: str = "label") -> tuple[str, ...]:
    """Read class names of a label column from the schema's metadata, in either of the two common places; () without."""
    metadata = schema.metadata or {}
    try:
        if b"class_names" in metadata:
            return tuple(map(str, read_json(metadata[b"class_names"])))
        names = features(schema)[column]["names"]
        if isinstance(names, dict):  # of a data set card: {"0": "cat", "1": "dog"}
            names = [names[number] for number in sorted(names, key=int)]
        return tuple(map(str, names))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def class_groups(schema: pa.Schema) -> dict[str, tuple[int, ...]]:
    """Read from the schema's ``class_split``, one name a label, which labels each name has; {} without."""
    try:
        split: list[str] = read_json((schema.metadata or {})[b"class_split"])
        return {str(name): tuple(i for i, own in enumerate(split) if own == name) for name in dict.fromkeys(split)}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
