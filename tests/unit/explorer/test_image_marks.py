"""Claims about the marks of images."""

import shutil

import pytest

from collected import gathered, picture, pictures
from viewkin.collection.reader import Reader
from viewkin.explorer.image_marks import FILE, ImageMarks
from viewkin.runtime.errors import UserError


def marks_of(folder):
    reader = Reader(folder)
    return {reader.rows.keys[row]: name for row, name in ImageMarks(reader).of_rows().items()}


def put(folder, key, name):
    reader = Reader(folder)
    ImageMarks(reader).put([reader.rows.row_of[key]], name)


@pytest.fixture
def shop(tmp_path):
    photos = pictures(tmp_path / "photos", range(4))
    shutil.copy(photos / "000.jpg", photos / "copy.jpg")
    gathered(tmp_path / "c", photos)
    return tmp_path


def test_a_mark_is_of_one_copy_alone(shop):
    put(shop / "c", "copy.jpg", "remove")
    put(shop / "c", "001.jpg", "keep")
    assert marks_of(shop / "c") == {"copy.jpg": "remove", "001.jpg": "keep"}
    put(shop / "c", "copy.jpg", None)
    assert marks_of(shop / "c") == {"001.jpg": "keep"}


def test_a_mark_follows_a_renamed_image_and_not_a_changed_one(shop):
    put(shop / "c", "001.jpg", "keep")
    put(shop / "c", "002.jpg", "check")
    (shop / "photos" / "001.jpg").rename(shop / "photos" / "new.jpg")
    picture(shop / "photos" / "002.jpg", 99)
    gathered(shop / "c", shop / "photos")
    assert marks_of(shop / "c") == {"new.jpg": "keep"}
    put(shop / "c", "new.jpg", "remove")
    assert marks_of(shop / "c") == {"new.jpg": "remove"}


def test_it_is_not_guessed_which_of_several_copies_was_renamed(shop):
    put(shop / "c", "copy.jpg", "remove")
    (shop / "photos" / "copy.jpg").rename(shop / "photos" / "other.jpg")
    gathered(shop / "c", shop / "photos")
    assert marks_of(shop / "c") == {}
    (shop / "photos" / "other.jpg").rename(shop / "photos" / "copy.jpg")
    gathered(shop / "c", shop / "photos")
    assert marks_of(shop / "c") == {"copy.jpg": "remove"}


@pytest.mark.parametrize("text", ["", "[]", '{"format": "other", "marks": {}}', '{"marks": 1}', '{"format": 1'])
def test_a_damaged_file_is_refused_and_left_as_it_is(shop, text):
    (shop / "c" / FILE).write_text(text)
    with pytest.raises(UserError, match="cannot be read as marks"):
        marks_of(shop / "c")
    with pytest.raises(UserError, match="cannot be read as marks"):
        put(shop / "c", "001.jpg", "keep")
    assert (shop / "c" / FILE).read_text() == text
