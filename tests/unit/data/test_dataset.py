"""A data set: listed once, the same images whatever they come from, and identities that last."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from layouts import cifar_in
from mosaics import mosaics_in
from viewkin.data.dataset import Dataset, open_source, survey
from viewkin.data.formats import parquet
from viewkin.runtime.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the cache in the test's own folder."""
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def noise(count: int, height: int = 12, width: int = 20) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def saved(folder: Path, pixels: np.ndarray) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}.png" for i in range(len(pixels))]
    for path, image in zip(paths, pixels):
        Image.fromarray(image).save(path)
    return paths


def everything(dataset: Dataset, **options: object) -> torch.Tensor:
    source = dataset.source(size=16, least=1, **options)
    return source.images(torch.arange(len(source)))


def message(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """Write a folder with two splits of two classes, one of them two levels deep."""
    pixels = noise(8)
    for i, place in enumerate(["train/a", "train/a/deep", "train/b", "test/a", "test/b", "test/b"]):
        folder = tmp_path / "set" / place
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i]).save(folder / f"{i}.png")
    return tmp_path / "set"


class TestOnce:
    """Everything that is listed is listed once, whatever is asked."""

    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counter[str]:
        """Count every look into a folder, at a file and into a Parquet file, below the test's folder."""
        seen: Counter[str] = Counter()

        def count(module: object, name: str) -> None:
            real = getattr(module, name)

            def counting(path: object, *rest: object, **more: object) -> object:
                text = os.fspath(path) if isinstance(path, str | Path) else ""
                if text.startswith(str(tmp_path / "set")):
                    seen[f"{name} {Path(text).relative_to(tmp_path).as_posix()}"] += 1
                return real(path, *rest, **more)

            monkeypatch.setattr(module, name, counting)

        for module, name in (
            (os, "scandir"),
            (os, "listdir"),
            (os, "stat"),
            (pq, "read_metadata"),
            (pq, "read_schema"),
        ):
            count(module, name)
        count(parquet, "read_facts")
        return seen

    def ask(self, dataset: Dataset) -> None:
        for _ in range(2):
            dataset.survey()
            dataset.source("train", least=1)
            dataset.source("test", least=1)
            dataset.content_ids("train")
            dataset.fingerprint("test")
            dataset.left_out()

    def test_each_folder_and_file_of_a_folder_is_looked_at_once(self, splits: Path, looks: Counter[str]):
        self.ask(Dataset(splits))
        inside = {name: n for name, n in looks.items() if not name.startswith("stat set/") or name.endswith(".png")}
        folders = [name for name in inside if name.startswith(("scandir", "listdir"))]
        places = ["", "/test", "/test/a", "/test/b", "/train", "/train/a", "/train/a/deep", "/train/b"]
        assert sorted(folders) == [f"scandir set{place}" for place in places]
        assert sum(name.startswith("stat") and name.endswith(".png") for name in inside) == 6
        again = {name: n for name, n in inside.items() if n > 1 and name != "stat set"}
        assert not again

    def test_a_folder_without_splits_is_looked_at_once(self, photos: Path, looks: Counter[str]):
        photos.rename(photos.parent / "set")
        dataset = Dataset(photos.parent / "set")
        dataset.survey()
        dataset.source()
        assert {name: n for name, n in looks.items() if name.startswith(("scandir", "listdir"))} == {"scandir set": 1}

    def test_content_ids_are_computed_once(self, monkeypatch: pytest.MonkeyPatch):
        for images in (noise(3), "generated:images=20"):
            dataset = Dataset(images)
            first = dataset.content_ids()
            with monkeypatch.context() as patch:
                patch.setattr("viewkin.data.identity.content_of", None)
                patch.setattr("viewkin.data.identity.content_of_pixels", None)
                assert dataset.content_ids() == first

    def test_two_data_sets_look_twice(self, splits: Path, looks: Counter[str]):
        for _ in range(2):
            self.ask(Dataset(splits))
        assert looks["scandir set/train/a"] == looks["stat set/train/a/0.png"] == 2

    def test_each_parquet_file_is_opened_once_for_its_labels(self, tmp_path: Path, looks: Counter[str]):
        (path,) = saved(tmp_path, noise(1))
        for split in ("train", "test"):
            (tmp_path / "set").mkdir(exist_ok=True)
            table = pa.table({"image": [path.read_bytes()] * 2, "label": ["x", "y"]})
            pq.write_table(table, tmp_path / "set" / f"{split}.parquet")
        self.ask(Dataset(tmp_path / "set"))
        reads = {name: n for name, n in looks.items() if name.startswith("read")}
        assert reads == {"read_facts set/train.parquet": 1, "read_facts set/test.parquet": 1}
        assert looks["scandir set"] == 1

    def test_a_data_set_is_a_snapshot(self, splits: Path):
        dataset = Dataset(splits)
        before = dataset.listing()
        Image.fromarray(noise(1)[0]).save(splits / "train" / "a" / "new.png")
        assert dataset.listing() is before
        assert len(Dataset(splits).listing().keys) == len(before.keys) + 1

    def test_a_data_set_passes_through(self, splits: Path):
        dataset = Dataset(splits)
        assert Dataset.of(dataset) is dataset
        assert survey(dataset) is dataset.survey()
        assert list(open_source(dataset, split="test").keys) == dataset.listing("test").keys


