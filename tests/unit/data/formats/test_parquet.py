"""Parquet with one image a row, in the two common layouts, resident and streaming."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from viewkin.data.dataset import open_source, survey
from viewkin.data.source import Source
from viewkin.runtime.errors import UserError

EVERYTHING = 10**9


def encoded(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number, number, number)).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, columns: dict[str, object], metadata: dict[str, str] | None = None, group: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=group)
    return path


def opened(path: Path, **options: object) -> Source:
    return open_source(str(path), cache_dir=path.parent / "cache", progress=False, **options)


def numbers(source: Source) -> list[int]:
    return source.images(torch.arange(len(source)))[:, 0, 0, 0].tolist()


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Write bytes, labels, names and class names, eight rows in three row groups."""
    columns = {
        "image": [encoded(10 * i) for i in range(8)],
        "label": pa.array([0, 1, 2, 0, 1, 2, 0, 1], pa.int8()),
        "name": [f"n{i}.jpg" for i in range(8)],
    }
    return write(tmp_path / "set" / "small-train.parquet", columns, {"class_names": json.dumps(["x", "y", "z"])})


@pytest.mark.parametrize("limit", [0, EVERYTHING])
def test_rows_are_images_with_labels_names_and_classes(plain: Path, limit: int):
    source = opened(plain, memory_limit=limit)
    assert source.resident == bool(limit)
    assert numbers(source) == [0, 10, 20, 30, 40, 50, 60, 70]
    assert list(source.names) == [f"n{i}.jpg" for i in range(8)]
    assert list(source.keys) == [f"small-train.parquet#{i}" for i in range(8)]
    assert source.classes == ("x", "y", "z")
    assert source.labels is not None
    assert source.labels.dtype == torch.int64
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert source.size == 8


def test_streaming_reads_in_any_order(plain: Path):
    source = opened(plain, memory_limit=0)
    assert source.images(torch.tensor([7, 0, 4, 4]))[:, 1, 3, 3].tolist() == [70, 0, 40, 40]


def test_reading_in_order_reads_each_row_group_once(plain: Path, monkeypatch: pytest.MonkeyPatch):
    groups: list[int] = []
    real = pq.ParquetFile.read_row_group

    def counting(self: pq.ParquetFile, group: int, **options: object) -> pa.Table:
        groups.append(group)
        return real(self, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counting)
    opened(plain, size=8, workers=1)
    assert groups == [0, 1, 2]


def test_the_unpacked_file_is_written_once(plain: Path):
    opened(plain, memory_limit=0)
    (packed,) = (plain.parent / "cache").glob("*.arrow")
    before = packed.stat().st_mtime_ns
    opened(plain, memory_limit=0)
    assert packed.stat().st_mtime_ns == before
    assert not list((plain.parent / "cache").glob("*.part"))


def test_streaming_without_a_writable_cache_says_so(plain: Path):
    (plain.parent / "file").write_text("")
    with pytest.raises(UserError, match="VIEWKIN_CACHE"):
        open_source(str(plain), cache_dir=plain.parent / "file" / "x", memory_limit=0)


def test_hugging_face_struct_and_features(tmp_path: Path):
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    images = [{"bytes": encoded(i), "path": f"p/{i}.png"} for i in range(3)]
    path = write(
        tmp_path / "data" / "train-00000-of-00001.parquet",
        {"image": images, "label": [1, 0, 1]},
        {"huggingface": json.dumps(features)},
    )
    for spec in (path, path.parent, tmp_path):
        source = opened(spec)
        assert source.classes == ("cat", "dog")
        assert list(source.names) == ["p/0.png", "p/1.png", "p/2.png"]
        start = "data/" if spec == tmp_path else ""
        assert list(source.keys) == [f"{start}train-00000-of-00001.parquet#{i}" for i in range(3)]
        assert numbers(source) == [0, 1, 2]


def test_shards_of_a_folder_are_joined_by_split(tmp_path: Path):
    for name, values in {"a-train-1": [1, 2], "a-train-2": [3], "a-validation": [4, 5]}.items():
        write(tmp_path / f"{name}.parquet", {"image": [encoded(i) for i in values]})
    train = opened(tmp_path)
    assert numbers(train) == [1, 2, 3]
    assert list(train.keys) == ["a-train-1.parquet#0", "a-train-1.parquet#1", "a-train-2.parquet#0"]
    assert train.labels is None
    assert numbers(opened(tmp_path, split="val")) == [4, 5]
    test = opened(tmp_path, split="test")
    assert numbers(test) == [4, 5]
    assert any("val file stands in" in note for note in test.notes)
    assert survey(str(tmp_path)).splits == ("train", "val", "test")


def test_repeated_names_give_way_to_keys(tmp_path: Path):
    path = write(tmp_path / "a.parquet", {"image": [encoded(1)] * 2, "name": ["same", "same"]})
    assert list(opened(path).names) == list(opened(path).keys) == ["a.parquet#0", "a.parquet#1"]


def test_missing_labels_are_minus_one_and_all_missing_is_none(tmp_path: Path):
    some = write(tmp_path / "some.parquet", {"image": [encoded(1)] * 3, "label": [2, None, -1]})
    labels = opened(some).labels
    assert labels is not None
    assert labels.tolist() == [2, -1, -1]
    assert opened(some).classes == ("0", "1", "2")
    none = write(tmp_path / "none.parquet", {"image": [encoded(1)] * 2, "label": [-1, -1]})
    assert opened(none).labels is None
    assert opened(write(tmp_path / "null.parquet", {"image": [encoded(1)] * 2, "label": [None, None]})).labels is None


