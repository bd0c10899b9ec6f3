"""Claims about folders laid out as PASCAL VOC, and about the mosaics that are written so."""

import filecmp
from pathlib import Path

import make_voc_mosaics
import numpy as np
import pytest
import torch
from PIL import Image

from mosaics import mosaics_in
from viewkin.data.dataset import open_source, survey
from viewkin.data.formats.voc import objects, presence
from viewkin.data.source import StreamingSource
from viewkin.runtime.errors import UserError

NAMES = ["cat", "dog", "fox"]


@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "cache"))
    return mosaics_in(tmp_path / "voc", 6, 4)


def test_targets_are_those_of_voc_s_own_lists(voc: Path):
    for split in ("trainval", "test"):
        source = open_source(str(voc), split=split)
        assert source.targets is not None
        assert source.labels is None
        assert source.classes == tuple(NAMES)
        for column, name in enumerate(NAMES):
            lines = (voc / "ImageSets" / "Main" / f"{name}_{split}.txt").read_text().splitlines()
            assert source.keys == [f"JPEGImages/{line.split()[0]}.jpg" for line in lines]
            # VOC writes 1 present, -1 absent, 0 difficult only; here that is 1, 0, -1.
            assert source.targets[:, column].tolist() == [{1: 1, -1: 0, 0: -1}[int(line.split()[1])] for line in lines]


def test_an_object_that_is_not_difficult_makes_its_class_present_in_any_order():
    for shown in ([("cat", True), ("cat", False)], [("cat", False), ("cat", True)]):
        assert presence([*shown, ("dog", True), ("dog", True)], ("cat", "dog", "fox")).tolist() == [1, -1, 0]


def test_classes_are_those_of_all_splits(voc: Path):
    names = (voc / "ImageSets" / "Main" / "trainval.txt").read_text().split()
    (voc / "Annotations" / f"{names[0]}.xml").write_text("<annotation><object><name>ape</name></object></annotation>")
    for split in ("trainval", "test"):
        assert open_source(str(voc), split=split).classes == ("ape", *NAMES)


def test_a_subset_keeps_what_its_images_show(voc: Path):
    source = open_source(str(voc), split="trainval")
    part = source.subset(torch.tensor([4, 1]))
    assert torch.equal(part.targets, source.targets[[4, 1]])
    assert part.groups == {}


def test_the_survey_names_the_splits_there_are(voc: Path):
    found = survey(str(voc))
    assert (found.splits, found.labelled, found.several, found.count) == (("trainval", "test"), True, True, 6)


def test_whole_images_are_squashed_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "cache"))
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = 255  # a white square in the middle third
    for name in ("a", "b"):
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(wide).save(tmp_path / "set" / f"{name}.png")
    cut, whole = (open_source(str(tmp_path / "set"), size=48, squash=squash) for squash in (False, True))
    streamed = open_source(str(tmp_path / "set"), size=48, squash=True, memory_limit=0)
    assert int(cut.images(torch.tensor([0])).min()) > 200
    image = whole.images(torch.tensor([0]))[0, 0]
    assert max(image[:, :12].max(), image[:, 36:].max()) < 50
    assert image[:, 20:28].min() > 200
    assert isinstance(streamed, StreamingSource)
    assert torch.equal(streamed.images(torch.tensor([1]))[0, 0], image)


def test_the_same_seed_writes_the_same_files_and_another_others(tmp_path: Path):
    for name in ("one", "two"):
        mosaics_in(tmp_path / name / "voc", 6, 4)
    compared = filecmp.dircmp(tmp_path / "one" / "voc" / "JPEGImages", tmp_path / "two" / "voc" / "JPEGImages")
    assert len(compared.same_files) == 10
    images = np.zeros((100, 3, 32, 32), np.uint8)
    draws = [[one.classes for one in make_voc_mosaics.mosaics(images, [0, 1] * 50, NAMES, 9, 1, s)] for s in (0, 1)]
    assert draws[0] != draws[1]


def test_an_image_is_used_once_and_lies_where_its_box_says(tmp_path: Path):
    images = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 3, 32, 32))
    made = list(make_voc_mosaics.mosaics(images, list(range(40)), [f"c{i}" for i in range(40)], 10, 1, 0))
    quarters = [one.pixels[y, x, 0] for one in made for y in (0, 63) for x in (0, 63)]
    assert sorted(quarters) == list(range(40))
    assert [f"c{i}" for i in quarters] == [name for one in made for name in one.classes]


def test_bad_layouts_are_one_sentence(voc: Path):
    with pytest.raises(UserError, match="no val split in ImageSets/Main, only trainval, test"):
        open_source(str(voc), split="val")
    (voc / "Annotations" / "000001.xml").write_text("<annotation>")
    with pytest.raises(UserError, match=r"000001\.xml cannot be read"):
        open_source(str(voc), split="test")
    with pytest.raises(UserError, match="cannot be read"):
        objects(voc / "Annotations" / "none.xml")
    (voc / "ImageSets" / "Main" / "train.txt").write_text("\n")
    (voc / "Annotations" / "000001.xml").write_text("<annotation/>")
    with pytest.raises(UserError, match="lists no image"):
        open_source(str(voc), split="train")
