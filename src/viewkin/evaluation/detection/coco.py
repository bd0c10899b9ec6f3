"""A folder laid out as COCO: images beside ``annotations/instances_<split>.json``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from viewkin.evaluation.detection.boxed_images import BoxedImages, dropped_boxes_note, make_truth
from viewkin.runtime.errors import UserError
from viewkin.runtime.json_text import read_json

PREFIX = "instances_"
"""Names of annotation files begin with this; the name of the split follows."""


def annotation_files(root: Path) -> dict[str, Path]:
    """Find the annotation files in ``annotations`` or in the folder itself: split -> file; empty if there are none."""
    files = sorted([*root.glob(f"annotations/{PREFIX}*.json"), *root.glob(f"{PREFIX}*.json")])
    return {file.stem.removeprefix(PREFIX): file for file in files}


def open_coco(root: Path, split: str) -> BoxedImages:
    """Open one split. ``train`` also opens ``train2017`` if that is the only year.

    Categories get the labels 0, 1, ... in the order of their ids, which may have gaps. A box (x, y, width, height)
    becomes (x, y, x + width, y + height). Crowds (``iscrowd``) are ignored in the test and not trained on.

    Raises:
        UserError: no such split, a damaged file, or images that are not there.

    References:
        Lin et al., Microsoft COCO, 2014; its data format, section "object detection".
    """
    files = annotation_files(root)
    names = [split] if split in files else [name for name in files if name.rstrip("0123456789") == split]
    if len(names) != 1:
        known = ", ".join(files)
        wrong = f"has several splits {split}" if names else f"has no {split} split"
        raise UserError(f"{root} {wrong} in {PREFIX}*.json, only {known}; name one of these.")
    file = files[names[0]]
    try:
        return _read(root, names[0], read_json(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, LookupError) else error
        raise UserError(
            f"{file} cannot be read as COCO annotations ({what}); fetch it again, or check what wrote it."
        ) from error


def _read(root: Path, split: str, stored: dict[str, Any]) -> BoxedImages:
    """Put images, categories and annotations together."""
    kinds = sorted((int(one["id"]), str(one["name"])) for one in stored["categories"])
    label = {kind: place for place, (kind, _) in enumerate(kinds)}
    if len(label) < len(kinds):
        raise ValueError("two categories of one id")
    images: dict[Any, str] = {one["id"]: str(one["file_name"]) for one in stored["images"]}
    if len(images) < len(stored["images"]):
        raise ValueError("two images of one id")
    shown: dict[Any, list[tuple[list[float], int, bool]]] = {one: [] for one in images}
    for one in stored["annotations"]:
        if one["image_id"] not in shown or one["category_id"] not in label:
            raise ValueError(f"annotation {one.get('id')} is of an unknown image or category")
        shown[one["image_id"]].append((_corners(one), label[one["category_id"]], bool(one.get("iscrowd", 0))))
    read = [make_truth(*_columns(objects)) for objects in shown.values()]
    return BoxedImages(
        name=root.name,
        classes=tuple(name for _, name in kinds),
        encoded=_files(root, split, images.values()),
        ids=list(images.values()),
        truths=[truth for truth, _ in read],
        notes=dropped_boxes_note(sum(lost for _, lost in read)),
    )


def _corners(annotation: dict[str, Any]) -> list[float]:
    """Turn (x, y, width, height) into corners."""
    sides = [float(side) for side in annotation["bbox"]]
    if len(sides) != 4 or not all(math.isfinite(side) for side in sides):
        raise ValueError(
            f"annotation {annotation.get('id')} has a box of {len(sides)} numbers, not of four finite ones"
        )
    x, y, width, height = sides
    return [x, y, x + width, y + height]


def _columns(
    objects: list[tuple[list[float], int, bool]],
) -> tuple[list[list[float]], list[int], list[bool], list[bool]]:
    """List boxes, labels, ignored flags and crowd flags; the last two are equal, since crowds are ignored."""
    crowd = [crowded for _, _, crowded in objects]
    return [box for box, _, _ in objects], [label for _, label, _ in objects], crowd, crowd


def _files(root: Path, split: str, names: Iterable[str]) -> list[Path]:
    """Find the images in ``<split>``, ``images/<split>``, ``images`` or the folder itself: the first with image 1.

    Raises:
        UserError: one of them is not there.
    """
    places, names = [root / split, root / "images" / split, root / "images", root], list(names)
    folder = next((place for place in places if names and (place / names[0]).is_file()), None)
    missing = [name for name in names if folder is None or not (folder / name).is_file()]
    if folder is None or missing:
        told = "no image" if not names else f"no {missing[0]}"
        tried = ", ".join(str(place) for place in ([folder] if folder else places))
        raise UserError(f"There is {told} of the {split} split in {tried}; put the images there.")
    return [folder / name for name in names]
