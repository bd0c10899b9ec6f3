"""CIFAR and STL-10 as unpacked by their publishers, in small."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as oracle

from layouts import IMAGES, cifar_in, stl_in
from viewkin.data.dataset import open_source, survey
from viewkin.runtime.errors import UserError


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CIFAR-10 of four training and two test images."""
    cifar_in(tmp_path, monkeypatch, [3, 1, 0, 2], [1, 1], hundred=False)
    return tmp_path


@pytest.fixture
def stl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An STL-10 of two training, one unlabelled and two test images."""
    stl_in(tmp_path, monkeypatch, [1, 10], 1, [2, 3])
    return tmp_path


def test_cifar_keeps_pixels_labels_and_names(cifar: Path):
    for spec in (cifar, cifar / "cifar-10-batches-py"):
        source = open_source(str(spec))
        expected = torch.from_numpy(IMAGES[:4].reshape(4, 3, 32, 32))
        assert torch.equal(source.images(torch.arange(4)), expected)
        assert source.labels is not None
        assert source.labels.tolist() == [3, 1, 0, 2]
        assert source.labels.dtype == torch.int64
        assert source.classes == ("a", "b", "c", "d")
        assert (source.name, source.size, list(source.keys)[:2]) == ("cifar10", 32, ["train#0", "train#1"])
    assert len(open_source(str(cifar), split="test")) == 2


def test_another_size_is_resized_as_torchvision_does(cifar: Path):
    source = open_source(str(cifar), size=16)
    expected = oracle.resize(torch.from_numpy(IMAGES[:4].reshape(4, 3, 32, 32)), 16, oracle.InterpolationMode.BICUBIC)
    assert (source.images(torch.arange(4)).int() - expected.int()).abs().max() <= 1
    assert any("from 32 to 16 px" in note for note in source.notes)


def test_stl_splits_and_missing_labels(stl: Path):
    train = open_source(str(stl))
    assert train.labels is not None
    assert train.labels.tolist() == [0, 9]
    both = open_source(str(stl), split="train+unlabeled")
    assert both.labels is not None
    assert both.labels.tolist() == [0, 9, -1]
    assert list(both.keys) == ["train#0", "train#1", "unlabeled#0"]
    assert open_source(str(stl), split="unlabeled").labels is None
    assert len(open_source(str(stl), split="test")) == 2
    raw = np.frombuffer((stl / "stl10_binary" / "train_X.bin").read_bytes(), np.uint8).reshape(2, 3, 96, 96)
    assert torch.equal(train.images(torch.tensor([1]))[0], torch.from_numpy(raw[1].transpose(0, 2, 1).copy()))


def test_surveys_need_no_reading(cifar: Path):
    found = survey(str(cifar))
    assert (found.count, found.shorter_side, found.uniform, found.labelled) == (50_000, 32, True, True)
    assert found.splits == ("train", "test")
    with pytest.raises(UserError, match="no split 'val'"):
        survey(str(cifar), "val")


def test_a_wrong_checksum_is_told(cifar: Path):
    path = cifar / "cifar-10-batches-py" / "data_batch_1"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UserError, match="incomplete, or its checksum is wrong"):
        open_source(str(cifar))


def test_a_missing_file_is_told(cifar: Path):
    (cifar / "cifar-10-batches-py" / "batches.meta").unlink()
    with pytest.raises(UserError, match="incomplete, or its checksum is wrong"):
        open_source(str(cifar))


def test_an_unknown_split_is_told(cifar: Path):
    with pytest.raises(UserError, match="no split 'val'; choose among train, test"):
        open_source(str(cifar), split="val")


def test_two_sets_in_one_folder_must_be_named(cifar: Path, stl: Path):
    assert cifar == stl
    with pytest.raises(UserError, match=r"several data sets: name one of .*cifar-10-batches-py and .*stl10_binary"):
        open_source(str(cifar))
    assert open_source(str(cifar / "cifar-10-batches-py")).name == "cifar10"


def test_a_missing_torchvision_is_told(cifar: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UserError, match="needs a working torchvision"):
        open_source(str(cifar))


def test_a_folder_of_photos_beside_no_archive_is_a_folder(tmp_path: Path):
    for i in range(2):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
    assert open_source(str(tmp_path), cache_dir=tmp_path / ".cache").labels is None
