"""Images with boxes: a folder laid out as PASCAL VOC, or Parquet with columns image, boxes, labels and split."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from viewkin.data.decode import reason, to_rgb
from viewkin.data.parquet import class_names, image_column, parquet_files, stream_of
from viewkin.data.voc import is_voc, splits_of
from viewkin.errors import UserError
from viewkin.evaluate.detection.precision import Truth


@dataclass(frozen=True, kw_only=True)
class Boxed:
    """Images of one split with the boxes of what they show."""

    name: str
    """What a table calls the set."""
    classes: tuple[str, ...]
    """Class names by label."""
    encoded: Sequence[Path | bytes]
    """Images, not yet decoded."""
    ids: Sequence[str]
    """Name of each image."""
    truths: Sequence[Truth]
    """Boxes in pixels of the image as it is stored, one an image."""
    notes: tuple[str, ...] = ()
    """What was left out."""

    def __len__(self) -> int:
        """Count the images."""
        return len(self.ids)

    @property
    def boxes(self) -> int:
        """Boxes in all."""
        return sum(len(one.labels) for one in self.truths)

    def image(self, position: int) -> Tensor:
        """Decode one image: (3, H, W) float of 0 to 1. Boxes are of the stored pixels, so no EXIF flag turns it.

        Raises:
            UserError: it cannot be decoded.
        """
        stored = self.encoded[position]
        try:
            with Image.open(BytesIO(stored) if isinstance(stored, bytes) else stored) as image:
                pixels = np.asarray(to_rgb(image))
        except Exception as error:  # as in data.decode
            raise UserError(
                f"{self.ids[position]} of {self.name} cannot be read ({reason(error)}); fetch it again."
            ) from error
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255

    def only(self, wanted: str) -> Boxed:
        """Keep the boxes of some classes, names with commas between; labels count these alone.

        Raises:
            UserError: an unknown class.
        """
        names = [part.strip() for part in wanted.split(",") if part.strip()]
        for name in names:
            if name not in self.classes:
                near = difflib.get_close_matches(name, self.classes, n=2, cutoff=0.4) or self.classes[:4]
                raise UserError(f"{self.name} has no boxes of a class {name!r}; give names such as {', '.join(near)}.")
        kept = tuple(name for name in self.classes if name in names)
        place = np.array([kept.index(name) if name in kept else -1 for name in self.classes])
        return replace(self, classes=kept, truths=[_placed(one, place) for one in self.truths])

    def with_boxes(self) -> Boxed:
        """Keep the images that have a box: the others teach nothing, as in Detectron2."""
        rows = [row for row, one in enumerate(self.truths) if len(one.labels)]
        parts: dict[str, Any] = {
            name: [getattr(self, name)[row] for row in rows] for name in ("encoded", "ids", "truths")
        }
        return replace(self, **parts)


def _placed(truth: Truth, place: np.ndarray) -> Truth:
    labels = place[truth.labels]
    kept = labels >= 0
    return Truth(truth.boxes[kept], labels[kept], truth.ignored[kept])


def open_boxes(data: str, split: str) -> Boxed:
    """Open one split of a set with boxes.

    Args:
        data: a folder in VOC's layout; a folder of such (VOCdevkit with VOC2007 and VOC2012: all that have the split
            are joined); a Parquet file or a folder of some.
        split: ``train``, ``trainval``, ``val`` or ``test``, or any value of the Parquet column ``split``.

    Raises:
        UserError: no boxes, no such split, or a damaged file.
    """
    path = Path(data)
    if not path.exists():
        raise UserError(f"There is no {data}; give a folder laid out as VOC, or Parquet with boxes.")
    parts = [path] if is_voc(path) else sorted(one for one in path.glob("*") if is_voc(one))
    found = _from_voc(path, parts, split) if parts else _from_parquet(path, split)
    if not found.boxes:
        raise UserError(f"The {split} split of {data} has no boxes; detection needs some in both splits.")
    return found


def _from_voc(path: Path, roots: Sequence[Path], split: str) -> Boxed:
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
        _truth([box for _, box, _ in shown[key]], [classes.index(name) for name, _, _ in shown[key]],
               [difficult for _, _, difficult in shown[key]])
        for key in keys
    ]  # fmt: skip
    return Boxed(
        name=path.name,
        classes=classes,
        encoded=[root / "JPEGImages" / f"{one}.jpg" for root, one in keys],
        ids=[f"{root.name}/{one}" for root, one in keys],
        truths=[truth for truth, _ in read],
        notes=_left_out(sum(lost for _, lost in read)),
    )


def _objects(annotation: Path) -> list[tuple[str, list[float], bool]]:
    """Read (class, box, difficult) of every object; VOC's first pixel is 1 and its last is inside, so x1 and y1 lose 1.

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


def _from_parquet(path: Path, split: str) -> Boxed:
    files = parquet_files(path)
    if not files:
        raise UserError(f"{path} has no boxes: it is neither laid out as VOC nor Parquet.")
    try:
        schema = pq.read_schema(files[0])
        missing = [name for name in ("boxes", "labels") if name not in schema.names]
        if missing:
            raise UserError(f"{files[0]} has no column {missing[0]}, so it has no boxes; detection needs them.")
        table = pa.concat_tables(pq.read_table(file) for file in files)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({error}); fetch it again.") from error
    column = image_column(files[0], schema)
    if "split" in table.column_names:
        splits = table["split"].to_pylist()
        if split not in splits:
            raise UserError(f"{path} has no {split} split, only {', '.join(sorted(set(splits)))}.")
        table = table.filter(pa.array([one == split for one in splits]))
    elif split != "train":
        raise UserError(f"{path} has no {split} split: it has no column split, so all of it is train.")
    return _boxed_rows(path, table, column, class_names(schema))


def _boxed_rows(path: Path, table: pa.Table, column: str, names: tuple[str, ...]) -> Boxed:
    labels: list[list[int]] = [list(row or ()) for row in table["labels"].to_pylist()]
    boxes: list[list[list[float]]] = [list(row or ()) for row in table["boxes"].to_pylist()]
    largest = max((label for row in labels for label in row), default=-1)
    classes = names or tuple(str(label) for label in range(largest + 1))
    if largest >= len(classes) or any(label < 0 for row in labels for label in row):
        raise UserError(f"{path} has boxes of an unknown class: labels must be 0 to {len(classes) - 1}.")
    if any(len(one) != len(other) for one, other in zip(boxes, labels)):
        raise UserError(f"{path} has an image with more boxes than labels, or fewer; each box needs one.")
    read = [_truth(own, kinds, [False] * len(kinds)) for own, kinds in zip(boxes, labels)]
    ids = table["name"].to_pylist() if "name" in table.column_names else range(table.num_rows)
    return Boxed(
        name=path.name,
        classes=classes,
        encoded=[stream_of(cell).getvalue() for cell in table[column]],
        ids=[str(one) for one in ids],
        truths=[truth for truth, _ in read],
        notes=_left_out(sum(lost for _, lost in read)),
    )


def _truth(boxes: list[list[float]], labels: list[int], ignored: list[bool]) -> tuple[Truth, int]:
    """Make the truth of an image, and count the boxes without area that are left out."""
    sides = np.array(boxes, np.float64).reshape(-1, 4)
    kept = (sides[:, 2:] > sides[:, :2]).all(1)
    truth = Truth(sides[kept], np.array(labels, np.int64)[kept], np.array(ignored, np.bool_)[kept])
    return truth, int((~kept).sum())


def _left_out(lost: int) -> tuple[str, ...]:
    return (f"Left out because they have no area: {lost} boxes.",) if lost else ()
