import os

import pytest

from viewkin.collection import stamps
from viewkin.collection.stamps import Stamps, load_stamps


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(stamps, "SETTLED", 0.0)
    path = tmp_path / "a.jpg"
    path.write_bytes(b"first")
    return path


def kept(folder, file, meanwhile=lambda: None):
    """Look at a file, do something, note what was read, and read the cache."""
    now = Stamps(folder)
    assert now.known("a", str(file)) is None
    meanwhile()
    now.note("a", "content", "whole")
    now.save()
    return load_stamps(folder)


def test_what_was_read_of_an_unchanged_file_is_known_the_next_time(file, tmp_path):
    assert kept(tmp_path, file)["a"].content == "content"
    again = Stamps(tmp_path)
    assert again.known("a", str(file)).whole == "whole"
    assert again.whole("a") == "whole"


def test_a_file_that_changes_while_it_is_read_is_not_known(file, tmp_path):
    assert kept(tmp_path, file, lambda: file.write_bytes(b"other")) == {}


def test_a_file_that_is_replaced_while_it_is_read_is_not_known(file, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"other")
    facts = file.stat()
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert kept(tmp_path, file, lambda: other.replace(file)) == {}


def test_a_file_that_vanishes_is_not_known(file, tmp_path):
    assert kept(tmp_path, file, file.unlink) == {}
    assert Stamps(tmp_path).known("a", str(file)) is None


def test_a_file_of_the_last_seconds_is_not_known(file, tmp_path, monkeypatch):
    monkeypatch.setattr(stamps, "SETTLED", 3.0)
    assert kept(tmp_path, file) == {}


def test_a_later_write_is_seen_whatever_the_times_say(file, tmp_path):
    kept(tmp_path, file)
    facts = file.stat()
    file.write_bytes(b"other")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert Stamps(tmp_path).known("a", str(file)) is None


def test_files_that_are_no_longer_listed_are_forgotten(file, tmp_path):
    kept(tmp_path, file)
    now = Stamps(tmp_path)
    now.save()
    assert load_stamps(tmp_path) == {}
