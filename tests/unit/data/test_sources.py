"""Folders of images: labels, splits, skipped files, cache and streaming."""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from viewkin.data import storing
from viewkin.data.opening import open_source, survey
from viewkin.data.source import Source, StreamingSource
from viewkin.errors import UserError

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


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Open a source with a cache of the test's own."""

    def open_it(path: Path | str, **options: object) -> Source:
        return open_source(str(path), cache_dir=tmp_path / "cache", progress=False, **options)

    return open_it


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make six images without classes, and things that are no images."""
    root = tmp_path / "photos"
    for i in range(6):
        picture(root / f"{i}.png", 10 * i)
    (root / "notes.txt").write_text("text")
    (root / ".hidden.png").write_bytes(b"x")
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "a.png").write_bytes(b"x")
    return root


def message(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


class TestFolders:
    def test_flat_folder_is_sorted_and_unlabelled(self, photos: Path, opened: Open):
        source = opened(photos)
        assert list(source.ids) == [f"{i}.png" for i in range(6)]
        assert numbers(source) == [0, 10, 20, 30, 40, 50]
        assert source.labels is None
        assert source.classes == ()
        assert source.skipped == ()
        assert (source.name, source.size, source.resident) == ("photos", 8, True)

    def test_first_level_folders_are_classes_at_any_depth(self, tmp_path: Path, opened: Open):
        root = tmp_path / "set"
        for i, path in enumerate(["dog/1.png", "cat/b/c/2.png", "cat/a.png", "ant/z.png"]):
            picture(root / path, i)
        (root / "empty").mkdir()
        source = opened(root)
        assert list(source.ids) == ["ant/z.png", "cat/a.png", "cat/b/c/2.png", "dog/1.png"]
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
        assert survey(str(root)).splits == ("train", "test")

    def test_val_stands_in_for_test_and_says_so(self, tmp_path: Path, opened: Open):
        for path in ("train/1.png", "train/2.png", "val/3.png", "val/4.png"):
            picture(tmp_path / "set" / path, int(Path(path).stem))
        source = opened(tmp_path / "set", split="test")
        assert numbers(source) == [3, 4]
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
        assert "neither a folder nor a Parquet file" in message(lambda: opened(photos / "notes.txt"))

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
        assert list(source.ids) == ["0.png", "4.png", "5.png"]
        assert numbers(source) == [0, 40, 50]
        assert [one.path for one in source.skipped] == ["1.png", "2.png", "3.png", "cut.jpg"]
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


class TestCache:
    @pytest.fixture
    def decoded(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Count the images decoded by first passes."""
        count = [0]
        real = storing.decode

        def counting(stream: object, size: int) -> object:
            count[0] += 1
            return real(stream, size)

        monkeypatch.setattr(storing, "decode", counting)
        return count

    def test_second_opening_decodes_nothing(self, photos: Path, opened: Open, decoded: list[int]):
        first = opened(photos)
        assert decoded == [6]
        second = opened(photos)
        assert decoded == [6]
        everything = torch.arange(6)
        assert torch.equal(first.images(everything), second.images(everything))

    def test_a_file_changed_in_time_alone_is_decoded_again(self, tmp_path: Path, opened: Open, decoded: list[int]):
        for name in ("a.bmp", "b.bmp"):
            picture(tmp_path / "set" / name, 1)
        opened(tmp_path / "set")
        stat = (tmp_path / "set" / "a.bmp").stat()
        picture(tmp_path / "set" / "a.bmp", 77)
        os.utime(tmp_path / "set" / "a.bmp", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
        assert (tmp_path / "set" / "a.bmp").stat().st_size == stat.st_size
        assert numbers(opened(tmp_path / "set")) == [77, 1]
        assert decoded == [4]

    def test_a_file_changed_in_bytes_alone_is_decoded_again(self, photos: Path, opened: Open):
        opened(photos)
        stat = (photos / "0.png").stat()
        Image.new("RGB", (8, 8), (77, 77, 77)).save(photos / "0.png", compress_level=0)
        os.utime(photos / "0.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert numbers(opened(photos))[0] == 77

    def test_an_added_file_and_another_size_are_decoded(self, photos: Path, opened: Open, decoded: list[int]):
        opened(photos)
        picture(photos / "9.png", 90)
        assert numbers(opened(photos))[-1] == 90
        assert decoded == [13]
        opened(photos, size=16)
        assert decoded == [20]

    def test_another_format_version_is_decoded(
        self, photos: Path, opened: Open, decoded: list[int], monkeypatch: pytest.MonkeyPatch
    ):
        opened(photos)
        monkeypatch.setattr("viewkin.data.cache.FORMAT", 999)
        opened(photos)
        assert decoded == [12]

    @pytest.mark.parametrize("damage", ["cut", "gone", "facts"])
    def test_a_damaged_entry_is_made_again(
        self, photos: Path, opened: Open, decoded: list[int], tmp_path: Path, damage: str
    ):
        opened(photos)
        (pixels,) = (tmp_path / "cache").glob("*.pixels")
        (facts,) = (tmp_path / "cache").glob("*.json")
        if damage == "cut":
            pixels.write_bytes(pixels.read_bytes()[:-1])
        elif damage == "gone":
            pixels.unlink()
        else:
            facts.write_text("{")
        assert numbers(opened(photos)) == [0, 10, 20, 30, 40, 50]
        assert decoded == [12]

    def test_writing_to_the_images_does_not_reach_the_cache(self, photos: Path, opened: Open):
        source = opened(photos)
        source._pixels.fill_(1)  # pyright: ignore
        assert numbers(opened(photos)) == [0, 10, 20, 30, 40, 50]

    def test_an_interrupted_pass_leaves_nothing(
        self, photos: Path, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def interrupted(stream: object, size: int) -> object:
            raise KeyboardInterrupt

        monkeypatch.setattr(storing, "decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened(photos)
        assert list((tmp_path / "cache").iterdir()) == []

    def test_a_cache_that_cannot_be_written_is_done_without(self, photos: Path, tmp_path: Path):
        (tmp_path / "file").write_text("in the way")
        source = open_source(str(photos), cache_dir=tmp_path / "file" / "cache")
        assert numbers(source) == [0, 10, 20, 30, 40, 50]
        assert any("is not writable" in note for note in source.notes)

    def test_a_full_disk_is_done_without(
        self, photos: Path, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def full(self: object, images: list[np.ndarray]) -> None:
            raise storing.UnwritableCacheError("No space left on device")

        monkeypatch.setattr(storing.Writer, "append", full)
        source = opened(photos)
        assert numbers(source) == [0, 10, 20, 30, 40, 50]
        assert any("No space left" in note for note in source.notes)
        assert list((tmp_path / "cache").iterdir()) == []

    def test_the_folder_is_taken_from_the_environment(
        self, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "elsewhere"))
        open_source(str(photos))
        assert sorted(path.suffix for path in (tmp_path / "elsewhere").iterdir()) == [".json", ".pixels"]

    def test_facts_on_disk_are_plain(self, photos: Path, opened: Open, tmp_path: Path):
        (photos / "1.png").write_bytes(b"")
        opened(photos)
        (facts,) = (tmp_path / "cache").glob("*.json")
        found = json.loads(facts.read_text())
        assert found["listed"] == 6
        assert list(found["broken"]) == ["1"]


class TestStreaming:
    def test_streaming_equals_resident_bit_for_bit(self, tmp_path: Path, opened: Open):
        values = np.random.default_rng(0).integers(0, 256, (7, 40, 50, 3), dtype=np.uint8)
        (tmp_path / "set").mkdir()
        for i, value in enumerate(values):
            Image.fromarray(value).save(tmp_path / "set" / f"{i}.jpg")
        resident = opened(tmp_path / "set", size=32)
        streaming = opened(tmp_path / "set", size=32, memory_limit=0)
        assert resident.resident
        assert not streaming.resident
        index = torch.tensor([5, 0, 6, 6, 2])
        assert torch.equal(resident.images(index), streaming.images(index))
        assert resident.facts.ids == streaming.facts.ids
        assert any("over the limit" in note for note in streaming.notes)

    def test_a_file_that_breaks_later_is_grey_and_logged_once(
        self, photos: Path, opened: Open, caplog: pytest.LogCaptureFixture
    ):
        source = opened(photos, memory_limit=0)
        (photos / "2.png").unlink()
        (photos / "4.png").write_bytes(b"broken")
        with caplog.at_level(logging.WARNING, logger="viewkin.data"):
            assert numbers(source) == [0, 10, 128, 30, 128, 50]
            numbers(source)
            assert [i[1][:, 0, 0, 0].tolist() for i in source.blocks(4)] == [[0, 10, 128, 30], [128, 50]]
        assert [record.args[0] for record in caplog.records if record.args] == ["2.png", "4.png"]
        assert len(source) == 6

    def test_workers_report_what_broke_once(self, photos: Path, opened: Open, caplog: pytest.LogCaptureFixture):
        source = opened(photos, memory_limit=0, workers=2)
        assert isinstance(source, StreamingSource)
        (photos / "2.png").unlink()
        with caplog.at_level(logging.WARNING, logger="viewkin.data"):
            for _ in range(2):
                blocks = list(source.blocks(2))
        assert torch.cat([index for index, _ in blocks]).tolist() == list(range(6))
        assert torch.cat([images for _, images in blocks])[:, 0, 0, 0].tolist() == [0, 10, 128, 30, 40, 50]
        assert len(caplog.records) == 1

    def test_the_limit_decides(self, photos: Path, opened: Open):
        needed = 6 * 3 * 8 * 8
        assert opened(photos, memory_limit=needed).resident
        assert not opened(photos, memory_limit=needed - 1).resident


class TestViews:
    @pytest.mark.parametrize("limit", [0, 2**30])
    def test_subset_of_a_subset_keeps_ids_and_labels(self, tmp_path: Path, opened: Open, limit: int):
        for i in range(8):
            picture(tmp_path / "set" / "ab"[i % 2] / f"{i}.png", i)
        source = opened(tmp_path / "set", memory_limit=limit)
        part = source.subset(torch.tensor([6, 1, 3, 4])).subset(torch.tensor([2, 0]))
        assert len(part) == 2
        assert list(part.ids) == [source.ids[3], source.ids[6]]
        assert part.labels is not None
        assert source.labels is not None
        assert part.labels.tolist() == source.labels[[3, 6]].tolist()
        assert torch.equal(part.images(torch.arange(2)), source.images(torch.tensor([3, 6])))
        assert part.classes == source.classes

    def test_a_resident_subset_shares_the_pixels(self, photos: Path, opened: Open):
        source = opened(photos)
        part = source.subset(torch.tensor([1, 2]))
        assert part._pixels.data_ptr() == source._pixels.data_ptr()  # pyright: ignore

    def test_moving_keeps_every_image(self, photos: Path, opened: Open):
        source = opened(photos).subset(torch.tensor([4, 2]))
        assert source.to("cpu") is source
        moved = source.to("meta")
        assert moved.images(torch.tensor([0])).device.type == "meta"
        assert moved.images(torch.tensor([0])).shape == (1, 3, 8, 8)
        assert list(moved.ids) == list(source.ids)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_a_gpu_gives_the_same_images(self, photos: Path, opened: Open):
        source = opened(photos)
        moved = source.to("cuda")
        index = torch.tensor([5, 1])
        assert moved.device.type == "cuda"
        assert torch.equal(moved.images(index).cpu(), source.images(index))
        assert torch.equal(moved.subset(index).images(index.new_tensor([1])).cpu(), source.images(index[1:]))

    def test_blocks_go_in_order_between_their_ends(self, photos: Path, opened: Open):
        source = opened(photos)
        blocks = list(source.blocks(2, 1, 6))
        assert [index.tolist() for index, _ in blocks] == [[1, 2], [3, 4], [5]]
        assert [images[:, 0, 0, 0].tolist() for _, images in blocks] == [[10, 20], [30, 40], [50]]
        assert list(source.blocks(2, 3, 3)) == []
        assert [len(index) for index, _ in source.blocks(4, 0, 100)] == [4, 2]


def test_a_pool_of_threads_keeps_the_order():
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item < 3 else 0)
        return item

    assert list(storing.in_order(slow_at_first, range(40), 3)) == list(range(40))


def test_a_pool_of_threads_works_few_items_ahead():
    started: list[int] = []
    results = storing.in_order(started.append, range(100), 2)
    next(results)
    assert len(started) <= 5
    list(results)
    assert sorted(started) == list(range(100))


def test_a_bar_shows_only_what_lasts(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    chunks = [[1], [2, 3]]
    assert list(storing.with_bar(chunks, 3, "Decoding", True)) == chunks
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(storing, "PATIENCE", -1.0)
    assert list(storing.with_bar(chunks, 3, "Decoding", False)) == chunks
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(storing.with_bar(chunks, 3, "Decoding", True)) == chunks
    assert "Decoding" in capfd.readouterr().err
