"""Claims about the pairs that a person has marked as no duplicates."""

from __future__ import annotations

import threading

import pytest

from viewkin.collection import marks
from viewkin.collection.marks import MARKS, add_marks, read_marks
from viewkin.runtime.errors import UserError


def test_marks_are_remembered_in_either_order_once(tmp_path):
    assert read_marks(tmp_path) == set()
    add_marks(tmp_path, [frozenset(["b", "a"]), frozenset(["c"])])
    add_marks(tmp_path, [frozenset(["a", "b"])])
    assert read_marks(tmp_path) == {frozenset(["a", "b"]), frozenset(["c"])}


def test_two_writers_lose_no_mark(tmp_path):
    def write(start: int) -> None:
        for number in range(start, start + 20):
            add_marks(tmp_path, [frozenset([str(number), "x"])])

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_marks(tmp_path)) == 40


def test_a_write_that_fails_leaves_the_old_marks(tmp_path, monkeypatch):
    add_marks(tmp_path, [frozenset(["a", "b"])])
    monkeypatch.setattr(marks.json, "dumps", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(UserError, match="cannot be written"):
        add_marks(tmp_path, [frozenset(["c", "d"])])
    monkeypatch.undo()
    assert read_marks(tmp_path) == {frozenset(["a", "b"])}
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', '{"format": "viewkin marks 1"}'])
def test_damaged_marks_are_told_and_not_overwritten(tmp_path, text):
    (tmp_path / MARKS).write_text(text)
    for act in (lambda: read_marks(tmp_path), lambda: add_marks(tmp_path, [frozenset(["a", "b"])])):
        with pytest.raises(UserError, match="cannot be read as marks"):
            act()
    assert (tmp_path / MARKS).read_text() == text
