"""Readers of images with boxes: folders laid out as PASCAL VOC or COCO, and Parquet with image, boxes and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq

from viewkin.data.formats.parquet import parquet_files, stream_of
from viewkin.data.formats.parquet_columns import class_names, image_column
from viewkin.data.formats.parquet_facts import unreadable
from viewkin.data.formats.voc import is_voc, splits_of
from viewkin.evaluation.detection.boxed_images import BoxedImages, dropped_boxes_note, make_truth
from viewkin.evaluation.detection.coco import annotation_files, open_coco
from viewkin.runtime.errors import UserError


def open_boxes(data: str, split: str, column: str | None = None) -> BoxedImages:
    """Open one split of a set with boxes.

    Args:
        data: a folder in VOC's layout; a folder of such (VOCdevkit with VOC2007 and VOC2012: all that have the split
            are joined); a folder in COCO's layout, with ``annotations/instances_*.json``; a Parquet file or a folder
            of Parquet files.
        split: ``train``, ``trainval``, ``val`` or ``test``, or any value of the Parquet column ``split``.
        column: Parquet column of the images; None: found by its name or type.

    Raises:
        UserError: no boxes, no such split, or a damaged file.
    """
    path = Path(data)
    if not path.exists():
        raise UserError(f"There is no {data}; give a folder laid out as VOC or COCO, or Parquet with boxes.")
    parts = [path] if is_voc(path) else sorted(one for one in path.glob("*") if is_voc(one))
    if parts:
        boxed = _from_voc(path, parts, split)
    else:
        boxed = open_coco(path, split) if annotation_files(path) else _from_parquet(path, split, column)
    if not boxed.boxes:
        raise UserError(f"The {split} split of {data} has no boxes; detection needs some in both splits.")
    return boxed


def _from_voc(path: Path, roots: Sequence[Path], split: str) -> BoxedImages:
    lists = [(root, splits_of(root)) for root in roots]
    known = sorted({name for _, splits in lists for name in splits})
    if split not in known:
        raise UserError(f"{path} has no {split} split in ImageSets/Main, only {', '.join(known) or 'none'}.")
    shown = {
        (root, one): _objects(root / "Annotations" / f"{one}.xml")
        for root, splits in lists
        for one in dict.fromkeys(name for listed in splits.values() for name in listed.read_text().split())
    }
    classes = tuple(sorted({name for objects in shown.values() for name, _, _ in objects}))
    keys = [(root, one) for root, splits in lists if split in splits for one in splits[split].read_text().split()]
    read = [
        make_truth([box for _, box, _ in shown[key]], [classes.index(name) for name, _, _ in shown[key]],
               [difficult for _, _, difficult in shown[key]])
        for key in keys
    ]  # fmt: skip
    return BoxedImages(
        name=path.name,
        classes=classes,
        encoded=[root / "JPEGImages" / f"{one}.jpg" for root, one in keys],
        ids=[f"{root.name}/{one}" for root, one in keys],
        truths=[truth for truth, _ in read],
        notes=dropped_boxes_note(sum(lost for _, lost in read)),
    )


def _objects(annotation: Path) -> list[tuple[str, list[float], bool]]:
    """Read (class, box, difficult) of every object.

    VOC counts pixels from 1 and includes the last one, so 1 is subtracted from x1 and y1.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return [
            (
                one.findtext("name", "").strip(),
                [float(one.findtext(f"bndbox/{side}", "")) - (side in ("xmin", "ymin"))
                 for side in ("xmin", "ymin", "xmax", "ymax")],
                one.findtext("difficult", "0").strip() == "1",
            )
            for one in ElementTree.parse(annotation).iterfind("object")
        ]  # fmt: skip
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{annotation} cannot be read ({error}); fetch the annotations again.") from error


def _from_parquet(path: Path, split: str, wanted: str | None) -> BoxedImages:
    files = parquet_files(path)
    if not files:
        raise UserError(f"{path} has no boxes: it is neither laid out as VOC or COCO nor Parquet.")
    try:
        tables = [_rows(file) for file in files]
        schema = tables[0].schema
        missing = [name for name in ("boxes", "labels") if name not in schema.names]
        if missing:
            raise UserError(f"{files[0]} has no column {missing[0]}, so it has no boxes; detection needs them.")
        table = pa.concat_tables(tables, promote_options="permissive")
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again.") from error
    column = image_column(files[0], schema, wanted)
    if "split" in table.column_names:
        splits = table["split"].to_pylist()
        if split not in splits:
            raise UserError(f"{path} has no {split} split, only {', '.join(sorted(set(splits)))}.")
        table = table.filter(pa.array([one == split for one in splits]))
    elif split != "train":
        raise UserError(f"{path} has no {split} split: it has no column split, so all of it is train.")
    return _images_of_rows(path, table, column, class_names(schema))


def _rows(file: Path) -> pa.Table:
    """Read a Parquet file.

    Raises:
        UserError: it cannot be read; the file is named.
    """
    try:
        return pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(file, error) from error


def _images_of_rows(path: Path, table: pa.Table, column: str, names: tuple[str, ...]) -> BoxedImages:
    labels: list[list[int]] = [list(row or ()) for row in table["labels"].to_pylist()]
    boxes: list[list[list[float]]] = [list(row or ()) for row in table["boxes"].to_pylist()]
    largest = max((label for row in labels for label in row), default=-1)
    classes = names or tuple(str(label) for label in range(largest + 1))
    if largest >= len(classes) or any(label < 0 for row in labels for label in row):
        raise UserError(f"{path} has boxes of an unknown class: labels must be 0 to {len(classes) - 1}.")
    if any(len(one) != len(other) for one, other in zip(boxes, labels)):
        raise UserError(f"{path} has an image with more boxes than labels, or fewer; each box needs one.")
    read = [make_truth(own, kinds, [False] * len(kinds)) for own, kinds in zip(boxes, labels)]
    ids = table["name"].to_pylist() if "name" in table.column_names else range(table.num_rows)
    return BoxedImages(
        name=path.name,
        classes=classes,
        encoded=[stream_of(cell).getvalue() for cell in table[column]],
        ids=[str(one) for one in ids],
        truths=[truth for truth, _ in read],
        notes=dropped_boxes_note(sum(lost for _, lost in read)),
    )
