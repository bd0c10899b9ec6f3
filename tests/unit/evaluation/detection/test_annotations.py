"""Claims about the two layouts of images with boxes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from boxes import CLASSES, parquet_of_boxes, squares, voc_image, voc_list
from viewkin.evaluation.detection.annotations import open_boxes
from viewkin.runtime.errors import UserError


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOC2007"
    voc_image(root, "one", [("dog", (1, 1, 20, 10), False), ("cat", (5, 6, 30, 40), True)])
    voc_image(root, "two", [("cat", (2, 2, 12, 12), False)])
    voc_image(root, "three", [])
    voc_list(root, "trainval", ["one", "three"])
    voc_list(root, "test", ["two"])
    return root


def test_voc_counts_pixels_from_one_and_the_last_is_inside(voc: Path):
    boxed = open_boxes(str(voc), "trainval")
    assert boxed.classes == ("cat", "dog")
    assert boxed.ids == ["VOC2007/one", "VOC2007/three"]
    assert boxed.truths[0].boxes.tolist() == [[0, 0, 20, 10], [4, 5, 30, 40]]
    assert boxed.truths[0].labels.tolist() == [1, 0]
    assert boxed.truths[0].ignored.tolist() == [False, True]
    assert boxed.truths[1].boxes.shape == (0, 4)
    assert (len(boxed), boxed.boxes) == (2, 2)


def test_two_years_of_voc_are_joined_where_both_have_the_split(voc: Path):
    later = voc.parent / "VOC2012"
    voc_image(later, "one", [("ape", (1, 1, 9, 9), False)])
    voc_list(later, "trainval", ["one"])
    joined, test = (open_boxes(str(voc.parent), split) for split in ("trainval", "test"))
    assert joined.ids == ["VOC2007/one", "VOC2007/three", "VOC2012/one"]
    assert joined.classes == test.classes == ("ape", "cat", "dog")
    assert test.ids == ["VOC2007/two"]


def test_parquet_gives_the_images_and_boxes_of_a_split(tmp_path: Path):
    path = parquet_of_boxes(tmp_path / "set" / "all.parquet", {"train": 2, "test": 1})
    for data in (path, path.parent):
        boxed = open_boxes(str(data), "test")
        pixels, boxes, labels = squares(2)
        assert (boxed.classes, boxed.ids) == (CLASSES, ["image-2"])
        assert boxed.truths[0].boxes.tolist() == boxes
        assert boxed.truths[0].labels.tolist() == labels
        assert not boxed.truths[0].ignored.any()
        np.testing.assert_array_equal((boxed.image(0) * 255).round().byte().permute(1, 2, 0).numpy(), pixels)
    assert boxed.image(0).dtype == torch.float32


def test_boxes_without_area_are_counted_and_left_out(tmp_path: Path):
    boxes = [[[0.0, 0.0, 5.0, 5.0], [3.0, 3.0, 3.0, 9.0]], [[4.0, 4.0, 8.0, 8.0], [9.0, 9.0, 8.0, 12.0]]]
    path = parquet_of_boxes(tmp_path / "a.parquet", {"train": 2}, boxes=boxes)
    boxed = open_boxes(str(path), "train")
    assert boxed.boxes == 2
    assert boxed.notes == ("Left out because they have no area: 2 boxes.",)


def test_only_some_classes_are_kept_and_counted_anew(voc: Path):
    boxed = open_boxes(str(voc), "trainval").only_classes("dog")
    assert boxed.classes == ("dog",)
    assert boxed.truths[0].boxes.tolist() == [[0, 0, 20, 10]]
    assert boxed.truths[0].labels.tolist() == [0]
    assert boxed.without_empty_images().ids == ["VOC2007/one"]
    with pytest.raises(UserError, match="no boxes of a class 'dgo'; give names such as dog"):
        boxed.only_classes("dgo")


def test_bad_sets_are_one_sentence(voc: Path, tmp_path: Path):
    with pytest.raises(UserError, match="There is no nowhere"):
        open_boxes("nowhere", "train")
    with pytest.raises(UserError, match="no val split in ImageSets/Main, only test, trainval"):
        open_boxes(str(voc), "val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither laid out as VOC or COCO nor Parquet"):
        open_boxes(str(tmp_path / "empty"), "train")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(UserError, match="cannot be read"):
        open_boxes(str(tmp_path / "text.parquet"), "train")
    voc_list(voc, "val", ["three"])
    with pytest.raises(UserError, match=r"val split of .* has no boxes"):
        open_boxes(str(voc), "val")
    (voc / "Annotations" / "one.xml").write_text("<annotation><object><bndbox/></object></annotation>")
    with pytest.raises(UserError, match=r"one\.xml cannot be read"):
        open_boxes(str(voc), "test")


@pytest.mark.parametrize(
    ("changed", "split", "words"),
    [
        ({"boxes": None}, "train", "has no column boxes"),
        ({"labels": None}, "train", "has no column labels"),
        ({}, "val", "no val split, only test, train"),
        ({"split": None}, "test", "no column split"),
        ({"labels": [[0, 5], [0, 1]]}, "train", "unknown class: labels must be 0 to 1"),
        ({"labels": [[0], [0, 1]]}, "train", "more boxes than labels"),
        ({"boxes": [[], []], "labels": [[], []]}, "train", "has no boxes"),
    ],
)
def test_bad_parquet_is_one_sentence(tmp_path: Path, changed, split, words):
    path = parquet_of_boxes(tmp_path / "a.parquet", {"train": 1, "test": 1}, **changed)
    with pytest.raises(UserError, match=words):
        open_boxes(str(path), split)


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path):
    path = parquet_of_boxes(tmp_path / "a.parquet", {"train": 1}, image=[b"no image"])
    with pytest.raises(UserError, match=r"image-0 of a\.parquet cannot be read"):
        open_boxes(str(path), "train").image(0)
