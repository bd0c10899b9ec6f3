"""The first pass: cache, streaming, subsets, and the pool that decodes."""

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

from viewkin.data import first_pass
from viewkin.data.dataset import open_source
from viewkin.data.pool import in_order
from viewkin.data.source import Source, StreamingSource
from viewkin.runtime.progress import PATIENCE, Bar, Reporter, reporting_to

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


class TestCache:
    @pytest.fixture
    def decoded(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Count the images decoded by first passes."""
        count = [0]
        real = first_pass.decode

        def counting(stream: object, size: int, **options: object) -> object:
            count[0] += 1
            return real(stream, size, **options)

        monkeypatch.setattr(first_pass, "decode", counting)
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

    def test_a_file_changed_under_equal_size_and_time_is_decoded_again(self, tmp_path: Path, opened: Open):
        picture(tmp_path / "set" / "a.bmp", 1)
        picture(tmp_path / "set" / "b.bmp", 2)
        for name in ("a.bmp", "b.bmp"):
            os.utime(tmp_path / "set" / name, ns=(10**18, 10**18))
        assert numbers(opened(tmp_path / "set")) == [1, 2]
        picture(tmp_path / "set" / "a.bmp", 77)
        os.utime(tmp_path / "set" / "a.bmp", ns=(10**18, 10**18))
        assert numbers(opened(tmp_path / "set")) == [77, 2]

    def test_sets_of_equal_names_sizes_and_times_are_two(self, tmp_path: Path, opened: Open, decoded: list[int]):
        for place, value in (("one", 1), ("other", 101)):
            for name in ("a.bmp", "b.bmp"):
                picture(tmp_path / place / name, value)
                os.utime(tmp_path / place / name, ns=(10**18, 10**18))
        assert numbers(opened(tmp_path / "one")) == [1, 1]
        assert numbers(opened(tmp_path / "other")) == [101, 101]
        (tmp_path / "other").rename(tmp_path / "moved")
        assert numbers(opened(tmp_path / "moved")) == [101, 101]
        assert decoded == [4], "a moved folder is the same"

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
        def interrupted(stream: object, size: int, **options: object) -> object:
            raise KeyboardInterrupt

        monkeypatch.setattr(first_pass, "decode", interrupted)
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
            raise first_pass.UnwritableCacheError("No space left on device")

        monkeypatch.setattr(first_pass.Writer, "append", full)
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
        assert resident.facts.keys == streaming.facts.keys
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

    @pytest.mark.parametrize("limit", [0, 2**30])
    def test_batches_are_the_images_of_each_part_in_turn(self, photos: Path, opened: Open, limit: int):
        parts = torch.tensor([5, 1, 3, 0]).split(3)
        batches = list(opened(photos, memory_limit=limit).batches(parts))
        assert [batch[:, 0, 0, 0].tolist() for batch in batches] == [[50, 10, 30], [0]]

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
        assert list(part.keys) == [source.keys[3], source.keys[6]]
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
        assert list(moved.keys) == list(source.keys)

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


class Bars(Reporter):
    """Remembers what bars were shown."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []

    def bar(self, description: str, total: int | None, *, done: int = 0, patience: float = PATIENCE) -> Bar:
        self.bars.append(Bar(description, total, done))
        return self.bars[-1]


def test_the_first_pass_reports_how_far_it_is(photos: Path, tmp_path: Path):
    with reporting_to(Bars()) as bars:
        open_source(str(photos), cache_dir=tmp_path / "cache")
        open_source(str(photos), size=16, cache_dir=tmp_path / "cache", progress=False)
    assert isinstance(bars, Bars)
    assert [(bar.description, bar.total, bar.done) for bar in bars.bars] == [("Decoding images", 6, 6)]


def test_a_pool_of_threads_keeps_the_order():
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item < 3 else 0)
        return item

    assert list(in_order(slow_at_first, range(40), 3)) == list(range(40))


def test_a_pool_of_threads_works_few_items_ahead():
    started: list[int] = []
    results = in_order(started.append, range(100), 2)
    next(results)
    assert len(started) <= 5
    list(results)
    assert sorted(started) == list(range(100))
