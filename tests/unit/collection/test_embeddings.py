import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F

from viewkin.collection import embeddings as store
from viewkin.collection.embeddings import read_embeddings, write_embeddings
from viewkin.runtime.errors import UserError

ROWS = F.normalize(torch.randn(11, 4, generator=torch.Generator().manual_seed(0)), dim=1)
IDS = [f"cats/{place:02}.jpg" for place in range(10)] + ["mañana/🐈.png"]


def test_embeddings_survive_a_round_trip(tmp_path):
    labels = torch.tensor([0, 1, -1, 2, 0, 1, 2, 0, -1, 1, 2])
    path = tmp_path / "deep" / "e.parquet"
    write_embeddings(path, ROWS, IDS, labels, ["cat", "dog", "fox"], {"model": "resnet18", "epoch": 3})
    found = read_embeddings(path)
    assert torch.equal(found.embeddings, ROWS)
    assert found.keys == tuple(IDS)
    assert torch.equal(found.labels, labels)
    assert found.index.tolist() == list(range(11))
    assert found.classes == ("cat", "dog", "fox")
    assert (found.metadata["model"], found.metadata["epoch"], found.metadata["normalised"]) == ("resnet18", 3, True)
    assert found.metadata["created"].endswith("+00:00")


def test_unlabelled_embeddings_have_no_label_column(tmp_path):
    path = tmp_path / "e.parquet"
    write_embeddings(path, 2 * ROWS, IDS, index=torch.arange(11) + 100)
    assert pq.read_schema(path).names == ["id", "path", "embedding"]
    found = read_embeddings(path)
    assert found.labels is None
    assert found.index.tolist() == list(range(100, 111))
    assert found.metadata["normalised"] is False


def test_any_table_library_reads_the_columns(tmp_path):
    path = tmp_path / "e.parquet"
    write_embeddings(path, ROWS, IDS, torch.tensor([-1] + [1] * 10))
    table = pq.read_table(path)
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 4)
    assert table["label"].to_pylist() == [None] + [1] * 10
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), np.float32), ROWS.numpy())
    assert json.loads(table.schema.metadata[b"viewkin"])["format"] == 1


def test_row_groups_bound_what_a_reader_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "ROWS", 4)
    path = tmp_path / "e.parquet"
    write_embeddings(path, ROWS, IDS, torch.arange(11))
    assert pq.ParquetFile(path).metadata.num_row_groups == 3
    found = read_embeddings(path)
    assert torch.equal(found.embeddings, ROWS)
    assert found.keys == tuple(IDS)
    assert found.labels.tolist() == list(range(11))


def test_half_precision_views_and_gradients_are_stored_as_float32(tmp_path):
    path = tmp_path / "e.parquet"
    half = ROWS.half().requires_grad_()
    write_embeddings(path, half.T.contiguous().T, IDS)
    assert torch.equal(read_embeddings(path).embeddings, half.detach().float())


def test_no_rows_are_a_legal_file(tmp_path):
    path = tmp_path / "e.parquet"
    write_embeddings(path, torch.zeros(0, 4), [])
    assert read_embeddings(path).embeddings.shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"embeddings": ROWS[0]}, "floats"),
        ({"embeddings": ROWS.long()}, "floats"),
        ({"embeddings": ROWS / 0}, "NaN or infinity"),
        ({"keys": IDS[:3]}, "3 keys"),
        ({"labels": torch.zeros(4, dtype=torch.int64)}, "4 labels"),
        ({"index": torch.arange(2)}, "2 positions"),
        ({"splits": ["train"]}, "1 splits"),
    ],
)
def test_a_file_that_would_lie_is_not_written(tmp_path, change, word):
    with pytest.raises(UserError, match=word):
        write_embeddings(tmp_path / "e.parquet", **({"embeddings": ROWS, "keys": IDS} | change))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_embeddings(tmp_path, monkeypatch):
    path = tmp_path / "e.parquet"
    write_embeddings(path, ROWS, IDS)

    def full(self, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(UserError, match="No space left"):
        write_embeddings(path, -ROWS, IDS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.parquet"]
    assert torch.equal(read_embeddings(path).embeddings, ROWS)


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def stopped(self, table):
        raise KeyboardInterrupt

    monkeypatch.setattr(pq.ParquetWriter, "write_table", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(tmp_path / "e.parquet", ROWS, IDS)
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        read_embeddings(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("not a table")
    with pytest.raises(UserError, match="Parquet"):
        read_embeddings(tmp_path / "text.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + b"\0" * 30)
    with pytest.raises(UserError, match="Parquet"):
        read_embeddings(tmp_path / "cut.parquet")


@pytest.mark.parametrize(
    "columns",
    [
        {"image": ["a"], "label": [1]},
        {"id": [1], "path": ["a"], "embedding": [[1.0, 2.0]]},
        {"id": ["a"], "path": ["a"], "embedding": pa.array([[1.0]], pa.list_(pa.float32(), 1))},
        {"id": [1], "path": ["a"], "embedding": pa.array([[1.0]], pa.list_(pa.float64(), 1))},
        {"id": [1], "path": ["a"], "embedding": pa.array([[1.0]], pa.list_(pa.float32(), 1)), "label": ["cat"]},
    ],
)
def test_another_schema_is_refused_and_named(tmp_path, columns):
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(UserError, match=f"but has {next(iter(columns))}"):
        read_embeddings(path)


def test_a_row_without_embedding_is_refused(tmp_path):
    path = tmp_path / "hole.parquet"
    column = pa.array([[1.0], None], pa.list_(pa.float32(), 1))
    pq.write_table(pa.table({"id": [1, 2], "path": ["a", "b"], "embedding": column}), path)
    with pytest.raises(UserError, match="rows without"):
        read_embeddings(path)


def test_no_flipped_bit_changes_an_embedding_without_a_word(tmp_path):
    path, random = tmp_path / "e.parquet", np.random.default_rng(0)
    rows = F.normalize(torch.randn(50, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    write_embeddings(path, rows, [f"{number}.jpg" for number in range(50)])
    sound, refused = path.read_bytes(), 0
    pages = sound.index(b"ARROW:schema")  # what follows are the names and places of columns
    for place in random.integers(4, pages, 60):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            assert torch.equal(read_embeddings(path).embeddings, rows)
        except UserError:
            refused += 1
    assert refused > 50
