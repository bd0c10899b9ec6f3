"""Claims about progress in a notebook."""

import sys
import types

import pytest

from viewkin.api.notebook import NotebookReporter, in_notebook, progress_where_seen
from viewkin.runtime.progress import Reporter, progress_bar, reporter, reporting_to


class ZMQInteractiveShell:
    """Has the name of the shell of a notebook's kernel."""


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, content: str) -> None:
        self.shown.append(content)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook would show, one entry a drawing."""
    shown: list[str] = []

    def display(content: str, display_id: bool) -> Handle:
        assert display_id
        shown.append(content)
        return Handle(shown)

    ipython, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = ZMQInteractiveShell  # type: ignore[attr-defined]
    module.HTML, module.display = str, display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_a_notebook_is_told_from_other_places(drawn, monkeypatch):
    assert in_notebook()
    sys.modules["IPython"].get_ipython = lambda: None  # type: ignore[attr-defined]
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_a_notebook_shows_a_bar_and_takes_it_away(drawn, monkeypatch):
    monkeypatch.setattr("viewkin.api.notebook.BETWEEN", 0.0)
    with progress_where_seen():
        with reporter().bar("a < b", 10, done=2, patience=0.0) as bar:
            bar.advance(3)
            bar.update(6, detail="loss 1")
        assert "a &lt; b" in drawn[0]
        assert 'value="5" max="10"' in drawn[0]
        assert "to go" in drawn[0]
        assert "loss 1" in drawn[1]
        assert drawn[2:] == [""]
    assert type(reporter()) is Reporter


def test_short_work_draws_nothing(drawn):
    with progress_where_seen(), progress_bar("features", 10) as bar:
        bar.advance(10)
    assert drawn == []


def test_work_without_an_end_moves(drawn):
    bar = NotebookReporter().bar("t-SNE", None, patience=0.0)
    with bar:
        bar.advance()
    assert "<progress></progress>" in drawn[0]


def test_whoever_shows_progress_already_goes_on(drawn):
    own = Reporter.__subclasses__()[0]
    shown = type("Mine", (own,), {"__init__": lambda self: None})()
    with reporting_to(shown), progress_where_seen():
        assert reporter() is shown
