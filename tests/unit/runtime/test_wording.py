"""Claims about texts of unknown origin."""

import pickle

import pytest

from viewkin.runtime.errors import SettingError, UserError, inside
from viewkin.runtime.wording import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode and 🐱 stay", "plain, ünïcode and 🐱 stay"),
        ("a\x1b[31mb\x07", "a\\x1b[31mb\\x07"),
        ("two\r\nlines\u2028three", "two\\r\\nlines\\u2028three"),
        ("turned \u202e round", "turned \\u202e round"),
        ("half \ud800 and byte \udce9", "half \\ud800 and byte \\udce9"),
    ],
)
def test_what_no_terminal_should_get_is_written_out(text, shown):
    assert one_line(text) == shown
    assert str(UserError(text)) == shown


def test_long_words_are_cut_in_their_middle_and_paths_are_not():
    path = "/".join(["folder" * 30] * 9)
    assert one_line(f"{path} holds {'x' * 100_000}y.") == f"{path} holds {'x' * 30}...{'x' * 28}y."


def test_a_sentence_of_many_words_keeps_its_beginning_and_its_end():
    cut = one_line("First " + "word " * 10_000 + "last.")
    assert cut.startswith("First word")
    assert cut.endswith("word last.")
    assert len(cut) == 2003


def test_a_setting_gets_its_place_from_every_owner_around_it():
    with (
        pytest.raises(UserError, match=r"^method\.base\.x is 3; it must be less than method\.base\.y\.$"),
        inside("method"),
        inside("base."),
    ):
        raise SettingError("x", 3, "less than {here}y")


def test_a_sentence_of_a_setting_is_cut_as_any_other():
    with pytest.raises(UserError, match=r"^method\.x is 'k+\.\.\.k+'; it must be short\.$"), inside("method"):
        raise SettingError("x", "k" * 5000, "short")


def test_a_setting_error_survives_another_process():
    error = SettingError("x", 3, "4")
    with pytest.raises(SettingError), inside("method"):
        raise error
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "method.x is 3; it must be 4."
