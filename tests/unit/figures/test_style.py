import xml.etree.ElementTree as ET

import pytest
import torch

from viewkin.figures import style
from viewkin.figures.image_grid import Tile, draw_grid
from viewkin.figures.style import (
    COLOURS,
    colour_and_marker,
    content_of,
    legend,
    max_groups,
    panels,
    shortened,
    styled,
    text_width,
    write_figure,
)
from viewkin.runtime.errors import UserError


@styled()
def drawn(names=("a < b & $c$", "_under", "猫")):
    figure, (axes,) = panels(1, 200, 150, names)
    axes.plot([0, 1], [1, 3])
    legend(figure, [(name, *colour_and_marker(place)) for place, name in enumerate(names)])
    return figure


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_figure_drawn_again_has_the_same_bytes(kind):
    assert content_of(drawn(), kind) == content_of(drawn(), kind)


def test_an_svg_is_well_formed_needs_nothing_beside_it_and_keeps_every_name():
    root = ET.fromstring(content_of(drawn(), "svg"))
    assert {"a < b & $c$", "_under", "猫"} <= {element.text for element in root.iter() if element.tag.endswith("}text")}
    links = [value for element in root.iter() for name, value in element.attrib.items() if name.endswith("href")]
    assert all(link.startswith("#") for link in links)


def test_the_suffix_decides_the_format(tmp_path):
    assert write_figure(drawn(), tmp_path / "a.png").startswith(b"\x89PNG")
    assert b"<svg" in write_figure(drawn(), tmp_path / "a.SVG")
    assert (tmp_path / "a.png").read_bytes() == content_of(drawn(), "png")
    with pytest.raises(UserError, match=r"must end in \.png or \.svg"):
        write_figure(drawn(), tmp_path / "a.pdf")


def test_settings_of_others_stay_as_they_were():
    import matplotlib

    before = dict(matplotlib.rcParams)
    content_of(drawn(), "svg")
    assert dict(matplotlib.rcParams) == before


def test_every_group_has_a_sign_of_its_own():
    found = [colour_and_marker(group) for group in range(max_groups())]
    assert len(set(found)) == max_groups() == 3 * len(COLOURS)
    assert len({marker for _, marker in found[: len(COLOURS)]}) == 1


def test_a_legend_lies_below_the_panels_within_the_figure():
    figure = drawn([f"a class with a long name {n}" for n in range(9)] + ["very long " * 20])
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert box.y0 >= 0
    assert box.y1 <= figure.axes[0].get_tightbbox().y0
    assert figure.axes[0].bbox.height > 60


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_every_panel_is_there_and_at_most_three_lie_in_a_line(count):
    with styled():
        figure, axes = panels(count, 100, 80)
    assert len(axes) == count
    assert figure.get_figwidth() <= 300 / style.UNIT
    assert sum(part.axison for part in figure.axes) == count


def test_text_is_cut_to_its_room():
    assert shortened("short", 12, 100) == "short"
    cut = shortened("a very long line of text indeed", 12, 60)
    assert cut.endswith("...")
    assert text_width(cut, 12) <= 60


def test_without_matplotlib_a_figure_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert not style.can_draw()
    with pytest.raises(UserError, match="need matplotlib; install it"):
        drawn()


FOREIGN = ("猫", "قطة", "बिल्ली", "חתול", "🐈", "\x1b[31m")


def test_names_in_any_script_cause_no_warning(recwarn):
    assert shortened("猫" * 40, 12, 100).endswith("...")
    assert text_width("🐈 قطة", 12) > 0
    content_of(drawn(FOREIGN), "png")
    draw_grid([Tile(torch.zeros(3, 8, 8, dtype=torch.uint8), "बिल्ली")], [("猫" * 30, [])], "חתול").figure()
    assert [str(one.message) for one in recwarn] == []


def test_control_characters_leave_an_svg_well_formed():
    root = ET.fromstring(content_of(drawn(FOREIGN), "svg"))
    assert "\\x1b[31m" in {element.text for element in root.iter()}


def test_a_very_long_name_is_measured_in_short_parts_only(monkeypatch):
    measured: list[int] = []

    def counted(text: str, size: float) -> float:
        measured.append(len(text))
        return text_width(text, size)

    monkeypatch.setattr(style, "text_width", counted)
    assert shortened("a " * 50_000, 12, 200).startswith("a a a a a")
    assert max(measured) < 100
