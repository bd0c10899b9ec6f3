"""Claims about sets of boxes in COCO's layout."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from boxes import CLASSES, parquet_of_boxes
from viewkin.evaluation.detection.annotations import open_boxes
from viewkin.evaluation.detection.coco import annotation_files
from viewkin.runtime.errors import UserError

BOX = {"image_id": 7, "category_id": 18, "bbox": [2, 3, 10, 20], "iscrowd": 0}


def write(root: Path, stored: Any, split: str = "train2017", names: tuple[str, ...] = ("a.png", "b.png")) -> Path:
    """Write annotations and images of a split."""
    for folder in (root / "annotations", root / split):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(stored))
    for name in names:
        Image.new("RGB", (40, 30), (9, 9, 9)).save(root / split / name)
    return root


def two_images(*annotations: dict, **changed: Any) -> dict:
    """Two images, 7 and 3, and the categories 90 and 18, not in order."""
    return {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 3, "file_name": "b.png"}],
        "categories": [{"id": 90, "name": "brush"}, {"id": 18, "name": "dog"}],
        "annotations": [{"id": place, **one} for place, one in enumerate(annotations)],
    } | changed


def test_categories_with_gaps_count_from_zero_in_the_order_of_their_ids(tmp_path: Path):
    root = write(tmp_path / "coco", two_images(BOX, BOX | {"image_id": 3, "category_id": 90, "bbox": [0, 0, 5, 5]}))
    boxed = open_boxes(str(root), "train")
    assert boxed.classes == ("dog", "brush")
    assert boxed.ids == ["a.png", "b.png"]
    assert [one.labels.tolist() for one in boxed.truths] == [[0], [1]]
    assert boxed.truths[0].boxes.tolist() == [[2, 3, 12, 23]]
    assert boxed.image(1).shape == (3, 30, 40)


def test_crowds_are_ignored_in_the_test_and_not_learnt(tmp_path: Path):
    crowd = BOX | {"iscrowd": 1, "bbox": [0, 0, 40, 30]}
    root = write(tmp_path / "coco", two_images(BOX, crowd, crowd | {"image_id": 3}))
    boxed = open_boxes(str(root), "train")
    assert boxed.truths[0].ignored.tolist() == [False, True]
    assert boxed.truths[0].crowd.tolist() == [False, True]
    taught = boxed.without_empty_images()
    assert taught.ids == ["a.png"]
    assert taught.truths[0].boxes.tolist() == [[2, 3, 12, 23]]
    assert boxed.only_classes("dog").truths[1].crowd.tolist() == [True]


def test_boxes_without_area_and_images_without_boxes(tmp_path: Path):
    root = write(tmp_path / "coco", two_images(BOX, BOX | {"bbox": [4, 4, 0, 8]}))
    boxed = open_boxes(str(root), "train2017")
    assert [len(one.labels) for one in boxed.truths] == [1, 0]
    assert boxed.notes == ("Left out because they have no area: 1 boxes.",)


@pytest.mark.parametrize("place", ["val", "images/val", "images", "."])
def test_images_are_found_in_each_of_the_usual_places(tmp_path: Path, place):
    write(tmp_path / "coco", two_images(BOX), "val")
    (tmp_path / "coco" / place).mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        (tmp_path / "coco" / "val" / name).replace(tmp_path / "coco" / place / name)
    assert open_boxes(str(tmp_path / "coco"), "val").image(0).shape == (3, 30, 40)


def test_parquet_written_as_coco_reads_the_same(tmp_path: Path):
    path = parquet_of_boxes(tmp_path / "all.parquet", {"train": 3})
    stored: dict[str, list] = {"images": [], "annotations": [], "categories": []}
    for place, row in enumerate(pq.read_table(path).to_pylist()):
        stored["images"].append({"id": 10 * place, "file_name": f"{row['name']}.png"})
        for (x0, y0, x1, y1), label in zip(row["boxes"], row["labels"], strict=True):
            own = {"image_id": 10 * place, "category_id": 5 + 3 * label, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            stored["annotations"].append(own)
    stored["categories"] = [{"id": 5 + 3 * label, "name": name} for label, name in enumerate(CLASSES)]
    root = write(tmp_path / "coco", stored, "train", ())
    for row in pq.read_table(path).to_pylist():
        Image.open(io.BytesIO(row["image"])).save(root / "train" / f"{row['name']}.png")
    one, other = open_boxes(str(path), "train"), open_boxes(str(root), "train")
    assert one.classes == other.classes
    for place in range(3):
        np.testing.assert_allclose(one.truths[place].boxes, other.truths[place].boxes)
        assert one.truths[place].labels.tolist() == other.truths[place].labels.tolist()
        assert bool((one.image(place) == other.image(place)).all())


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ([], "cannot be read as COCO annotations"),
        ({"images": []}, "no 'categories'"),
        (two_images(BOX | {"category_id": 1}), "annotation 0 is of an unknown image or category"),
        (two_images(BOX | {"image_id": 1}), "annotation 0 is of an unknown image or category"),
        (two_images(BOX | {"bbox": [1, 2, 3]}), "annotation 0 has a box of 3 numbers, not of four finite ones"),
        (two_images(BOX | {"bbox": [1, 2, 3, float("nan")]}), "annotation 0 has a box of 4 numbers"),
        (two_images(BOX | {"bbox": None}), "cannot be read as COCO annotations"),
        (two_images({"image_id": 7, "category_id": 18}), "no 'bbox'"),
        (two_images(BOX, images=[{"id": 7, "file_name": "a.png"}] * 2), "two images of one id"),
        (two_images(BOX, categories=[{"id": 18, "name": "dog"}, {"id": 18, "name": "cat"}]), "two categories of one"),
        (two_images(BOX, images=[{"id": 7, "file_name": "gone.png"}]), r"There is no gone\.png of the train2017 split"),
        (two_images(images=[]), "no image of the train2017 split"),
        (two_images(), "has no boxes"),
    ],
)
def test_bad_annotations_are_one_sentence(tmp_path: Path, stored, words):
    root = write(tmp_path / "coco", stored)
    with pytest.raises(UserError, match=words) as refused:
        open_boxes(str(root), "train")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_json_and_a_split_that_is_not_there_are_one_sentence(tmp_path: Path):
    root = write(tmp_path / "coco", two_images(BOX))
    with pytest.raises(UserError, match=r"has no val split in instances_\*.json, only train2017"):
        open_boxes(str(root), "val")
    write(root, two_images(BOX), "train2014")
    with pytest.raises(UserError, match="has several splits train in"):
        open_boxes(str(root), "train")
    (root / "annotations" / "instances_train2014.json").write_bytes(b"{\xff")
    with pytest.raises(UserError, match="cannot be read as COCO annotations"):
        open_boxes(str(root), "train2014")
    assert annotation_files(tmp_path) == {}
