import base64
import io
import math
import os
import re
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image

from viewkin.figures import report
from viewkin.figures.curves import NOISY, POINTS, draw_card, draw_curves, format_value, series_of
from viewkin.figures.report import NO_MATPLOTLIB, Sheet, add_figure, write_report
from viewkin.figures.style import COLOURS, content_of
from viewkin.runtime.errors import UserError


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


def lines(points, faint: bool = False) -> list[list[list[float]]]:
    """Lines of the card of a series, the last dot left out; the faint ones, or those over them."""
    found = [line for line in draw_card(points).axes[0].lines if line.get_linestyle() != "None"]
    return [line.get_xydata().tolist() for line in found if (line.get_alpha() is not None) == faint]


def test_the_report_needs_nothing_from_elsewhere(tmp_path):
    path = tmp_path / "run" / "report.html"
    history = [{"step": step, "loss": 3.0 / (step + 1), "lr": 0.1} for step in range(5)]
    write_report(
        path, title="A run", facts=[("images", "50")], history=history, sheets=[Sheet("near", png())], warnings=["Hm."]
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert len(sources) == 3
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources[:2])
    assert base64.b64decode(sources[2].removeprefix("data:image/png;base64,")) == png()
    assert "http" not in path.read_text()
    assert "url(" not in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_every_text_is_escaped(tmp_path):
    path = tmp_path / "report.html"
    evil = "<script>alert('&')</script>\""
    write_report(
        path, title=evil, facts=[(evil, evil)], history=[{evil: 1.0}], sheets=[Sheet(evil, png())], warnings=[evil]
    )
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


def test_processor_time_between_log_lines_has_no_curve_in_the_report(tmp_path):
    history = [{"step": step, "loss": 1.0, "cpu_seconds": 9.0} for step in (10, 20, 25)]
    write_report(tmp_path / "report.html", title="A run", history=history)
    page = (tmp_path / "report.html").read_text()
    assert "<span>loss</span>" in page
    assert "cpu_seconds" not in page
    assert "cpu_seconds" in series_of(history)  # figures curves --series cpu_seconds


def test_rows_without_a_step_are_counted():
    assert series_of([{"loss": 2.0}, {"loss": 1.0}]) == {"loss": [(0.0, 2.0), (1.0, 1.0)]}


def test_a_curve_has_every_value_and_the_last_stands_above_it(tmp_path):
    assert lines([(0, 5.0), (1, 4.0), (2, 1.0)]) == [[[0, 5], [1, 4], [2, 1]]]
    assert draw_card([(0, 5.0), (2, 1.5)]).axes[0].lines[-1].get_xydata().tolist() == [[2, 1.5]]
    write_report(tmp_path / "report.html", title="A run", history=[{"step": 0, "loss": 5.0}, {"step": 2, "loss": 1.5}])
    assert "<span>loss</span><b>1.5</b>" in (tmp_path / "report.html").read_text()


def test_values_that_are_not_finite_break_the_curve_and_are_counted(tmp_path):
    values = [3.0, 2.0, math.nan, 2.0, 1.0, math.inf]
    assert lines(list(enumerate(values))) == [[[0, 3], [1, 2]], [[3, 2], [4, 1]]]
    write_report(tmp_path / "report.html", title="A run", history=[{"step": n, "x": v} for n, v in enumerate(values)])
    page = (tmp_path / "report.html").read_text()
    assert "2 of 6 values" in page
    assert "<b>inf</b>" in page
    assert "x: 3 at step 0 to 1 at step 4" in page


def test_only_values_that_are_not_finite_still_make_a_card(tmp_path):
    write_report(tmp_path / "report.html", title="A run", history=[{"loss": math.nan}])
    page = (tmp_path / "report.html").read_text()
    assert "<img" not in page
    assert "1 of 1 values" in page


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-12, 1e30])
def test_a_constant_series_is_a_level_line(value):
    assert lines([(0, value), (1, value)]) == [[[0, value], [1, value]]]
    assert len(content_of(draw_card([(7, value)]), "svg")) > 1000


def test_long_curves_are_thinned_and_keep_their_peaks():
    points = [(float(step), 1.0) for step in range(50_000)]
    points[31_234] = (31_234.0, 9.0)
    (raw,) = lines(points, faint=True)
    assert len(raw) <= POINTS
    assert [31_234, 9] in raw
    assert len(content_of(draw_card(points), "svg")) < 40_000


