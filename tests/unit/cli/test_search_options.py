import pytest

from viewkin.cli.search import repeated


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("c q.jpg", "c q.jpg"),
        ("c --like a b --not d", "c --like a --like b --not d"),
        ("c --like a -k 5", "c --like a -k 5"),
        ("c --where label=cat split=train --json", "c --where label=cat --where split=train --json"),
        ("c --like a --like b q", "c --like a --like b --like q"),
        ("c --not -x.jpg y.jpg", "c --not -x.jpg --not y.jpg"),
        ("c -- --like a b", "c -- --like a b"),
        ("c --like", "c --like"),
    ],
)
def test_an_option_of_several_values_is_repeated(given, read):
    assert repeated(given.split()) == read.split()
