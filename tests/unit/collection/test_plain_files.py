import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from viewkin.collection.embeddings import Embeddings
from viewkin.runtime.errors import UserError

ROWS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
TABLE = Embeddings(
    embeddings=ROWS,
    keys=("a.jpg", 'b,"x".jpg', "ü\n.jpg", "d.jpg", "e.jpg"),
    index=torch.arange(5),
    splits=("train", "train", "train", "test", "test"),
    labels=torch.tensor([0, 1, -1, 1, 0]),
    classes=("cat", "dog"),
)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_holds_every_column_and_the_same_numbers(tmp_path):
    TABLE.save(tmp_path / "e.csv")
    rows = rows_of(tmp_path / "e.csv")
    assert list(rows[0]) == ["key", "split", "label", "class_name", "e0", "e1", "e2"]
    assert [row["key"] for row in rows] == list(TABLE.keys)
    assert [row["split"] for row in rows] == list(TABLE.splits)
    assert [row["label"] for row in rows] == ["0", "1", "", "1", "0"]
    assert [row["class_name"] for row in rows] == ["cat", "dog", "", "dog", "cat"]
    numbers = np.array([[np.float32(row[f"e{i}"]) for i in range(3)] for row in rows])
    np.testing.assert_array_equal(numbers, ROWS.numpy())


def test_npy_is_the_matrix_and_a_csv_beside_it_has_the_rest(tmp_path):
    TABLE.save(tmp_path / "e.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), ROWS.numpy())
    rows = rows_of(tmp_path / "e.csv")
    assert list(rows[0]) == ["key", "split", "label", "class_name"]
    assert [row["class_name"] for row in rows] == ["cat", "dog", "", "dog", "cat"]


@pytest.mark.parametrize("name", ["e.csv", "e.npy", "e.parquet"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, name, monkeypatch):
    TABLE.save(tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    class FullDisk:
        """Writes a little, then no more."""

        def __init__(self, part, _schema, **_more):
            Path(part).write_bytes(b"begun")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        write_table = full

    monkeypatch.setattr("viewkin.collection.plain_files.pa_csv.CSVWriter", FullDisk)
    monkeypatch.setattr("viewkin.collection.plain_files.pa_csv.write_csv", full)
    monkeypatch.setattr("viewkin.collection.embeddings.pq.ParquetWriter", FullDisk)
    with pytest.raises(UserError, match="No space left"):
        replace(TABLE, embeddings=-ROWS).save(tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
