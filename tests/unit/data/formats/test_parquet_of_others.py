"""Parquet as other programs write it: types, names of columns, shards that differ, folders of a hub."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from viewkin.data.dataset import Dataset
from viewkin.data.source import Source
from viewkin.runtime.errors import UserError

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path_factory.mktemp("cache")))


def encoded(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def images(*numbers: int) -> pa.Array:
    return pa.array([{"bytes": encoded(number), "path": None} for number in numbers], STRUCT)


def table(path: Path, metadata: dict[str, object] | None = None, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    described = {} if metadata is None else {"huggingface": json.dumps({"info": {"features": metadata}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(described), path)
    return path


def opened(place: Path, split: str = "train", **options: object) -> Source:
    return Dataset(place, **options).source(split, progress=False)


def numbers(source: Source) -> list[int]:
    return source.images(torch.arange(len(source)))[:, 0, 0, 0].tolist()


def labels(source: Source) -> list[int] | None:
    return None if source.labels is None else source.labels.tolist()


def message(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestTypes:
    @pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
    @pytest.mark.parametrize("struct", [False, True])
    def test_bytes_of_every_kind_are_images(self, tmp_path: Path, kind: pa.DataType, struct: bool):
        column = pa.array([encoded(i) for i in range(3)], pa.binary()).cast(kind)
        column = pa.StructArray.from_arrays([column], ["bytes"]) if struct else column
        assert numbers(opened(table(tmp_path / "a.parquet", image=column))) == [0, 1, 2]

    def test_images_in_a_dictionary_are_read(self, tmp_path: Path):
        column = pa.array([encoded(1), encoded(2), encoded(1)]).dictionary_encode()
        assert numbers(opened(table(tmp_path / "a.parquet", image=column))) == [1, 2, 1]

    @pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
    def test_texts_of_every_kind_are_labels(self, tmp_path: Path, kind: pa.DataType):
        path = table(tmp_path / "a.parquet", image=images(0, 1, 2), label=pa.array(["b", "a", None]).cast(kind))
        source = opened(path)
        assert (labels(source), source.classes) == ([1, 0, -1], ("a", "b"))

    def test_whole_floats_are_labels(self, tmp_path: Path):
        path = table(tmp_path / "a.parquet", image=images(0, 1, 2), label=[1.0, 0.0, float("nan")])
        assert labels(opened(path)) == [1, 0, -1]

    def test_lists_of_one_image_are_images(self, tmp_path: Path):
        column = pa.array([[{"bytes": encoded(i), "path": None}] for i in range(3)], pa.list_(STRUCT))
        assert numbers(opened(table(tmp_path / "a.parquet", images=column))) == [0, 1, 2]

    @pytest.mark.parametrize("limit", [0, 2**30])
    def test_paths_start_from_the_file(self, tmp_path: Path, limit: int):
        (tmp_path / "pictures").mkdir()
        for i in range(3):
            (tmp_path / "pictures" / f"{i}.png").write_bytes(encoded(i))
        paths = ["pictures/0.png", "pictures/1.png", "pictures/2.png", "pictures/none.png"]
        for column in ([{"path": path} for path in paths], [{"bytes": None, "path": path} for path in paths]):
            path = table(tmp_path / "a.parquet", image=pa.array(column))
            dataset = Dataset(path)
            source = dataset.source(memory_limit=limit, progress=False)
            assert numbers(source) == [0, 1, 2]
            assert [one.key for one in source.skipped] == ["a.parquet#3"]
            assert len(set(dataset.content_ids())) == 4
        (tmp_path / "pictures" / "0.png").write_bytes(encoded(77))
        assert numbers(opened(path)) == [77, 1, 2], "a file that a row names is looked at like any other"


class TestNothingInSilence:
    def test_images_beyond_the_first_of_a_row_are_counted(self, tmp_path: Path):
        lists = [[encoded(1), encoded(2), encoded(3)], [encoded(4)], [], None, [encoded(5), encoded(6)]]
        pq.write_table(pa.table({"images": lists}), tmp_path / "a.parquet")
        source = opened(tmp_path / "a.parquet")
        assert len(source) == 3
        assert "3 further images: the first of each row is used (a.parquet)." in source.notes
        assert [one.count for one in source.left_out if "further" in one.reason] == [3]

    def test_rows_without_a_label_are_counted(self, tmp_path: Path):
        table(tmp_path / "a.parquet", image=images(1, 2, 3, 4), label=[0, None, -1, 1])
        assert "2 of 4 images have no label." in opened(tmp_path / "a.parquet").notes

    @pytest.mark.parametrize("label", [[-3, -2, -1], ["", "", ""]])
    def test_values_that_are_no_labels_are_said(self, tmp_path: Path, label: list[object]):
        table(tmp_path / "a.parquet", image=images(1, 2, 3), label=label)
        source = opened(tmp_path / "a.parquet")
        assert source.labels is None
        assert any(note.startswith("The column label holds negative numbers or empty texts") for note in source.notes)

    def test_a_column_of_splits_is_said_to_be_unused(self, tmp_path: Path):
        splits = ["train", "train", "test"]
        table(tmp_path / "a.parquet", image=images(1, 2, 3), Split=splits)
        said = "The column Split is not used, and all rows are of train: splits are files, such as train.parquet"
        assert any(note.startswith(said) for note in opened(tmp_path / "a.parquet").notes)
        for name in ("train", "test"):
            table(tmp_path / "set" / f"{name}.parquet", image=images(1, 2, 3), split=[name] * 3)
        assert not any("The column split" in note for note in opened(tmp_path / "set").notes)


class TestShards:
    @pytest.mark.parametrize(
        ("other", "expected"),
        [
            (pa.array([None, None], pa.null()), [0, 1, -1, -1]),
            (pa.array([2, 1], pa.int32()), [0, 1, 2, 1]),
            (pa.array([2, 1], pa.uint8()), [0, 1, 2, 1]),
            (pa.array([2.0, 1.0]), [0, 1, 2, 1]),
            (pa.array([2, 1]).dictionary_encode(), [0, 1, 2, 1]),
            (None, [0, 1, -1, -1]),
        ],
    )
    @pytest.mark.parametrize("turned", [False, True])
    def test_labels_of_other_types_are_joined(self, tmp_path: Path, other: pa.Array, expected: list[int], turned: bool):
        first, second = ("1", "0") if turned else ("0", "1")
        table(tmp_path / f"train-{first}.parquet", image=images(1, 2), label=pa.array([0, 1]))
        more = {} if other is None else {"label": other}
        table(tmp_path / f"train-{second}.parquet", image=images(3, 4), **more)
        assert labels(opened(tmp_path)) == ([*expected[2:], *expected[:2]] if turned else expected)

    def test_paths_that_are_null_in_one_shard_are_joined(self, tmp_path: Path):
        null = pa.array(
            [{"bytes": encoded(3), "path": None}] * 2, pa.struct([("bytes", pa.binary()), ("path", pa.null())])
        )
        table(tmp_path / "train-0.parquet", image=images(1, 2))
        table(tmp_path / "train-1.parquet", image=null)
        assert numbers(opened(tmp_path)) == [1, 2, 3, 3]

    def test_shards_may_name_and_keep_their_images_differently(self, tmp_path: Path):
        table(tmp_path / "train-0.parquet", image=images(1, 2))
        table(tmp_path / "train-1.parquet", img=[encoded(3)])
        assert numbers(opened(tmp_path)) == [1, 2, 3]

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer .*git lfs pull"),
            (b"", "it is empty"),
            (b"PAR1" + bytes(100), "cannot be read as Parquet"),
        ],
    )
    def test_a_bad_shard_is_named(self, tmp_path: Path, content: bytes, said: str):
        table(tmp_path / "train-0.parquet", image=images(1, 2))
        (tmp_path / "train-1.parquet").write_bytes(content)
        with pytest.raises(UserError, match=rf"train-1\.parquet.*{said}"):
            opened(tmp_path)
        (tmp_path / "train-0.parquet").unlink()
        with pytest.raises(UserError, match=rf"train-1\.parquet.*{said}"):
            opened(tmp_path)

    @pytest.mark.parametrize("limit", [0, 2**30])
    def test_a_damaged_row_group_loses_its_rows_alone(self, tmp_path: Path, limit: int):
        path = tmp_path / "a.parquet"
        noise = np.random.default_rng(0).bytes(20_000)
        pq.write_table(pa.table({"image": [encoded(1), noise, encoded(3), encoded(4)]}), path, row_group_size=2)
        content = bytearray(path.read_bytes())
        at = content.index(noise[:50])
        content[4 : at + 200] = bytes(at + 196)
        path.write_bytes(content)
        source = Dataset(path).source(memory_limit=limit, progress=False)
        assert numbers(source) == [3, 4]
        assert [one.key for one in source.skipped] == ["a.parquet#0", "a.parquet#1"]


class TestColumns:
    @pytest.mark.parametrize("name", ["img", "jpg", "png", "picture", "Image", "pixel_values", "whatever"])
    def test_the_only_column_of_images_is_taken(self, tmp_path: Path, name: str):
        columns = {"digest": [b"abc"] * 3, name: images(1, 2, 3), "label": [0, 1, 0]}
        source = opened(table(tmp_path / "a.parquet", **columns))
        assert (numbers(source), labels(source)) == ([1, 2, 3], [0, 1, 0])
        assert any(f"Images come from the column {name}." == note for note in source.notes) == (name != "image")

    def test_of_several_the_declared_or_the_one_asked_for_is_taken(self, tmp_path: Path):
        path = table(tmp_path / "a.parquet", left=images(1, 2), right=images(3, 4))
        assert "several columns of images, left and right: name one by --image-column left" in message(
            lambda: opened(path)
        )
        assert numbers(opened(path, image_column="right")) == [3, 4]
        assert "no column 'up': name one of its columns, left, right" in message(
            lambda: opened(path, image_column="up")
        )
        declared = table(tmp_path / "b.parquet", {"right": {"_type": "Image"}}, left=images(1, 2), right=images(3, 4))
        assert numbers(opened(declared)) == [3, 4]

    @pytest.mark.parametrize(
        "name", ["label", "labels", "fine_label", "coarse_label", "cls", "class", "category", "Label"]
    )
    def test_usual_names_of_labels_are_known_and_said(self, tmp_path: Path, name: str):
        source = opened(table(tmp_path / "a.parquet", image=images(1, 2), **{name: [1, 0]}))
        assert labels(source) == [1, 0]
        assert f"Labels come from the column {name}: 2 classes (0, 1)." in source.notes

    def test_fine_labels_go_before_coarse_ones_and_a_setting_before_both(self, tmp_path: Path):
        names = {
            "coarse_label": {"names": ["fish", "tree"], "_type": "ClassLabel"},
            "fine_label": {"names": ["carp", "elm", "oak"], "_type": "ClassLabel"},
        }
        path = table(tmp_path / "a.parquet", names, img=images(1, 2), coarse_label=[0, 1], fine_label=[0, 2])
        source = opened(path)
        assert (labels(source), source.classes) == ([0, 2], ("carp", "elm", "oak"))
        assert any("coarse_label may hold labels too" in note for note in source.notes)
        coarse = opened(path, label_column="coarse_label")
        assert (labels(coarse), coarse.classes) == ([0, 1], ("fish", "tree"))

    def test_a_declared_class_label_is_taken_under_any_name(self, tmp_path: Path):
        path = table(
            tmp_path / "a.parquet",
            {"species": {"names": {"0": "ape", "1": "bee"}, "_type": "ClassLabel"}},
            image=images(1, 2),
            species=[1, 0],
        )
        assert opened(path).classes == ("ape", "bee")

    def test_columns_that_may_hold_labels_are_named_where_none_is_read(self, tmp_path: Path):
        path = table(tmp_path / "a.parquet", image=images(1, 2), species=["ape", "bee"], area=[1.5, 2.5])
        source = opened(path)
        assert source.labels is None
        assert any("species, area are not used: --label-column species" in note for note in source.notes)
        assert opened(path, label_column="species").classes == ("ape", "bee")
        assert "no column 'spec'" in message(lambda: opened(path, label_column="spec"))
        assert "area of" in message(lambda: opened(path, label_column="area"))

    def test_labels_can_be_left_out(self, tmp_path: Path):
        source = opened(table(tmp_path / "a.parquet", image=images(1, 2), label=[0, 1]), labels=False)
        assert (source.labels, source.classes) == (None, ())
        assert not any("abel" in note for note in source.notes)


class TestLabelsOfSplits:
    def test_numbers_here_and_names_there_are_refused(self, tmp_path: Path):
        table(tmp_path / "train.parquet", image=images(1, 2), label=[0, 1])
        table(tmp_path / "test.parquet", image=images(1, 2), label=["cat", "dog"])
        for split in ("train", "test"):
            said = message(lambda split=split: opened(tmp_path, split))
            assert "whole numbers in train.parquet" in said
            assert "texts in test.parquet" in said
            assert "data.labels=false" in said
        assert opened(tmp_path, labels=False).labels is None

    def test_splits_that_number_their_classes_differently_are_joined_by_name(self, tmp_path: Path):
        for split, names in {"train": ["cat", "dog"], "test": ["dog", "cat"]}.items():
            table(
                tmp_path / f"{split}.parquet",
                {"label": {"names": names, "_type": "ClassLabel"}},
                image=images(1, 2),
                label=[0, 1],
            )
        train, test = opened(tmp_path), opened(tmp_path, "test")
        assert train.classes == test.classes == ("cat", "dog")
        assert (labels(train), labels(test)) == ([0, 1], [1, 0])


class TestPlaces:
    @pytest.mark.parametrize(
        ("train", "test"),
        [
            ("default/train/0000.parquet", "default/test/0000.parquet"),
            ("train/0000.parquet", "test/0000.parquet"),
            ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet"),
            ("data/train-00000-of-00001-abc.parquet", "data/test-00000-of-00001-def.parquet"),
            ("data/train/0.parquet", "data/test/0.parquet"),
            ("mnist/mnist/train-0.parquet", "mnist/mnist/test-0.parquet"),
            ("TRAIN.PARQUET", "TEST.PARQUET"),
            ("train.pq", "test.pq"),
        ],
    )
    def test_files_of_a_hub_are_found(self, tmp_path: Path, train: str, test: str):
        table(tmp_path / "set" / train, image=images(1, 2), label=[0, 1])
        table(tmp_path / "set" / test, image=images(3, 4), label=[0, 1])
        (tmp_path / "set" / "README.md").write_text("")
        assert numbers(opened(tmp_path / "set")) == [1, 2]
        assert numbers(opened(tmp_path / "set", "test")) == [3, 4]
        assert list(opened(tmp_path / "set").keys) == [f"{train}#0", f"{train}#1"]

    def test_several_sets_are_refused_and_numbered_parts_joined(self, tmp_path: Path):
        for name in ("cropped", "full"):
            table(tmp_path / "sets" / name / "train.parquet", image=images(1, 2))
        assert "several sets of Parquet files (cropped, full)" in message(lambda: opened(tmp_path / "sets"))
        for name in ("part-0", "part-1"):
            table(tmp_path / "parts" / name / "a.parquet", image=images(1, 2))
        assert numbers(opened(tmp_path / "parts")) == [1, 2, 1, 2]

    @pytest.mark.parametrize("name", ["latest", "contest", "medieval", "restrained", "evaluated", "testament"])
    def test_splits_are_whole_words(self, tmp_path: Path, name: str):
        table(tmp_path / f"{name}.parquet", image=images(1, 2))
        assert Dataset(tmp_path).splits == ("train",)

    @pytest.mark.parametrize("name", ["dev", "eval", "validation-00000-of-00001", "my_valid", "valSet", "val2017"])
    def test_words_for_val(self, tmp_path: Path, name: str):
        table(tmp_path / "train.parquet", image=images(1, 2))
        table(tmp_path / f"{name}.parquet", image=images(3, 4))
        assert numbers(opened(tmp_path, "val")) == [3, 4]
        (note,) = [note for note in opened(tmp_path, "val").notes if note.startswith("Split val of ")]
        assert "by the names of the Parquet files" in note

    def test_a_file_of_no_split_beside_splits_is_said_to_be_of_train(self, tmp_path: Path):
        table(tmp_path / "test.parquet", image=images(1, 2))
        table(tmp_path / "extra.parquet", image=images(3, 4))
        assert any("taken for train (extra.parquet)" in note for note in opened(tmp_path).notes)


class TestBesideImages:
    @pytest.fixture
    def web(self, tmp_path: Path) -> Path:
        (tmp_path / "web" / "00000").mkdir(parents=True)
        for i in range(4):
            (tmp_path / "web" / "00000" / f"{i}.png").write_bytes(encoded(i))
        return tmp_path / "web"

    def test_parquet_without_images_does_not_hide_image_files(self, web: Path):
        table(web / "00000.parquet", url=["u"] * 4, key=["k"] * 4)
        source = opened(web)
        assert numbers(source) == [0, 1, 2, 3]
        assert any(
            "1 .parquet file: not read, because image files lie beside them (00000.parquet)" in n for n in source.notes
        )

    def test_damaged_parquet_does_not_hide_image_files(self, web: Path):
        (web / "00000.parquet").write_bytes(b"")
        assert numbers(opened(web)) == [0, 1, 2, 3]

    def test_parquet_with_images_is_taken_and_said(self, web: Path):
        table(web / "00000" / "a.parquet", image=images(7, 8))
        source = opened(web / "00000")
        assert numbers(source) == [7, 8]
        assert any("4 image files: not used, because Parquet files beside it hold images" in n for n in source.notes)

    def test_parquet_without_images_beside_shards_is_left_out(self, tmp_path: Path):
        table(tmp_path / "embeddings.parquet", key=["k"])
        table(tmp_path / "train.parquet", image=images(1, 2))
        source = opened(tmp_path)
        assert numbers(source) == [1, 2]
        assert "1 Parquet file: without a column of images (embeddings.parquet)." in source.notes

    def test_a_folder_of_nothing_but_metadata_says_so(self, tmp_path: Path):
        table(tmp_path / "meta.parquet", url=["u"], key=["k"])
        said = message(lambda: opened(tmp_path))
        assert "meta.parquet has no column 'image' of encoded images, one a row; its columns are url, key" in said
        assert "data.image_column" in said


def test_a_file_whose_texts_are_all_empty_has_no_labels_beside_one_with_numbers(tmp_path):
    table(tmp_path / "train-0.parquet", image=images(0, 1), label=pa.array([1, 0]))
    table(tmp_path / "train-1.parquet", image=images(2, 3), label=pa.array(["", None], pa.string()))
    assert labels(opened(tmp_path)) == [1, 0, -1, -1]


def test_negative_numbers_are_no_labels_beside_numbers_that_need_64_bits(tmp_path):
    table(tmp_path / "train-0.parquet", image=images(0, 1), label=pa.array([-1, 7], pa.int32()))
    table(tmp_path / "train-1.parquet", image=images(2, 3), label=pa.array([2**63, None], pa.uint64()))
    assert labels(opened(tmp_path)) == [-1, 0, 1, -1]
