"""Claims about the map of a collection in a notebook."""

import sys

import pytest

import viewkin
from collected import gathered, pictures


@pytest.fixture
def place(tmp_path):
    gathered(tmp_path / "c", pictures(tmp_path / "photos", range(24), ("cat", "dog")))
    return tmp_path / "c"


def test_a_figure_is_drawn_where_jupyter_scatter_is_missing(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "jscatter", None)
    figure = viewkin.explore(viewkin.open_collection(place), map="pca", static=True)
    assert len(figure.axes) == 1
    assert sum(len(one.get_offsets()) for one in figure.axes[0].collections) == 24
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"cat", "dog"}


def test_the_map_is_kept_for_the_page(place):
    viewkin.explore(place, map="pca", static=True)
    assert (place / "explore" / "map-pca.npz").is_file()


def test_another_column_is_refused_by_name(place):
    with pytest.raises(viewkin.UserError, match="there are label, folder"):
        viewkin.explore(place, colour="colour", static=True)