def test_a_noisy_curve_has_its_running_mean_over_it():
    points = [(float(step), float(step % 2)) for step in range(NOISY * 2)]
    (raw,), (trend,) = lines(points, faint=True), lines(points)
    height = [y for _, y in trend[20:-20]]
    assert max(height) - min(height) < 0.3 * (max(y for _, y in raw) - min(y for _, y in raw))
    assert trend[0] == raw[0]
    assert trend[-1] == raw[-1]


def test_runs_lie_in_one_plot_a_series_each_in_its_colour():
    runs = {"a": {"loss": [(0, 3.0), (1, 2.0)]}, "b": {"loss": [(0, 4.0), (1, 1.0)], "knn": [(1, 0.5), (2, 0.7)]}}
    figure = draw_curves(runs, ["loss", "knn"])
    assert [panel.get_title("left") for panel in figure.axes] == ["loss", "knn"]
    assert [[line.get_color() for line in panel.lines] for panel in figure.axes] == [list(COLOURS[:2]), [COLOURS[1]]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_without_matplotlib_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_report(tmp_path / "report.html", title="A run", history=[{"step": 0, "loss": 5.0}])
    page = (tmp_path / "report.html").read_text()
    assert NO_MATPLOTLIB in page
    assert "<img" not in page


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


def test_a_path_that_is_no_utf8_is_written_readably(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    write_report(tmp_path / "report.html", title=odd, facts=[("images", odd)])
    add_figure(tmp_path / "report.html", "map", f"A map of {odd}", b"", "svg")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("caf\\udce9") == 5


@pytest.mark.parametrize("content", [b"<p>caf\xe9", b"<p>cafe"])
def test_another_file_is_no_place_for_a_figure(tmp_path, content):
    (tmp_path / "report.html").write_bytes(content)
    with pytest.raises(UserError, match="is no report of a run"):
        add_figure(tmp_path / "report.html", "map", "A map", b"", "svg")
    assert (tmp_path / "report.html").read_bytes() == content


def test_a_failed_report_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.Path, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        write_report(tmp_path / "report.html", title="A run")
    assert list(tmp_path.iterdir()) == []


def test_warnings_are_apart_from_what_was_left_out_and_from_notes(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, title="A run", summary="It went well.", warnings=["W."], left_out=["L."], notes=["N."])
    page = path.read_text(encoding="utf-8")
    assert re.search(r'<ul class="warnings"><li>W\.</li></ul>', page)
    assert re.search(r'<h2>Left out</h2><ul class="notes"><li>L\.</li></ul>', page)
    assert re.search(r'<h2>Good to know</h2><ul class="notes"><li>N\.</li></ul>', page)
    assert "It went well." in page
    write_report(path, title="A run", notes=["N."])
    assert '<ul class="warnings">' not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("loss", "What training lowers"),
        ("knn_monitor", "held-out"),
        ("term/eir/relation", "The part of the loss that eir/relation gives"),
        ("gradient/nt_xent", "0: nothing is learnt"),
        ("interclr/label_churn", "changed since the epoch began"),
        ("invp/hop2_purity", "have the anchor&#x27;s label"),
        ("interclr/negatives_false", "should not be pushed away"),
    ],
)
def test_each_curve_is_explained_in_a_phrase(tmp_path, name, word):
    write_report(tmp_path / "report.html", title="A run", history=[{"step": 1, name: 0.5}, {"step": 2, name: 0.6}])
    (phrase,) = re.findall(r'<p class="about">(.*?)</p>', (tmp_path / "report.html").read_text())
    assert word in phrase


def test_the_files_of_a_sheet_are_listed_below_it(tmp_path):
    sheet = Sheet("near", png(), [("cat/1.jpg", ["cat/2.jpg", "<b>.jpg"])])
    write_report(tmp_path / "report.html", title="A run", sheets=[sheet])
    page = (tmp_path / "report.html").read_text()
    assert "<li>cat/1.jpg: cat/2.jpg, &lt;b&gt;.jpg</li>" in page
    Page(page)


def test_control_characters_of_names_are_written_out(tmp_path):
    write_report(tmp_path / "report.html", title="a\x1b[31m", facts=[("images", "\x07 of \u202ex")], notes=["\x00"])
    assert not set((tmp_path / "report.html").read_text()) & set("\x1b\x07\x00\u202e")