@pytest.mark.parametrize("dictionary", [False, True])
def test_texts_are_numbered_over_all_splits(tmp_path: Path, dictionary: bool):
    for split, texts in {"train": ["dog", "cat", None, ""], "test": ["dog", "emu", "dog", "dog"]}.items():
        label = pa.array(texts, pa.string())
        label = label.dictionary_encode() if dictionary else label
        write(tmp_path / f"{split}.parquet", {"image": [encoded(1)] * 4, "label": label})
    for split, numbers in {"train": [1, 0, -1, -1], "test": [1, 2, 1, 1]}.items():
        source = opened(tmp_path, split=split)
        assert source.labels is not None
        assert source.labels.tolist() == numbers
        assert source.classes == ("cat", "dog", "emu")


def test_truth_values_are_two_classes(tmp_path: Path):
    source = opened(write(tmp_path / "a.parquet", {"image": [encoded(1)] * 3, "label": [True, False, None]}))
    assert source.labels is not None
    assert source.labels.tolist() == [1, 0, -1]
    assert source.classes == ("False", "True")


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
def test_numbers_that_count_no_classes_are_numbered_over_all_splits(tmp_path: Path, kind: pa.DataType):
    top = 2**63 + 5 if kind == pa.uint64() else 30_000_000
    write(tmp_path / "train.parquet", {"image": [encoded(1)] * 3, "label": pa.array([top, 7, None], kind)})
    write(tmp_path / "test.parquet", {"image": [encoded(1)] * 2, "label": [8, 7]})
    train, test = opened(tmp_path), opened(tmp_path, split="test")
    assert train.labels is not None
    assert train.labels.tolist() == [2, 0, -1]
    assert train.classes == ("7", "8", str(top))
    assert any(f"Labels go up to {top}, so the 3 that occur are numbered" in note for note in train.notes)
    assert test.labels is not None
    assert test.labels.tolist() == [1, 0]
    assert test.classes == train.classes
    assert survey(str(tmp_path)).classes == 3


@pytest.mark.parametrize("label", [[0.5, 1.5], [[1], [2]]])
def test_a_label_that_names_no_class_is_passed_over_and_said_so(tmp_path: Path, label: list[object]):
    source = opened(write(tmp_path / "a.parquet", {"image": [encoded(1)] * 2, "label": label}))
    assert source.labels is None
    assert any("Labels must be whole numbers or texts; the column label holds" in note for note in source.notes)


@pytest.mark.parametrize("limit", [0, EVERYTHING])
def test_null_and_broken_rows_are_left_out_and_named(tmp_path: Path, limit: int):
    rows = [encoded(1), None, b"text", encoded(4)]
    path = write(tmp_path / "a.parquet", {"image": pa.array(rows, pa.binary()), "label": [0, 1, 1, 2]}, group=2)
    source = opened(path, memory_limit=limit)
    assert numbers(source) == [1, 4]
    assert [one.key for one in source.skipped] == ["a.parquet#1", "a.parquet#2"]
    assert source.labels is not None
    assert source.labels.tolist() == [0, 2]


def test_survey_reads_headers_of_several_row_groups(tmp_path: Path):
    def square(side: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(np.zeros((side, side + 4, 3), np.uint8)).save(stream, "PNG")
        return stream.getvalue()

    path = write(tmp_path / "a.parquet", {"image": [square(20 + i) for i in range(9)]}, group=1)
    found = survey(str(path))
    assert (found.count, found.uniform, found.labelled) == (9, False, False)
    assert 22 <= found.shorter_side <= 26


class TestErrors:
    def test_no_image_column_names_what_there_is(self, tmp_path: Path):
        path = write(tmp_path / "a.parquet", {"sheet": [b"x"], "labels": [[1, 2]]})
        with pytest.raises(UserError, match=r"no column 'image'.* its columns are sheet, labels"):
            opened(path)

    def test_an_image_column_of_numbers_is_none(self, tmp_path: Path):
        with pytest.raises(UserError, match="no column 'image'"):
            opened(write(tmp_path / "a.parquet", {"image": [1, 2]}))

    def test_missing_split(self, plain: Path):
        with pytest.raises(UserError, match=r"no test split, only train: .*--holdout"):
            opened(plain, split="test")
        with pytest.raises(UserError, match=r"no test split, only train: .*--holdout"):
            opened(plain.parent, split="test")

    def test_not_parquet(self, tmp_path: Path):
        path = tmp_path / "a.parquet"
        path.write_bytes(b"PAR1 not really")
        with pytest.raises(UserError, match="cannot be read as Parquet"):
            opened(path)

    def test_no_rows(self, tmp_path: Path):
        with pytest.raises(UserError, match="holds no rows"):
            opened(write(tmp_path / "a.parquet", {"image": pa.array([], pa.binary())}))

    def test_single_row(self, tmp_path: Path):
        with pytest.raises(UserError, match="at least 2"):
            opened(write(tmp_path / "a.parquet", {"image": [encoded(1)]}))
