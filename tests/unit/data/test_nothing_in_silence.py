"""What is not used is counted and named; what cannot be opened is one sentence, soon."""

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from viewkin.data.dataset import Dataset
from viewkin.data.formats.split_folders import find_splits, split_folders
from viewkin.data.formats.split_words import split_in, split_of_folder
from viewkin.data.formats.tree import entries_of
from viewkin.runtime.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path_factory.mktemp("cache")))


def picture(path: Path, number: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (number, number, number)).save(path)


def message(place: object) -> str:
    with pytest.raises(UserError) as caught:
        Dataset(place).source(progress=False)  # pyright: ignore
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestLeftOut:
    def test_files_without_an_ending_that_are_images_are_read(self, tmp_path: Path):
        for i, kind in enumerate(("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "JPEG2000", "AVIF")):
            stream = io.BytesIO()
            Image.new("RGB", (8, 8), (20 * i, 20 * i, 20 * i)).save(stream, kind)
            (tmp_path / f"{kind}-2024.05").write_bytes(stream.getvalue())
        (tmp_path / "Mr. Smith").write_bytes(stream.getvalue())
        for name, content in (
            ("LICENSE", b"text"),
            ("BMW", b"BM is a text"),
            ("empty", b""),
            ("film", b"\0\0\0 ftypisom"),
        ):
            (tmp_path / name).write_bytes(content)
        (tmp_path / "a.txt").write_bytes(stream.getvalue())  # a name with an ending is believed
        (tmp_path / "fifo").mkdir()
        os.mkfifo(tmp_path / "fifo" / "pipe")  # opening it would wait for ever
        os.mkfifo(tmp_path / "fifo" / "pipe.png")
        source = Dataset(tmp_path).source(progress=False)
        assert len(source) == 9
        assert not source.skipped
        assert [one.sentence for one in source.left_out] == [
            "6 other files: not read (BMW, LICENSE, .txt, ...).",
            "1 special file: not read, as pipes, sockets and devices are no images (fifo/pipe.png).",
        ]
        assert {one.sentence for one in source.left_out} <= set(source.notes)
        one = Dataset(tmp_path / "PNG-2024.05").source(progress=False, least=1)
        assert torch.equal(one.images(torch.tensor([0]))[0, :, 0, 0], torch.zeros(3, dtype=torch.uint8))
        assert "is neither an image nor a folder" in message(tmp_path / "LICENSE")

    @pytest.mark.usefixtures("no_heif")
    def test_heic_without_its_plugin_is_counted_by_the_package_that_reads_it(self, tmp_path: Path):
        for i in range(2):
            picture(tmp_path / f"{i}.png", i)
        for name in ("a.heic", "b.HEIF", "c"):
            (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
        source = Dataset(tmp_path).source(progress=False)
        assert [one.sentence for one in source.left_out] == [
            "2 .heic files: install pillow-heif (a.heic, c).",
            "1 .heif file: install pillow-heif (b.HEIF).",
        ]
        for name in "a.heic", "c":
            assert "cannot be read; install pillow-heif" in message(tmp_path / name)

    def test_heic_is_read_by_its_plugin(self, tmp_path: Path):
        plugin = pytest.importorskip("pillow_heif")
        for i in range(2):
            picture(tmp_path / f"{i}.png", i)
        for name in ("a.heic", "B.HEIC", "c"):
            plugin.from_pillow(Image.new("RGB", (64, 64), (200, 100, 50))).save(tmp_path / name, format="HEIF")
        source = Dataset(tmp_path).source(progress=False, size=64)
        assert (list(source.keys), source.left_out) == (["0.png", "1.png", "B.HEIC", "a.heic", "c"], ())
        centre = source.images(torch.arange(2, 5))[:, :, 32, 32].int()
        assert (centre - torch.tensor([200, 100, 50])).abs().max() < 8

    @pytest.mark.parametrize("limit", [0, 2**30])
    def test_further_pages_and_frames_are_counted(self, tmp_path: Path, limit: int):
        pages = [Image.new("L", (8, 8), i) for i in range(5)]
        pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
        pages[0].save(tmp_path / "b.gif", save_all=True, append_images=[p.point(lambda v: 255 - v) for p in pages[1:3]])
        picture(tmp_path / "c.png")
        for _ in range(2):  # the second time from the cache
            source = Dataset(tmp_path).source(memory_limit=limit, progress=False)
            (pages_left,) = source.left_out
            assert pages_left.count == 6
            assert pages_left.sentence == (
                "6 further pages: the first page or frame of each file is used (a.tif, b.gif)."
            )
            assert pages_left.sentence in source.notes
        assert source.images(torch.arange(3))[:, 0, 0, 0].tolist() == [0, 0, 0]

    def test_warnings_of_pillow_are_counted_and_not_printed(self, tmp_path: Path, recwarn: pytest.WarningsRecorder):
        for i in range(4):
            picture(tmp_path / f"{i}.jpg", i)
        broken = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x12\x01"
        for i in (1, 3):
            stream = io.BytesIO()
            Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=broken)
            (tmp_path / f"{i}.jpg").write_bytes(stream.getvalue())
        for _ in range(2):
            source = Dataset(tmp_path).source(progress=False)
            assert "2 images have damaged metadata (warnings by Pillow)." in source.notes
            assert len(source) == 4
        assert not list(recwarn)

    def test_a_pointer_of_git_lfs_is_named_as_such(self, tmp_path: Path):
        for i in range(2):
            picture(tmp_path / f"{i}.png")
        (tmp_path / "p.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        (skipped,) = Dataset(tmp_path).source(progress=False).skipped
        assert skipped.reason == "a Git LFS pointer: run 'git lfs pull'"


class TestGuesses:
    @pytest.mark.parametrize(
        ("name", "split"),
        [
            ("train", "train"), ("TRAINING", "train"), ("train2017", "train"), ("train_images", "train"),
            ("Test Set", "test"), ("testing", "test"), ("testImages", "test"), ("dev", "val"), ("eval", "val"),
            ("valid", "val"), ("validation", "val"), ("latest", None), ("medieval", None), ("restrained", None),
            ("test tube", None), ("train station", None), ("contest", None), ("trainval", None), ("value", None),
        ],
    )  # fmt: skip
    def test_folders_are_splits_by_whole_words_that_say_nothing_else(self, name: str, split: str | None):
        assert split_of_folder(name) == split

    def test_the_last_word_of_a_path_decides(self):
        assert split_in("train/test-0") == "test"
        assert split_in("default/train/0000") == "train"
        assert split_in("latest/contest") is None

    @pytest.mark.parametrize("name", ["dev", "eval", "valid", "val", "validation"])
    def test_every_word_for_val_is_val(self, tmp_path: Path, name: str):
        for folder in ("train", name):
            picture(tmp_path / folder / "a.png")
            picture(tmp_path / folder / "b.png")
        dataset = Dataset(tmp_path)
        assert dataset.splits == ("train", "val", "test")
        assert (
            f"Split val of train (train/), val ({name}/), by the names of the folders." in dataset.source("val").notes
        )

    def test_of_two_folders_of_a_split_the_plain_name_is_taken_and_the_other_named(self, tmp_path: Path):
        for folder in ("train", "dev", "validation"):
            picture(tmp_path / folder / "a.png")
        assert split_folders(entries_of(tmp_path)) == {"train": "train", "val": "validation"}
        assert any("(dev)" in one.sentence for one in Dataset(tmp_path).left_out())

    def test_folders_taken_for_classes_are_said_and_can_be_ignored(self, tmp_path: Path):
        for folder in ("images", "masks"):
            picture(tmp_path / folder / "a.png")
        source = Dataset(tmp_path).source(progress=False)
        assert "The folders are taken for 2 classes (images, masks); --no-labels ignores them." in source.notes
        plain = Dataset(tmp_path, labels=False)
        assert (plain.source(progress=False).labels, plain.survey().labelled) == (None, False)
        assert plain.listing().keys == list(source.keys)

    @pytest.mark.parametrize("masks", [".txt", ".png"])
    def test_images_and_labels_are_no_classes(self, tmp_path: Path, masks: str):
        for part in "ab":
            picture(tmp_path / "images" / f"{part}.png")
            (tmp_path / "labels").mkdir(exist_ok=True)
            shutil.copy(tmp_path / "images" / f"{part}.png", tmp_path / "labels" / f"{part}{masks}")
        source = Dataset(tmp_path).source(progress=False)
        assert source.labels is None
        if masks == ".txt":
            assert [one.sentence for one in source.left_out] == ["2 other files: not read (.txt)."]
        else:
            assert "The folders are not taken for classes, as they are called images and labels." in source.notes

    @pytest.mark.parametrize(
        ("splits", "found"),
        [
            (("images/train", "images/val"), {"train": "images/train", "val": "images/val"}),
            (("images/train2017", "images/val2017"), {"train": "images/train2017", "val": "images/val2017"}),
            (("photos/Train", "photos/TEST"), {"train": "photos/Train", "test": "photos/TEST"}),
            (("cars/train", "cars/test"), {"train": "cars/train", "test": "cars/test"}),
            (("images/train",), {"train": "images/train"}),
            (("images/train", "images/bus"), {}),
            (("images/train", "images/val", "train", "test"), {"train": "train", "test": "test"}),
        ],
    )
    def test_splits_are_found_in_the_folder_that_holds_the_images(self, tmp_path: Path, splits, found):
        for folder in splits:
            picture(tmp_path / folder / "a.png")
            picture(tmp_path / folder / "b.png")
        assert find_splits(tmp_path, entries_of(tmp_path), entries_of) == found
        assert set(found or ["train"]) <= set(Dataset(tmp_path).splits)

    @pytest.mark.parametrize(
        ("names", "found"),
        [
            (("seg_train", "seg_test", "seg_pred"), {}),
            (("seg_train", "seg_test"), {"train": "seg_train", "test": "seg_test"}),
            (("trainset", "testset"), {"train": "trainset", "test": "testset"}),
            (("CIFAR-Train-2", "CIFAR-val-2"), {"train": "CIFAR-Train-2", "val": "CIFAR-val-2"}),
            (("train station", "test tube"), {}),
            (("latest", "trainer"), {}),
            (("Train", "train", "dev", "DEV"), {"train": "train", "val": "dev"}),
        ],
    )
    def test_folders_that_differ_by_a_split_alone_are_splits(self, tmp_path: Path, names, found):
        for name in names:
            picture(tmp_path / name / "a.png")
        assert split_folders(entries_of(tmp_path)) == found

    def test_a_folder_around_a_split_is_no_class(self, tmp_path: Path):
        for split in ("training_set", "test_set"):
            for kind in ("cats", "dogs"):
                picture(tmp_path / split / split / kind / "1.png")
        listing = Dataset(tmp_path).listing("test")
        assert (listing.classes, listing.labels.tolist()) == (("cats", "dogs"), [0, 1])
        assert listing.keys == ["test_set/test_set/cats/1.png", "test_set/test_set/dogs/1.png"]
        picture(tmp_path / "test_set" / "loose.png")  # now it is not around all of its split
        assert Dataset(tmp_path).listing("test").classes == ("test_set", "training_set")

    def test_folders_nested_a_thousand_times_are_read_soon(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.chdir(tmp_path)
        picture(Path("1.png"))
        for _ in range(1000):
            os.mkdir("d")  # noqa: PTH102 (relative, as the whole path is long)
            os.chdir("d")
        picture(Path("2.png"))
        monkeypatch.chdir(tmp_path)
        began = time.perf_counter()
        assert len(Dataset(tmp_path).listing().keys) == 2
        assert time.perf_counter() - began < 2
        os.system(f"rm -r {tmp_path}/d")

    def test_what_lies_beside_nested_splits_is_counted(self, tmp_path: Path):
        for folder in ("images/train", "images/val", "images/bus", "labels/train"):
            picture(tmp_path / folder / "a.png")
        for name in ("labels/train/a.txt", "images/notes.md", "data.yaml"):
            (tmp_path / name).write_text("")
        picture(tmp_path / "images" / "b.png")
        dataset = Dataset(tmp_path)
        assert dataset.listing().keys == ["images/train/a.png"]
        assert sorted(one.sentence for one in dataset.left_out()) == [
            "1 folder: not read, beside the folders of the splits (images/bus).",
            "2 images: not used, beside the folders of the splits (labels/train/a.png, images/b.png).",
            "3 other files: not read (.yaml, .txt, .md).",
        ]

    def test_labels_of_drawn_images_can_be_left_out_too(self):
        dataset = Dataset("generated:images=20,classes=2,size=16", labels=False)
        assert not dataset.survey().labelled
        assert dataset.source().labels is None
        assert torch.equal(
            dataset.source().images(torch.arange(3)), Dataset(dataset.name).source().images(torch.arange(3))
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("place", "said"),
        [
            ("", "is empty"),
            ("  ", "is empty"),
            ("/proc", "holds no files of a disk"),
            ("/proc/self/fd", "holds no files of a disk"),
            ("/sys/kernel", "holds no files of a disk"),
            ("/dev/null", "holds no files of a disk"),
            ("x" * 300, "cannot be opened (file name too long)"),
            ("a/" * 5000, "cannot be opened (file name too long)"),
            ("a\0b", "cannot be opened"),
            ("no\x1b[31mfolder", "There is no"),
            ("\ud800", "cannot be opened"),
            ("~nobody-of-that-name/x", ""),
            ("/etc/passwd/x", "a part of it is a file"),
        ],
    )
    def test_each_is_one_sentence_within_two_seconds(self, place: str, said: str):
        began = time.perf_counter()
        text = message(place)
        assert time.perf_counter() - began < 2
        assert said in text
        assert "\x1b" not in text
        assert len(text) < 500

    def test_a_folder_with_a_link_to_the_system_is_read_without_it(self, tmp_path: Path):
        for i in range(2):
            picture(tmp_path / f"{i}.png")
        (tmp_path / "system").symlink_to("/proc")
        source = Dataset(tmp_path).source(progress=False)
        assert len(source) == 2
        assert "1 system folder: not read, because it holds no files of a disk (system)." in source.notes

    def test_names_that_are_no_utf8_or_hold_control_characters(self, tmp_path: Path):
        for name in (os.fsdecode(b"caf\xe9"), "a\x1b[31mb", "line\nend"):
            picture(tmp_path / name / "1.png")
            picture(tmp_path / name / "2.png")
        source = Dataset(tmp_path).source(progress=False)
        assert len(source) == 6
        "".join(source.keys).encode()


SEEN = """
import sys
from viewkin.data.dataset import Dataset
from viewkin.runtime.errors import UserError
for place in sys.argv[1:]:
    try:
        source = Dataset(place).source(progress=False)
        print(len(source), *source.notes)
    except UserError as error:
        print("error:", error)
"""


class TestPermissions:
    @pytest.fixture
    def told(self, tmp_path: Path):
        """Open sets in a process that may not read everything, whoever runs the test."""
        drop = "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"
        prefix: list[str] = []
        if os.getuid() == 0:
            if shutil.which("setpriv") is None:
                pytest.skip("root reads everything, and there is no setpriv")
            prefix = ["setpriv", *drop]

        def tell(*places: Path) -> list[str]:
            command = [*prefix, sys.executable, "-c", SEEN, *map(str, places)]
            ended = subprocess.run(command, capture_output=True, text=True, check=True)
            assert ended.stderr == ""
            return ended.stdout.splitlines()

        yield tell
        for folder, _, _ in os.walk(tmp_path):
            os.chmod(folder, 0o755)  # noqa: PTH101
            for below in Path(folder).iterdir():
                below.chmod(0o755)

    def test_folders_and_files_that_may_not_be_read_are_named(self, tmp_path: Path, told):
        for place in "abcdef":
            for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
                picture(tmp_path / place / name)
        (tmp_path / "a" / "dog").chmod(0o644)
        (tmp_path / "b" / "dog").chmod(0o000)
        (tmp_path / "c").chmod(0o644)
        (tmp_path / "d").chmod(0o000)
        (tmp_path / "e" / "dog" / "1.png").chmod(0o000)
        a, b, c, d, e, gone = told(*(tmp_path / place for place in "abcde"), tmp_path / "d" / "cat")
        assert a.startswith("2 ")
        assert "1 of 3 images cannot be read and are left out: dog/1.png (Permission denied)" in a
        assert b.startswith("2 ")
        assert "1 folder: left out, cannot be listed (permission denied) (dog)" in b
        assert "allow its folders to be read" in c
        assert "cannot be listed (permission denied): allow it to be read" in d
        assert "dog/1.png (Permission denied)" in e
        assert "cannot be opened (permission denied)" in gone

    def test_parquet_that_may_not_be_read(self, tmp_path: Path, told):
        path = tmp_path / "set" / "train.parquet"
        path.parent.mkdir()
        path.write_bytes(np.zeros(100, np.uint8).tobytes())
        path.chmod(0)
        for said in told(path, path.parent):
            assert "train.parquet cannot be read (permission denied): allow it to be read" in said
