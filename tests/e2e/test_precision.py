"""The form that a network runs in when it embeds: chosen, kept, refused."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import viewkin
from commandline import TINY, images_in
from commandline import viewkin as command
from viewkin.collection.embeddings import read_embeddings
from viewkin.collection.manifest import newest_sound
from viewkin.encode import precision


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("precision")
    images_in(place / "photos", 40, size=(24, 24))
    assert command("train", place / "photos", *TINY, "--out", place / "run").code == 0
    return place


def rows_of(file: str) -> np.ndarray:
    return read_embeddings(Path(file)).embeddings.numpy()


@pytest.mark.parametrize("asked", ["bfloat16", "int8"])
def test_a_file_is_written_in_the_form_that_is_asked_for(trained, workplace, asked):
    if asked == "int8":
        pytest.importorskip("onnxruntime")
    for name in ("float32", asked):
        ended = command("embed", trained / "run", trained / "photos", "--precision", name, "--out", f"{name}.parquet")
        assert (ended.code, ended.err) == (0, "")
        assert (f"runs in {asked}" in ended.out) == (name == asked)
        assert b'"precision": "%s"' % name.encode() in pq.read_schema(f"{name}.parquet").metadata[b"viewkin"]
    exact, other = rows_of("float32.parquet"), rows_of(f"{asked}.parquet")
    assert not np.array_equal(exact, other)
    assert (exact * other).sum(1).min() > 0.98


def test_a_collection_keeps_to_the_form_of_its_first_images(trained, workplace):
    run = trained / "run"
    assert command("embed", run, trained / "photos", "--precision", "bfloat16", "--to", "c.collection").code == 0
    kept, _ = newest_sound(Path("c.collection"))
    assert kept.precision == "bfloat16"
    exact = viewkin.embed(run, trained / "photos").embeddings.numpy()
    rows = viewkin.open_collection("c.collection").embeddings.numpy()
    assert 0.98 < (exact * rows).sum(1).min() < 1
    assert not np.array_equal(exact, rows)
    refused = command("embed", run, trained / "photos", "--precision", "float32", "--to", "c.collection")
    assert refused.code == 2
    assert "holds vectors of a network in bfloat16" in " ".join(refused.err.split())
    assert command("embed", run, trained / "photos", "--to", "c.collection").code == 0


def test_few_images_are_not_worth_a_trial(trained, workplace, monkeypatch):
    monkeypatch.setattr(precision, "compared", lambda *_: pytest.fail("a trial"))
    assert command("embed", trained / "run", trained / "photos", "--out", "rows.parquet").code == 0
    monkeypatch.setattr(precision, "WORTHWHILE", 40)
    with pytest.raises(pytest.fail.Exception):
        command("embed", trained / "run", trained / "photos", "--out", "more.parquet")


@pytest.mark.parametrize("target", [("--out", "x.parquet"), ("--to", "x.collection")])
def test_another_precision_is_refused(trained, workplace, target):
    ended = command("embed", trained / "run", trained / "photos", "--precision", "half", *target)
    assert ended.code == 2
    assert "--precision is 'half'; it must be one of auto, float32, bfloat16, int8" in " ".join(ended.err.split())
    assert not list(Path().iterdir())