class TestInputs:
    """What a data set can be made of; the pixels do not depend on it."""

    def test_images_in_memory_are_those_of_the_same_images_saved(self, tmp_path: Path):
        pixels = noise(3)
        paths = saved(tmp_path / "set", pixels)
        expected = everything(Dataset(tmp_path / "set"))
        opened = [Image.open(path) for path in paths]
        tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        for images in (paths, [str(path) for path in paths], opened, pixels, list(pixels), tensor, list(tensor)):
            assert torch.equal(everything(Dataset(images)), expected)
            assert torch.equal(everything(Dataset(images), memory_limit=0), expected)
        for images in (paths[0], str(paths[0]), Image.open(paths[0]), pixels[0], tensor[0]):
            assert torch.equal(everything(Dataset(images)), expected[:1])
        for image in opened:
            image.close()

    @pytest.mark.parametrize("kind", ["grey", "palette", "transparent", "wide", "turned"])
    def test_every_kind_of_picture_is_read_as_from_its_file(self, tmp_path: Path, kind: str):
        picture = Image.fromarray(noise(1)[0])
        if kind == "turned":
            picture.getexif()[0x0112] = 6
            picture.save(tmp_path / "a.png", exif=picture.getexif())
        else:
            wide = Image.fromarray(np.arange(240, dtype=np.uint16).reshape(12, 20) * 257)
            mode = {"grey": "L", "palette": "P", "transparent": "RGBA"}
            picture = wide if kind == "wide" else picture.convert(mode[kind])
            if kind == "transparent":
                picture.putalpha(100)
            picture.save(tmp_path / "a.png")
        assert torch.equal(everything(Dataset(picture)), everything(Dataset(tmp_path / "a.png")))
        assert picture.size == (20, 12)

    def test_grey_arrays_are_grey_images(self, tmp_path: Path):
        grey = noise(1)[0][:, :, 0]
        Image.fromarray(grey).save(tmp_path / "a.png")
        for images in (grey, [grey], torch.from_numpy(grey)[None]):
            assert torch.equal(everything(Dataset(images)), everything(Dataset(tmp_path / "a.png")))

    def test_the_caller_s_picture_is_left_as_it_is(self, tmp_path: Path):
        Image.fromarray(noise(1, 600, 800)[0]).save(tmp_path / "a.jpg")
        picture = Image.open(tmp_path / "a.jpg")
        everything(Dataset([picture]))
        assert picture.size == (800, 600)
        picture.load()
        picture.close()

    def test_one_image_is_enough_to_embed_and_too_few_to_train(self, tmp_path: Path):
        (path,) = saved(tmp_path / "set", noise(1))
        for images in (path, [path], noise(1), path.parent):
            assert len(Dataset(images).source(least=1)) == 1
            assert "a single readable image, and at least 2 are needed" in message(lambda i=images: open_source(i))
        path.write_bytes(b"")
        said = message(lambda: Dataset(path).source(least=1))
        assert (
            "0.png holds no image that can be read (0.png: not an image that Pillow can read), and at least 1 is"
            in said
        )

    def test_a_list_keeps_its_order_and_is_named_from_its_common_folder(self, tmp_path: Path):
        one, other = saved(tmp_path / "set" / "a", noise(2)), saved(tmp_path / "set" / "b", noise(2))
        dataset = Dataset([other[1], str(one[0]), other[0]])
        assert dataset.listing().keys == ["b/1.png", "a/0.png", "b/0.png"]
        assert (dataset.name, dataset.place, dataset.address) == ("3 images", tmp_path / "set", None)
        mixed = Dataset([other[1], noise(1)[0]])
        assert mixed.listing().keys == ["0", "1"]
        assert mixed.place is None
        assert everything(mixed).shape == (2, 3, 16, 16)

    def test_a_set_has_a_name_a_place_and_an_address(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (path, _) = saved(tmp_path / "photos", noise(2))
        monkeypatch.chdir(tmp_path)
        folder, file, drawn = Dataset("photos/"), Dataset(Path("photos/0.png")), Dataset("generated:images=20")
        assert (folder.name, folder.place, folder.address) == ("photos/", path.parent, str(path.parent))
        assert (file.name, file.place, file.address) == ("photos/0.png", path.parent, str(path))
        assert (drawn.name, drawn.place, drawn.address) == ("generated:images=20", None, "generated:images=20")
        assert folder.source().name == "photos"
        monkeypatch.chdir("/")
        assert len(folder.source()) == 2, "what was named from one folder opens from another"
        assert Dataset(folder.address or "").listing().keys == folder.listing().keys
        assert repr(folder) == "Dataset('photos/')"

    def test_images_in_memory_leave_nothing_in_the_cache(self, cache: Path):
        dataset = Dataset(noise(2))
        assert [note for note in dataset.source().notes if "kept in" in note] == []
        dataset.fingerprint()
        assert not list(cache.glob("*"))

    def test_a_broken_picture_is_left_out(self, tmp_path: Path):
        paths = saved(tmp_path / "set", noise(3))
        paths[1].write_bytes(paths[1].read_bytes()[:200])
        pictures = [Image.open(path) for path in paths]
        source = Dataset([*pictures, pictures[1]]).source(size=16)
        assert list(source.keys) == ["0", "2"]
        assert [one.key for one in source.skipped] == ["1", "3"]
        for picture in pictures:
            picture.close()

    def test_the_survey_of_a_list_and_of_every_other_layout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        found = Dataset(noise(5)).survey()
        assert (found.count, found.shorter_side, found.uniform, found.labelled) == (5, 12, False, False)
        cifar_in(tmp_path, monkeypatch, [3, 1], [1, 1], hundred=False)
        mosaics_in(tmp_path / "voc", 2, 2)
        for place, splits in (
            (tmp_path / "cifar-10-batches-py", ("train", "test")),
            (tmp_path / "voc", ("trainval", "test")),
        ):
            dataset = Dataset(place)
            assert dataset.splits == dataset.survey().splits == splits
            assert dataset.place == place
            keys = dataset.listing(splits[0]).keys
            assert len(set(keys)) == len(keys) == len(dataset.content_ids(splits[0])) == 2
        assert Dataset(tmp_path / "cifar-10-batches-py").listing().keys == ["train#0", "train#1"]
        assert Dataset(tmp_path / "voc").listing("test").keys == ["JPEGImages/000003.jpg", "JPEGImages/000004.jpg"]


class TestBadInput:
    """Each says what is wrong and what to do, in one sentence."""

    def test_arrays_and_tensors_of_the_wrong_kind(self):
        assert "not float32: convert it first" in message(lambda: Dataset(np.zeros((4, 4, 3), np.float32)))
        for shape in ((4,), (3, 8, 8), (2, 3, 8, 8), (0, 8, 8, 3), (8, 8, 2)):
            assert "reorder its axes" in message(lambda s=shape: Dataset(np.zeros(s, np.uint8)))
        for tensor in (torch.zeros(3, 8, 8), torch.zeros(8, 8, 3, dtype=torch.uint8), torch.zeros(3, 4, 4).bfloat16()):
            said = message(lambda t=tensor: Dataset(t))
            assert str(tuple(tensor.shape)) in said
            assert "convert it first" in said
        assert "give the array by itself" in message(lambda: Dataset([noise(2)]))

    def test_lists_of_the_wrong_kind(self, tmp_path: Path):
        (path,) = saved(tmp_path / "set", noise(1))
        assert "The list of images is empty" in message(lambda: Dataset([]))
        assert "is a folder: a list holds image files" in message(lambda: Dataset([path.parent]))
        assert "There is no" in message(lambda: Dataset([path, tmp_path / "set" / "9.png"]))
        assert "0.png is given twice" in message(lambda: Dataset([path, str(path)]))
        assert "cannot be taken from a int" in message(lambda: Dataset([1]))  # pyright: ignore
        assert "cannot be taken from a dict" in message(lambda: Dataset({"a": path}))  # pyright: ignore
        said = message(lambda: Dataset([path]).source("test"))
        assert "1 image has no test split, only train" in said

    @pytest.mark.usefixtures("no_heif")
    def test_files_that_hold_no_images(self, tmp_path: Path):
        for name, advice in (
            ("a.heic", "install pillow-heif"),
            ("a.pdf", "convert"),
            ("a.mp4", "frames"),
            ("a.tar", "unpack"),
        ):
            (tmp_path / name).write_bytes(b"x")
            said = message(lambda n=name: Dataset(tmp_path / n))
            assert advice in said
            assert not {"not read", "them"} & {said[said.find("not read") :][:8], *said.split()}


class TestIdentity:
    """Keys, content ids and fingerprints."""

    def test_a_content_id_follows_the_image_under_any_name_and_any_split(self, splits: Path):
        before = dict(zip(Dataset(splits).listing().keys, Dataset(splits).content_ids()))
        (splits / "train" / "b" / "2.png").rename(splits / "train" / "b" / "other.png")
        after = dict(zip(Dataset(splits).listing().keys, Dataset(splits).content_ids()))
        assert after["train/b/other.png"] == before["train/b/2.png"]
        assert len(set(after.values())) == 3

    def test_content_ids_are_given_for_the_keys_asked_for(self, splits: Path):
        dataset = Dataset(splits)
        source = dataset.source().subset(torch.tensor([2, 0]))
        every = dataset.content_ids()
        assert dataset.content_ids(keys=source.keys) == [every[2], every[0]]

    def test_content_ids_are_read_once_and_kept_whatever_the_stored_size(
        self, splits: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ):
        first = Dataset(splits).content_ids()
        (kept,) = cache.glob("*.content")
        assert kept.stat().st_size == 16 * 3
        assert kept.read_bytes().hex() == "".join(first)
        monkeypatch.setattr("viewkin.data.identity.content_of", None)
        again = Dataset(splits)
        again.source(size=8)
        again.source(size=16)
        assert again.content_ids() == first
        assert not list(cache.glob("*.part"))

    def test_a_changed_file_and_a_damaged_entry_are_hashed_again(self, splits: Path, cache: Path):
        first = Dataset(splits).content_ids()
        (kept,) = cache.glob("*.content")
        kept.write_bytes(kept.read_bytes()[:-1])
        assert Dataset(splits).content_ids() == first
        for place, path in enumerate(Dataset(splits).listing().keys):
            Image.fromarray(noise(9)[8]).save(splits / path)
            second = Dataset(splits).content_ids()
            assert [one == other for one, other in zip(first, second)] == [i != place for i in range(3)]
            first = second

    def test_a_cache_that_cannot_be_written_is_done_without(self, splits: Path, tmp_path: Path):
        (tmp_path / "file").write_text("")
        assert Dataset(splits).content_ids(cache_dir=tmp_path / "file" / "x") == Dataset(splits).content_ids()

    def test_a_fingerprint_is_of_keys_and_contents_and_of_no_order(self, splits: Path, tmp_path: Path):
        dataset = Dataset(splits)
        files = [splits / key for key in dataset.listing().keys]
        assert Dataset(files[::-1]).fingerprint() == Dataset(files).fingerprint()
        first = dataset.fingerprint()
        assert len(first) == 32
        assert dataset.fingerprint("test") != first
        files[0].rename(files[0].with_name("9.png"))
        renamed = Dataset(splits).fingerprint()
        assert renamed != first
        files[0].with_name("9.png").rename(files[0])
        assert Dataset(splits).fingerprint() == first
        files[0].write_bytes(files[0].read_bytes() + b"x")
        assert Dataset(splits).fingerprint() != first

    def test_drawn_and_archived_images_have_the_identity_of_their_pixels(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        drawn = Dataset("generated:images=20,classes=2,size=16")
        source = drawn.source()
        as_arrays = source.images(torch.arange(20)).permute(0, 2, 3, 1).numpy()
        assert drawn.content_ids() == Dataset(as_arrays).content_ids()
        assert drawn.source(size=24).size == 24
        assert drawn.fingerprint() != Dataset("generated:images=20,classes=2,size=16,seed=1").fingerprint()
        cifar_in(tmp_path, monkeypatch, [3, 1], [1, 1], hundred=False)
        archive = Dataset(tmp_path / "cifar-10-batches-py")
        images = archive.source().images(torch.arange(2))
        assert archive.content_ids() == Dataset(images).content_ids()
        assert archive.listing().encoded.open(1).getpixel((3, 5)) == tuple(images[1, :, 5, 3].tolist())

    def test_pictures_in_memory_are_told_apart_by_shape_too(self):
        flat = [np.zeros((4, 9, 3), np.uint8), np.zeros((9, 4, 3), np.uint8), np.zeros((6, 6, 3), np.uint8)]
        assert len(set(Dataset(flat).content_ids())) == 3

    def test_parquet_rows_have_the_identity_of_their_bytes(self, tmp_path: Path):
        files = saved(tmp_path / "set", noise(4))
        table = pa.table({"image": [*(path.read_bytes() for path in files), None]})
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
        rows, folder = Dataset(tmp_path / "a.parquet"), Dataset(tmp_path / "set")
        assert rows.content_ids()[:4] == folder.content_ids()
        assert rows.listing().keys == [f"a.parquet#{i}" for i in range(5)]


class TestLeftOut:
    """Nothing is dropped in silence."""

    @pytest.mark.usefixtures("no_heif")
    def test_reasons_are_counted_in_plain_words(self, photos: Path):
        for name in ("a.heic", "b.HEIC", "c.heic", "d.heic", "labels.csv", "clip.mov", "._0.png"):
            (photos / name).write_bytes(b"x")
        (photos / "run").mkdir()
        for name in ("recipe.json", "versions.json"):
            (photos / "run" / name).write_text("{}")
        Image.new("RGB", (8, 8)).save(photos / "run" / "curves.png")
        (photos / "gone.png").symlink_to(photos / "nowhere.png")
        (photos / "round").symlink_to(photos)
        dataset = Dataset(photos)
        said = {one.sentence for one in dataset.left_out()}
        assert said == {
            "4 .heic files: install pillow-heif (a.heic, b.HEIC, c.heic, ...).",
            "2 other files: not read (.csv, .txt).",
            "1 .mov file: not read; save frames of them as .jpg or .png (clip.mov).",
            "2 hidden files: not read (._0.png, .hidden.png).",
            "1 hidden folder: not read (.thumbnails).",
            "1 run directory: not read, because figures are no images to learn from (run).",
            "1 link: leads to no file (gone.png).",
            "1 linked folder: listed already under another name (round).",
        }
        heic = next(one for one in dataset.left_out("train") if "heic" in one.reason)
        assert (heic.reason, heic.count, heic.examples) == (
            "4 .heic files: install pillow-heif",
            4,
            ("a.heic", "b.HEIC", "c.heic"),
        )
        assert said <= set(dataset.source().notes)

    def test_a_folder_that_cannot_be_listed_is_named(self, splits: Path, monkeypatch: pytest.MonkeyPatch):
        real = os.scandir

        def guarded(place: str) -> object:
            if os.fspath(place).endswith(("train/b", "locked")):
                raise PermissionError(13, "Permission denied", place)
            return real(place)

        monkeypatch.setattr(os, "scandir", guarded)
        dataset = Dataset(splits)
        assert [key for key in dataset.listing().keys if "/b/" in key] == []
        (one,) = dataset.left_out("train")
        assert one.sentence == "1 folder: left out, cannot be listed (permission denied) (train/b)."
        assert dataset.left_out("test") == []
        (splits / "locked").mkdir()
        assert "locked cannot be listed (permission denied): allow it" in message(lambda: Dataset(splits / "locked"))

    def test_what_lies_beside_the_splits_is_named(self, splits: Path):
        (splits / "extra").mkdir()
        (splits / "readme.md").write_text("")
        Image.new("RGB", (8, 8)).save(splits / "loose.png")
        assert Dataset(splits).left_out("train") == Dataset(splits).left_out()
        assert [one.sentence for one in Dataset(splits).left_out()] == [
            "1 folder: not read, beside the folders of the splits (extra).",
            "1 image: not used, beside the folders of the splits (loose.png).",
            "1 other file: not read (.md).",
        ]

    def test_rows_without_an_image_and_files_beside_parquet_are_counted(self, tmp_path: Path):
        (path,) = saved(tmp_path, noise(1))
        (tmp_path / "set").mkdir()
        struct = [{"bytes": path.read_bytes(), "path": "a"}, {"bytes": None, "path": "b"}, None]
        pq.write_table(pa.table({"image": struct}), tmp_path / "set" / "train.parquet")
        pq.write_table(pa.table({"image": [path.read_bytes(), None]}), tmp_path / "set" / "test.parquet")
        (tmp_path / "set" / "README.md").write_text("")
        dataset = Dataset(tmp_path / "set")
        assert [one.sentence for one in dataset.left_out("train")] == ["2 rows: without an image (train.parquet)."]
        assert {one.count for one in dataset.left_out()} == {3, 1}

    @pytest.mark.usefixtures("no_heif")
    def test_a_folder_of_nothing_that_can_be_read_says_what_it_holds(self, tmp_path: Path):
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "a.heic").write_bytes(b"x")
        said = message(lambda: Dataset(tmp_path / "set").survey())
        assert "holds no image files" in said
        assert "1 .heic file: install pillow-heif (a.heic)" in said

    def test_images_of_voc_that_no_split_lists_are_counted(self, tmp_path: Path):
        root = mosaics_in(tmp_path / "voc", 2, 2)
        Image.new("RGB", (8, 8)).save(root / "JPEGImages" / "extra.jpg")
        (one,) = Dataset(root).left_out()
        assert one.sentence == "1 image: in no list of ImageSets/Main (JPEGImages/extra.jpg)."

    def test_a_file_that_is_gone_is_left_out_of_the_source(self, splits: Path, tmp_path: Path):
        dataset = Dataset(splits)
        assert len(dataset.listing().keys) == 3
        (splits / "train" / "b" / "2.png").unlink()
        source = dataset.source()
        assert [one.key for one in source.skipped] == ["train/b/2.png"]
        assert dataset.content_ids()[2] == "0" * 32


def test_installed_plugins_are_asked_to_read_their_kinds(monkeypatch: pytest.MonkeyPatch):
    import sys
    import types

    from viewkin.data.opening import register_plugins

    asked: list[str] = []
    plugin = types.ModuleType("pillow_heif")
    plugin.register_heif_opener = lambda: asked.append("heif")  # pyright: ignore
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    register_plugins.__wrapped__()
    assert asked == ["heif"]
