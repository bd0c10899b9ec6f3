"""Files and folders that are whole or not there."""

import os

import pytest

from viewkin.collection.places import written
from viewkin.runtime import files
from viewkin.runtime.files import clear_unfinished, replacing, replacing_folder, unfinished


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def fails_after_half(part):
    part.write_text("half")
    raise KeyError


def test_an_error_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as part:
        fails_after_half(part)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_its_place_as_a_whole(tmp_path):
    path = tmp_path / "a"
    with replacing(path) as part:
        (part / "in").mkdir(parents=True)
        assert not path.exists()
    assert (path / "in").is_dir()
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_does_not_replace_what_is_in_the_way(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    (path / "kept").touch()
    with pytest.raises(OSError), replacing(path) as part:
        part.mkdir()
    assert [one.name for one in path.iterdir()] == ["kept"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_durable_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "a.txt", []
    real = os.fsync
    monkeypatch.setattr(files.os, "fsync", lambda number: (synced.append(path.exists()), real(number)))
    with replacing(path, durable=True) as part:
        part.write_text("new")
    assert synced == [False, True]  # the file under its other name, then the folder


def test_a_very_long_name_can_be_replaced(tmp_path):
    path = tmp_path / ("a" * 250)
    with replacing(path) as part:
        part.touch()
    assert path.exists()


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with unfinished(tmp_path / "a") as one, unfinished(tmp_path / "a") as other:
        assert one != other


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / ".a.1-2.part").touch()
    (tmp_path / ".b.1-2.part").mkdir()
    (tmp_path / ".b.1-2.part" / "in").touch()
    (tmp_path / "c.part").touch()
    clear_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["c.part"]


def test_bytes_of_a_collection_are_all_in_the_file_before_it_is_moved(tmp_path):
    data = bytes(range(256)) * 10
    with written(tmp_path, data) as path:
        assert path.read_bytes() == data
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_the_place_of_an_old_one_when_it_is_whole(tmp_path):
    place = tmp_path / "out"
    for content in ("old", "new"):
        with replacing_folder(place) as part:
            (part / content).touch()
            assert not (place / content).exists()
        assert [one.name for one in place.iterdir()] == [content]
        assert list(tmp_path.iterdir()) == [place]


def test_an_error_leaves_the_old_folder_alone(tmp_path):
    place = tmp_path / "out"
    place.mkdir()
    (place / "old").touch()
    with pytest.raises(KeyError), replacing_folder(place) as part:
        fails_after_half(part / "half.txt")
    assert [one.name for one in place.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [place]


def test_a_new_folder_that_cannot_be_moved_gives_the_old_one_back(tmp_path):
    place = tmp_path / "out"
    place.mkdir()
    (place / "old").touch()
    with pytest.raises(OSError), replacing_folder(place) as part:
        part.rmdir()  # it is gone when its turn comes
    assert [one.name for one in place.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [place]
