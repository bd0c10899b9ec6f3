"""Claims about the index of cells: its recall, its cache, and the rows that count."""

import json

import numpy as np
import pytest

from viewkin.collection.indexes import ivf
from viewkin.collection.indexes.exact import ExactIndex
from viewkin.collection.indexes.kept import keep, read_kept
from viewkin.collection.places import INDEXES

pytest.importorskip("faiss")


def grouped(count: int, seed: int = 0, width: int = 16) -> np.ndarray:
    """Unit rows around centres, so that neighbours mean something."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(40, width))
    rows = centres[draw.integers(0, 40, count)] + 0.4 * draw.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def rows():
    return grouped(6000)


@pytest.fixture
def opened(tmp_path, rows):
    return ivf.open_ivf(tmp_path, "state1", rows)[0]


def recall(index, rows, queries, among=None) -> float:
    wanted = ExactIndex(rows).nearest(queries, 10, among)[0][:, -1:]
    return float((index.nearest(queries, 10, among)[0] >= wanted - 1e-6).mean())


def test_recall_is_as_wanted_on_queries_that_it_never_saw(opened, rows):
    assert opened.facts["recall@10"] >= 0.985
    assert recall(opened, rows, grouped(400, seed=5)) >= 0.98
    assert opened.facts["looked_at"] < opened.facts["cells"]


def test_the_measured_recall_is_that_of_rows_held_out(rows, monkeypatch):
    """The oracle builds the same index without the held-out rows, and counts."""
    index, facts = ivf.built(rows)
    monkeypatch.setattr(ivf, "WANTED", 0.5)
    _, poor = ivf.built(rows)
    assert poor["looked_at"] < facts["looked_at"]
    assert 0.5 <= poor["recall@10"] < facts["recall@10"]
    assert index.ntotal == len(rows)


def test_every_row_finds_itself_first(opened, rows):
    similarity, found = opened.nearest(rows[::7], 3, None)
    assert (found[:, 0] == np.arange(0, len(rows), 7)).all()
    assert similarity[:, 0] == pytest.approx(1, abs=1e-5)
    assert (np.diff(similarity, axis=1) <= 0).all()


def test_only_rows_that_count_are_found(opened, rows):
    among = np.zeros(len(rows), dtype=bool)
    among[::5] = True
    _, found = opened.nearest(rows[:300], 10, among)
    assert (found % 5 == 0).all()
    assert recall(opened, rows, rows[1:1000:3], among) >= 0.98


def test_it_is_built_once_and_again_when_the_rows_are_others(tmp_path, rows, monkeypatch):
    _, said = ivf.open_ivf(tmp_path, "state1", rows)
    assert len(said) == 1
    assert said[0].startswith("Index built in ")
    assert "recall@10 0.99" in said[0] or "recall@10 1.0" in said[0] or "recall@10 0.98" in said[0]
    with monkeypatch.context() as patch:
        patch.setattr(ivf, "built", None)  # calling it raises
        again, said = ivf.open_ivf(tmp_path, "state1", rows)
    assert said == []
    assert recall(again, rows, rows[:50]) >= 0.98
    ivf.open_ivf(tmp_path, "state2", rows[:3000])
    assert {path.name for path in (tmp_path / INDEXES).iterdir()} == {"ivf-state2.index", "ivf-state2.json"}


@pytest.mark.parametrize("ending", ["index", "json"])
@pytest.mark.parametrize("damage", ["removed", "flipped", "short"])
def test_what_is_damaged_is_built_again(tmp_path, rows, ending, damage):
    ivf.open_ivf(tmp_path, "s", rows)
    path = tmp_path / INDEXES / f"ivf-s.{ending}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.unlink()
    if damage != "removed":
        path.write_bytes(data if damage == "flipped" else data[: len(data) // 3])
    index, _ = ivf.open_ivf(tmp_path, "s", rows)
    assert recall(index, rows, rows[:50]) >= 0.98


def test_a_folder_that_cannot_take_it_goes_without(tmp_path, rows):
    (tmp_path / INDEXES).write_text("a file")
    index, said = ivf.open_ivf(tmp_path, "s", rows)
    assert said[-1] == f"{tmp_path} cannot be written, so it is not kept."
    assert recall(index, rows, rows[:50]) >= 0.98


def test_facts_of_other_rows_count_as_none(tmp_path):
    assert keep(tmp_path, "ivf", "s", lambda path: path.write_bytes(b"index"), {"cells": 4})
    assert read_kept(tmp_path, "ivf", "s")[1]["cells"] == 4
    assert read_kept(tmp_path, "ivf", "other") is None
    about = tmp_path / INDEXES / "ivf-s.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"state": "other"}))
    assert read_kept(tmp_path, "ivf", "s") is None


def test_rows_held_out_stand_for_all_whatever_their_order():
    """A thousand equal rows at the front are found in one cell; the others are not."""
    easy = np.repeat(grouped(1, seed=8), 1000, axis=0)
    hard = grouped(6000, seed=9)
    rows = np.concatenate([easy, hard])
    index, facts = ivf.built(rows)
    assert recall(ivf.IvfIndex(index, facts), rows, hard[::10]) >= 0.97
