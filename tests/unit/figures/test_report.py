import base64
import io
import math
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from viewkin.errors import UserError
from viewkin.figures import report
from viewkin.figures.curves import NOISY, POINTS, curve_card, format_value, series_of, ticks
from viewkin.figures.report import write_report


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(stream, "PNG")
    return stream.getvalue()


class Page(HTMLParser):
    """Collects tags with attributes, and refuses tags that do not close in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def lines(card: str, kind: str = "line") -> list[list[tuple[float, float]]]:
    found = re.findall(rf'<polyline class="{kind}" points="([^"]*)"', card)
    return [[tuple(map(float, corner.split(","))) for corner in corners.split()] for corners in found]


def test_the_report_needs_nothing_from_elsewhere(tmp_path):
    path = tmp_path / "run" / "report.html"
    history = [{"step": step, "loss": 3.0 / (step + 1), "lr": 0.1} for step in range(5)]
    write_report(
        path, title="A run", facts=[("images", "50")], history=history, sheets=[("near", png())], warnings=["Hm."]
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert base64.b64decode(sources[0].removeprefix("data:image/png;base64,")) == png()
    assert "http" not in path.read_text()
    assert "url(" not in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_every_text_is_escaped(tmp_path):
    path = tmp_path / "report.html"
    evil = "<script>alert('&')</script>\""
    write_report(path, title=evil, facts=[(evil, evil)], history=[{evil: 1.0}], sheets=[(evil, png())], warnings=[evil])
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;&quot;") >= 8
    Page(text)


def test_every_numeric_series_has_a_curve_and_clocks_have_none():
    history = [
        {"step": 10, "epoch": 0, "loss": 2.0, "name": "x", "ok": True},
        {"step": 20, "epoch": 1, "loss": 1, "knn": 0.5},
    ]
    assert series_of(history) == {"loss": [(10.0, 2.0), (20.0, 1.0)], "knn": [(20.0, 0.5)]}


def test_rows_without_a_step_are_counted():
    assert series_of([{"loss": 2.0}, {"loss": 1.0}]) == {"loss": [(0.0, 2.0), (1.0, 1.0)]}


def test_a_curve_falls_on_the_page_when_its_values_fall():
    ((first, *_, last),) = lines(curve_card("loss", [(0, 5.0), (1, 4.0), (2, 1.0)]))
    assert first[0] < last[0]
    assert first[1] < last[1]  # SVG counts downwards
    assert "<b>1</b>" in curve_card("loss", [(0, 5.0), (2, 1.0)])


def test_a_value_stands_beside_its_tick():
    card = curve_card("loss", [(0, 0.0), (100, 10.0)])
    ((_, (_, height)),) = lines(card)
    label = re.search(r'y="([\d.]+)" text-anchor="end">10</text>', card)
    assert label is not None
    assert float(label[1]) - 4 == pytest.approx(height, abs=0.1)


def test_values_that_are_not_finite_break_the_curve_and_are_counted():
    card = curve_card("loss", [(0, 3.0), (1, 2.0), (2, math.nan), (3, 2.0), (4, 1.0), (5, math.inf)])
    assert [len(line) for line in lines(card)] == [2, 2]
    assert "2 of 6 values" in card
    assert "<b>inf</b>" in card
    assert "nan" not in "".join(re.findall(r'points="[^"]*"', card))


def test_only_values_that_are_not_finite_still_make_a_card():
    card = curve_card("loss", [(0, math.nan)])
    assert "<svg" not in card
    assert "1 of 1 values" in card


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-12, 1e30])
def test_a_constant_series_is_a_level_line(value):
    ((first, second),) = lines(curve_card("x", [(0, value), (1, value)]))
    assert first[1] == second[1]
    assert len(lines(curve_card("x", [(7, value)]))[0]) == 1


def test_long_curves_are_thinned_and_keep_their_peaks():
    points = [(float(step), 1.0) for step in range(50_000)]
    points[31_234] = (31_234.0, 9.0)
    raw = lines(curve_card("loss", points), "raw")[0]
    assert len(raw) <= POINTS
    assert min(y for _, y in raw) < min(raw[0][1], raw[-1][1]) - 50
    assert len(curve_card("loss", points)) < 40_000


def test_a_noisy_curve_has_its_running_mean_over_it():
    points = [(float(step), float(step % 2)) for step in range(NOISY * 2)]
    card = curve_card("x", points)
    raw, trend = lines(card, "raw")[0], lines(card)[0]
    height = [y for _, y in trend[20:-20]]
    assert max(height) - min(height) < 0.3 * (max(y for _, y in raw) - min(y for _, y in raw))
    assert trend[0] == raw[0]
    assert trend[-1] == raw[-1]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0.013, 0.031, [0.015, 0.02, 0.025, 0.03]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round_numbers_inside_the_axis(low, high, expected):
    assert ticks(low, high, 5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.03141, "0.03141"),
        (9.99999, "10"),
        (12345.6, "12,346"),
        (1.5e-7, "1.5e-7"),
        (2e9, "2e9"),
        (-0.5, "-0.5"),
        (100, "100"),
    ],
)
def test_numbers_are_short(value, text):
    assert format_value(value) == text


def test_an_empty_run_still_has_a_report(tmp_path):
    write_report(tmp_path / "report.html", title="Nothing yet")
    text = (tmp_path / "report.html").read_text()
    assert "Nothing was logged" in text
    Page(text)


def test_a_failed_report_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.Path, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        write_report(tmp_path / "report.html", title="A run")
    assert list(tmp_path.iterdir()) == []
