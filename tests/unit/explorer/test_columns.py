"""Claims about the columns that points are coloured by."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collected import gathered, pictures
from viewkin.collection.reader import Reader
from viewkin.explorer.columns import OTHERS, SHOWN_NAMES, coloured, columns_of, read_columns
from viewkin.runtime.errors import UserError


@pytest.fixture
def reader(tmp_path):
    gathered(tmp_path / "c", pictures(tmp_path / "photos", range(6), ("cat", "dog")))
    return Reader(tmp_path / "c")


def test_a_collection_has_the_columns_that_tell_its_images_apart(reader):
    columns = columns_of(reader)
    assert columns["label"] == columns["folder"] == [key.split("/")[0] for key in reader.rows.keys]
    assert "split" not in columns
    assert "width" not in columns


def test_names_are_sorted_by_their_number_and_missing_ones_are_minus_one():
    found = coloured(["a", "b", None, "b"])
    assert found == {"kind": "names", "names": ["b", "a"], "counts": [2, 1], "values": [1, 0, -1, 0]}


def test_many_names_are_joined():
    found = coloured([str(i) for i in range(2000)] + ["0"])
    assert len(found["names"]) == len(found["counts"]) == SHOWN_NAMES
    assert found["names"][-1] == OTHERS
    assert sum(found["counts"]) == 2001
    assert max(found["values"]) == SHOWN_NAMES - 1


def test_numbers_are_scaled_and_what_is_none_is_left_out():
    found = coloured([0.5, None, 2.5, math.nan, math.inf])
    assert found == {"kind": "numbers", "low": 0.5, "high": 2.5, "values": [0.0, -1.0, 1.0, -1.0, -1.0]}
    assert coloured([1, 2, 2])["kind"] == "names"
    assert coloured(list(range(40)))["kind"] == "numbers"
    assert coloured([True, False])["names"] == ["True", "False"]
    assert coloured([0.25] * 3)["values"] == [0.0] * 3


def test_a_file_of_columns_is_joined_by_key(reader, tmp_path):
    keys = reader.rows.keys
    table = pa.table({"key": [keys[2], keys[0], "gone.jpg"], "cluster": [7, 8, 9], "embedding": [[1.0]] * 3})
    pq.write_table(table, tmp_path / "x.parquet")
    assert read_columns(tmp_path / "x.parquet", reader) == {"cluster": [8, None, 7, None, None, None]}


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "key,b\nother.jpg,2\n"])
def test_a_file_that_does_not_fit_is_refused(reader, tmp_path, text):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError):
        read_columns(tmp_path / "x.csv", reader)
