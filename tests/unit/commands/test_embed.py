from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from commandline import images_in, viewkin
from viewkin.collection.embeddings import read_embeddings, write_embeddings
from viewkin.commands.embed import EmbedRequest, chosen_keys, embed
from viewkin.data.dataset import Dataset
from viewkin.runtime.errors import UserError


@pytest.fixture
def parts(workplace):
    """Three splits, six images each, of two classes."""
    for split in ("train", "test", "val"):
        images_in(Path("set") / split, 6, classes=("cat", "dog"))
    return workplace


def test_every_split_is_embedded_with_its_name_and_class(parts, trained):
    done = viewkin("embed", trained, "set", "--out", "e.parquet")
    assert done.code == 0, done.err
    assert "18 embeddings" in done.out
    table = pq.read_table("e.parquet")
    assert table.column_names == ["id", "path", "split", "label", "class_name", "embedding"]
    rows = table.to_pylist()
    assert [row["path"].split("/")[0] for row in rows] == [row["split"] for row in rows]
    assert [row["path"].split("/")[1] for row in rows] == [row["class_name"] for row in rows]
    assert {(row["class_name"], row["label"]) for row in rows} == {("cat", 0), ("dog", 1)}
    assert [row["id"] for row in rows] == list(range(18))


def test_rows_of_one_split_are_those_that_it_has_among_all(parts, trained):
    every = embed(EmbedRequest(model=str(trained), data="set", device="cpu"))
    test = embed(EmbedRequest(model=str(trained), data="set", split="test", device="cpu"))
    chosen = torch.tensor([split == "test" for split in every.splits])
    assert torch.equal(every.embeddings[chosen], test.embeddings)


def test_what_a_split_leaves_out_is_counted(parts, trained):
    done = viewkin("embed", trained, "set", "--split", "train", "--out", "e.parquet")
    assert "6 images of the test split and 6 images of the val split are not embedded." in done.out
    assert "6 embeddings" in done.out


def test_no_image_is_embedded_twice_where_test_is_another_name_of_val(workplace):
    for split in ("train", "val"):
        images_in(Path("set") / split, 4)
    dataset = Dataset("set")
    assert "test" in dataset.splits
    keys, notes = chosen_keys(dataset, None)
    assert [(split, len(one)) for split, one in keys.items()] == [("train", 4), ("val", 4)]
    assert notes == []
    assert chosen_keys(dataset, "test")[1] == ["4 images of the train split are not embedded."]


def test_a_split_without_images_is_named(parts, trained):
    for file in Path("set/test").rglob("*.jpg"):
        file.unlink()
    got = embed(EmbedRequest(model=str(trained), data="set", device="cpu"))
    assert len(got) == 12
    assert any("The test split is not embedded" in note for note in got.notes)


def test_files_without_split_and_class_name_stay_readable(tmp_path):
    write_embeddings(tmp_path / "e.parquet", torch.eye(3), ["a", "b", "c"], torch.tensor([0, 1, -1]), ["x", "y"])
    table = pq.read_table(tmp_path / "e.parquet").drop_columns(["class_name"])
    pq.write_table(table, tmp_path / "old.parquet")
    old = read_embeddings(tmp_path / "old.parquet")
    assert (old.splits, old.class_names) == ((), ["x", "y", None])


@pytest.mark.parametrize("name", ["e.parquet", "e.csv", "e.npy"])
def test_a_file_of_other_images_is_not_replaced_unless_asked(parts, trained, name):
    images_in(Path("other"), 5)
    assert viewkin("embed", trained, "set", "--out", name).code == 0
    before = Path(name).read_bytes()
    refused = viewkin("embed", trained, "other", "--out", name)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert Path(name).read_bytes() == before
    done = viewkin("embed", trained, "other", "--out", name, "--overwrite")
    assert done.code == 0, done.err
    assert Path(name).read_bytes() != before


def test_the_same_images_and_model_may_be_embedded_again(parts, trained, monkeypatch):
    assert viewkin("embed", trained, "set", "--out", "e.parquet").code == 0
    target = Path("e.parquet").absolute()
    monkeypatch.chdir("set")
    assert viewkin("embed", trained, ".", "--split", "test", "--out", target).code == 0
    assert len(read_embeddings(target)) == 6


def test_embeddings_by_another_model_are_not_replaced_unless_asked(parts, trained):
    assert viewkin("embed", trained, "set", "--out", "e.parquet").code == 0
    for other in ((trained, "--features", "embedding"), (trained / "backbone.safetensors",)):
        refused = viewkin("embed", *other, "set", "--out", "e.parquet")
        assert refused.code == 2
        assert "another model" in refused.err


def test_a_table_of_something_else_is_never_replaced(parts, trained):
    Path("mine.csv").write_text("name,price\na,1\n")
    np.save("mine.npy", np.zeros(3))
    for name in ("mine.csv", "mine.npy"):
        refused = viewkin("embed", trained, "set", "--out", name, "--overwrite")
        assert refused.code == 2
        assert "holds something else" in refused.err
    assert Path("mine.csv").read_text() == "name,price\na,1\n"


def test_other_images_in_memory_are_other_images(trained, workplace):
    first, second = (np.full((3, 24, 24, 3), value, np.uint8) for value in (40, 90))
    out = Path("e.parquet")
    embed(EmbedRequest(model=str(trained), data=first, out=out, device="cpu"))
    embed(EmbedRequest(model=str(trained), data=first, out=out, device="cpu"))
    with pytest.raises(UserError, match="other images"):
        embed(EmbedRequest(model=str(trained), data=second, out=out, device="cpu"))
