"""Claims about the numbers that a run shows while it trains."""

import io

import pytest
from rich.console import Console

from viewkin.cli.terminal import TerminalReporter
from viewkin.training.logs import Display, summed

VALUES = {"loss": 3.0, "images_per_second": 1234.0, "term/moco": 2.0, "term/eir/mixture": 1.0, "knn_monitor": 0.5}


def test_a_loss_of_several_terms_is_shown_with_each():
    assert summed(VALUES, 2) == "loss 3.00 = moco 2.00 + eir/mixture 1.00"
    assert summed({"loss": 3.0, "term/moco": 3.0}, 2) == "loss 3.00"


@pytest.mark.parametrize(("width", "terms"), [(80, False), (160, True)])
def test_the_bar_shows_the_terms_where_there_is_room(width, terms):
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    with Display(TerminalReporter(console), 10, 0) as display:
        display.step(1, "epoch 1/1")
        display.numbers(VALUES)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("moco 2.000 + eir/mixture 1.000" in shown) == terms
    assert "1,234 images/s" in shown
    assert "kNN 0.500" in shown
