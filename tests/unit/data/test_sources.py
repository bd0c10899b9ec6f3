"""Folders of images: labels, splits, skipped files and sizes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from viewkin.data.dataset import survey
from viewkin.data.source import Source
from viewkin.runtime.errors import UserError

Open = Callable[..., Source]


def picture(path: Path, number: int, size: tuple[int, int] = (8, 8)) -> None:
    """Write an image whose pixels all hold its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (number, number, number)).save(path)


def numbers(source: Source) -> list[int]:
    images = source.images(torch.arange(len(source)))
    assert images.dtype == torch.uint8
    assert images.shape == (len(source), 3, source.size, source.size)
    return images[:, 0, 0, 0].tolist()


def message(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


class TestFolders:
    def test_flat_folder_is_sorted_and_unlabelled(self, photos: Path, opened: Open):
        source = opened(photos)
        assert list(source.keys) == [f"{i}.png" for i in range(6)]
        assert numbers(source) == [0, 10, 20, 30, 40, 50]
        assert source.labels is None
        assert source.classes == ()
        assert source.skipped == ()
        assert (source.name, source.size, source.resident) == ("photos", 8, True)

    @pytest.mark.parametrize("limit", [0, 10**9])
    def test_names_that_are_no_utf8_can_be_printed_and_opened(self, tmp_path: Path, opened: Open, limit: int):
        root = tmp_path / "set"
        folder, picked = os.fsdecode(b"caf\xe9"), os.fsdecode(b"th\xe9.png")
        picture(root / folder / picked, 1)
        picture(root / "bar" / "tea.png", 2)
        (root / folder / os.fsdecode(b"bad\xe9.png")).write_text("text")
        source = opened(root, memory_limit=limit)
        assert list(source.keys) == ["bar/tea.png", "caf\\xe9/th\\xe9.png"]
        assert source.classes == ("bar", "caf\\xe9")
        assert numbers(source) == [2, 1]
        assert [one.key for one in source.skipped] == ["caf\\xe9/bad\\xe9.png"]
        "".join([*source.keys, *source.classes, *source.notes]).encode()

    def test_first_level_folders_are_classes_at_any_depth(self, tmp_path: Path, opened: Open):
        root = tmp_path / "set"
        for i, path in enumerate(["dog/1.png", "cat/b/c/2.png", "cat/a.png", "ant/z.png"]):
            picture(root / path, i)
        (root / "empty").mkdir()
        source = opened(root)
        assert list(source.keys) == ["ant/z.png", "cat/a.png", "cat/b/c/2.png", "dog/1.png"]
        assert source.classes == ("ant", "cat", "dog")
        assert source.labels is not None
        assert source.labels.tolist() == [0, 1, 1, 2]
        assert source.labels.dtype == torch.int64
        assert numbers(source) == [3, 2, 1, 0]

    def test_one_subfolder_is_no_class(self, tmp_path: Path, opened: Open):
        for i in range(2):
            picture(tmp_path / "set" / "only" / f"{i}.png", i)
        assert opened(tmp_path / "set").labels is None

    def test_image_outside_the_class_folders_has_no_label(self, tmp_path: Path, opened: Open):
        for path in ("a/1.png", "b/1.png", "loose.png"):
            picture(tmp_path / "set" / path, 1)
        source = opened(tmp_path / "set")
        assert source.labels is not None
        assert source.labels.tolist() == [0, 1, -1]
        assert any("1 images lie in no class folder" in note for note in source.notes)

    def test_split_folders_pick_and_share_their_classes(self, tmp_path: Path, opened: Open):
        root = tmp_path / "set"
        for path in ("train/a/1.png", "train/b/2.png", "train/c/3.png", "test/c/4.png", "test/b/5.png"):
            picture(root / path, int(Path(path).stem))
        train, test = opened(root), opened(root, split="test")
        assert train.classes == test.classes == ("a", "b", "c")
        assert test.labels is not None
        assert test.labels.tolist() == [1, 2]
        assert numbers(test) == [5, 4]
        assert numbers(train) == [1, 2, 3]
        assert list(train.keys) == ["train/a/1.png", "train/b/2.png", "train/c/3.png"]
        assert list(train.names) == ["a/1.png", "b/2.png", "c/3.png"]
        assert survey(str(root)).splits == ("train", "test")

    def test_val_stands_in_for_test_and_says_so(self, tmp_path: Path, opened: Open):
        for path in ("train/1.png", "train/2.png", "val/3.png", "val/4.png"):
            picture(tmp_path / "set" / path, int(Path(path).stem))
        source = opened(tmp_path / "set", split="test")
        assert numbers(source) == [3, 4]
        assert list(source.keys) == ["val/3.png", "val/4.png"]
        assert any("val folder stands in" in note for note in source.notes)
        assert "test" in survey(str(tmp_path / "set")).splits

    def test_a_class_named_train_is_no_split(self, tmp_path: Path, opened: Open):
        for path in ("train/1.png", "plane/2.png"):
            picture(tmp_path / "set" / path, 1)
        assert opened(tmp_path / "set").classes == ("plane", "train")

    def test_links_in_a_circle_end(self, photos: Path, opened: Open):
        (photos / "round").symlink_to(photos)
        assert len(opened(photos)) == 6

    def test_suffixes_count_in_any_case(self, tmp_path: Path, opened: Open):
        for name in ("a.PNG", "b.Png"):
            Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
        assert len(opened(tmp_path)) == 2


class TestErrors:
    def test_missing_path_names_the_nearest(self, photos: Path, opened: Open):
        assert f"did you mean {photos}?" in message(lambda: opened(f"{photos.parent}/photso"))
        assert "did you mean generated?" in message(lambda: opened("genrated"))

    def test_a_file_of_another_kind(self, photos: Path, opened: Open):
        assert "neither an image nor a folder nor a Parquet file" in message(lambda: opened(photos / "notes.txt"))

    def test_folder_without_images(self, tmp_path: Path, opened: Open):
        assert "holds no image files" in message(lambda: opened(tmp_path))

    def test_single_image(self, tmp_path: Path, opened: Open):
        picture(tmp_path / "one" / "a.png", 1)
        assert "a single readable image, and at least 2" in message(lambda: opened(tmp_path / "one"))

    def test_nothing_readable(self, tmp_path: Path, opened: Open):
        (tmp_path / "bad").mkdir()
        for name in ("a.png", "b.jpg"):
            (tmp_path / "bad" / name).write_bytes(b"")
        said = message(lambda: opened(tmp_path / "bad"))
        assert "no image that can be read" in said
        assert "a.png: not an image" in said

    def test_missing_split_names_holdout(self, photos: Path, opened: Open):
        for split in ("test", "val"):
            said = message(lambda split=split: opened(photos, split=split))
            assert f"has no {split} folder" in said
            assert "--holdout" in said
        with pytest.raises(UserError, match="no split 'foo'"):
            opened(photos, split="foo")
        with pytest.raises(UserError, match="--holdout"):
            survey(str(photos), "test")

    def test_size_out_of_range(self, photos: Path, opened: Open):
        assert "not 4" in message(lambda: opened(photos, size=4))


class TestSkipping:
    @pytest.fixture
    def mixed(self, photos: Path) -> Path:
        whole = (photos / "3.png").read_bytes()
        (photos / "1.png").write_bytes(b"")
        (photos / "2.png").write_bytes(b"no image at all")
        (photos / "3.png").write_bytes(whole[: len(whole) // 2])
        (photos / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
        return photos

    @pytest.mark.parametrize("limit", [0, 2**30])
    def test_unreadable_files_are_named_and_left_out(self, mixed: Path, opened: Open, limit: int):
        source = opened(mixed, memory_limit=limit)
        assert list(source.keys) == ["0.png", "4.png", "5.png"]
        assert numbers(source) == [0, 40, 50]
        assert [one.key for one in source.skipped] == ["1.png", "2.png", "3.png", "cut.jpg"]
        assert all(one.reason for one in source.skipped)
        assert any("4 of 7 images cannot be read" in note and "1.png" in note for note in source.notes)

    def test_the_cache_remembers_what_was_skipped(self, mixed: Path, opened: Open):
        first, second = opened(mixed), opened(mixed)
        assert first.skipped == second.skipped
        assert numbers(second) == [0, 40, 50]

    def test_labels_follow_the_readable_files(self, tmp_path: Path, opened: Open):
        for path in ("a/1.png", "a/2.png", "b/3.png", "c/4.png"):
            picture(tmp_path / "set" / path, int(Path(path).stem))
        (tmp_path / "set" / "a" / "1.png").write_bytes(b"")
        source = opened(tmp_path / "set")
        assert source.labels is not None
        assert source.labels.tolist() == [0, 1, 2]
        assert numbers(source) == [2, 3, 4]


class TestSizes:
    def test_one_square_size_is_kept(self, photos: Path, opened: Open):
        assert opened(photos).size == 8
        found = survey(str(photos))
        assert (found.count, found.shorter_side, found.uniform, found.labelled) == (6, 8, True, False)

    def test_photographs_are_stored_near_their_median(self, tmp_path: Path, opened: Open):
        for i, size in enumerate([(120, 99), (90, 300), (50, 70)]):
            picture(tmp_path / "set" / f"{i}.png", i, size)
        found = survey(str(tmp_path / "set"))
        assert (found.shorter_side, found.uniform) == (90, False)
        source = opened(tmp_path / "set")
        assert source.size == 96
        assert any("96 px" in note and "90 px in the median" in note for note in source.notes)

    def test_large_squares_are_stored_at_256(self, tmp_path: Path, opened: Open):
        for i in range(2):
            picture(tmp_path / "set" / f"{i}.png", i, (300, 300))
        assert opened(tmp_path / "set").size == 256
        assert opened(tmp_path / "set", size=300).size == 300

    def test_a_size_asked_for_is_used(self, photos: Path, opened: Open):
        source = opened(photos, size=16)
        assert source.size == 16
        assert numbers(source) == [0, 10, 20, 30, 40, 50]
