"""Claims about progress on a terminal, and about its absence elsewhere."""

import io
import threading
import time

import pytest
import torch
from rich.console import Console

from viewkin.cli.terminal import TerminalReporter
from viewkin.figures.maps import tsne
from viewkin.runtime import progress
from viewkin.runtime.progress import Bar, Reporter, counting, progress_bar, reporter, reporting_to


def terminal(*, is_one: bool = True) -> tuple[TerminalReporter, io.StringIO]:
    stream = io.StringIO()
    return TerminalReporter(Console(file=stream, force_terminal=is_one, width=100)), stream


def wait_for(stream: io.StringIO, text: str) -> bool:
    for _ in range(300):
        if text in stream.getvalue():
            return True
        time.sleep(0.02)
    return False


def test_a_bar_appears_once_the_work_has_lasted_a_while():
    shown, stream = terminal()
    with shown.bar("features", 10, patience=0.05) as bar:
        assert stream.getvalue() == ""
        bar.advance(4)
        assert wait_for(stream, "features")
        assert wait_for(stream, "4/10")


@pytest.mark.parametrize(("is_one", "patience"), [(True, 60.0), (False, 0.0)])
def test_short_work_and_what_is_no_terminal_show_nothing(is_one, patience):
    shown, stream = terminal(is_one=is_one)
    with shown.bar("features", 10, patience=patience) as bar:
        bar.advance(10)
    assert stream.getvalue() == ""
    assert not any(isinstance(one, threading.Timer) for one in threading.enumerate())


def test_a_bar_goes_when_the_work_fails():
    shown, stream = terminal()
    with pytest.raises(ZeroDivisionError), shown.bar("features", None, patience=0.0):  # noqa: PT012
        wait_for(stream, "features")
        raise ZeroDivisionError
    before = stream.getvalue()
    time.sleep(0.4)  # longer than between two drawings
    assert stream.getvalue() == before


def test_a_library_shows_nothing(capfd):
    with progress_bar("features", 10) as bar:
        bar.advance(3)
        assert bar.done == 3
    reporter().say("A sentence.")
    assert type(reporter()) is Reporter
    assert type(bar) is Bar
    assert capfd.readouterr() == ("", "")


def test_work_reports_to_the_reporter_of_the_moment(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    shown, stream = terminal()
    shown.bar = lambda description, total, **_: type(shown).bar(shown, description, total, patience=0.0)  # type: ignore[method-assign]
    with reporting_to(shown):
        tsne(torch.randn(60, 8, generator=torch.Generator().manual_seed(0)))
        assert list(counting([[1], [2, 3]], "decoding", 3)) == [[1], [2, 3]]
        assert list(counting([[1], [2, 3]], "hidden", 3, shown=False)) == [[1], [2, 3]]
    assert reporter() is not shown
    assert "hidden" not in stream.getvalue()


def test_sentences_are_printed_in_their_order_above_a_bar():
    shown, stream = terminal()
    with shown.bar("training", 10, patience=0.0):
        shown.say("first", "second")
    text = stream.getvalue()
    assert text.index("first") < text.index("second")
