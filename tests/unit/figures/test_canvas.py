import io
import itertools
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from viewkin.errors import UserError
from viewkin.figures.canvas import (
    COLOURS,
    Box,
    Canvas,
    Dot,
    Line,
    Picture,
    Text,
    legend,
    shortened,
    sign_of,
    signs,
    text_width,
)

RED = (200, 0, 0)


def drawn() -> Canvas:
    canvas = Canvas(60, 40)
    stamp = Image.new("RGB", (4, 4), (0, 90, 0))
    line = Line(((0, 39), (59, 39)), (0, 0, 200), 2)
    canvas.add(Box(10, 10, 20, 8, RED), line, Dot(45, 10, (0, 0, 0), opacity=1), Picture(40, 20, 8, 8, stamp))
    canvas.add(Text(12, 30, "a < b & c", 9), Text(5, 15, "up", 9, turned=True), Dot(55, 10, RED, "triangle"))
    return canvas


def pixels(canvas: Canvas) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(canvas.png())))


def test_a_png_has_each_mark_where_it_was_put_at_two_pixels_a_unit():
    picture = pixels(drawn())
    assert picture.shape == (80, 120, 3)
    assert (picture[22:34, 22:58] == RED).all()
    assert tuple(picture[20, 90]) == (0, 0, 0)
    assert (picture[42:54, 82:94] == (0, 90, 0)).all()
    assert tuple(picture[2, 2]) == (255, 255, 255)


def test_an_svg_is_well_formed_and_needs_nothing_beside_it():
    root = ET.fromstring(drawn().svg())
    names = [element.tag.rpartition("}")[2] for element in root]
    assert names == ["rect", "rect", "polyline", "circle", "image", "text", "text", "polygon"]
    assert [element.text for element in root if element.tag.endswith("text")] == ["a < b & c", "up"]
    assert "http" not in drawn().svg().decode().replace("http://www.w3.org/2000/svg", "")


def test_the_suffix_decides_the_format(tmp_path):
    drawn().write(tmp_path / "a.png")
    drawn().write(tmp_path / "a.SVG")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.SVG").read_bytes().startswith(b"<svg")
    with pytest.raises(UserError, match=r"must end in \.png or \.svg"):
        drawn().write(tmp_path / "a.pdf")


def test_every_group_has_a_sign_of_its_own():
    found = [sign_of(group) for group in range(signs())]
    assert len(set(found)) == signs() == 3 * len(COLOURS)
    assert len({shape for _, shape in found[: len(COLOURS)]}) == 1


def test_a_legend_keeps_within_its_width_and_never_overlaps():
    entries = [(f"a class with a long name {n}", *sign_of(n)) for n in range(9)]
    marks, tall = legend(entries, 10, 100, 300)
    texts = [mark for mark in marks if isinstance(mark, Text)]
    assert all(text.x + text_width(text.text, text.size) <= 310 for text in texts)
    assert all(text.y <= 100 + tall for text in texts)
    for one, other in itertools.pairwise(texts):
        assert other.y > one.y or other.x >= one.x + text_width(one.text, one.size)


def test_text_is_cut_to_its_room():
    assert shortened("short", 12, 100) == "short"
    cut = shortened("a very long line of text indeed", 12, 60)
    assert cut.endswith("...")
    assert text_width(cut, 12) <= 60
