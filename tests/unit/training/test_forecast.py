"""Claims about how long training still takes."""

import pytest

from viewkin.runtime.progress import Reporter
from viewkin.training import forecast
from viewkin.training.forecast import Forecast
from viewkin.training.logs import Display


class Clock:
    """Time that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, threads: int = 2) -> None:
        self.wall = self.cpu = 0.0
        monkeypatch.setattr(forecast.time, "monotonic", lambda: self.wall)
        monkeypatch.setattr(forecast.time, "process_time", lambda: self.cpu)
        monkeypatch.setattr(forecast.torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(forecast.torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(forecast.os, "sched_getaffinity", lambda _: {0, 1})
        monkeypatch.setattr(forecast.os, "getloadavg", lambda: (4.0, 4.0, 4.0))

    def said(self, shown: Forecast, steps: range, seconds: float, share: float = 0.9) -> list[str]:
        """Take steps of so many seconds, in which the process gets a share of two threads."""
        sentences = []
        for done in steps:
            self.wall += seconds
            self.cpu += seconds * 2 * share
            sentences.append(shown.after(done))
        return [one for one in sentences if one]


def test_the_rest_is_foretold_once_at_a_steady_speed(monkeypatch):
    clock, shown = Clock(monkeypatch), Forecast(10_000)
    assert clock.said(shown, range(1, 2000), 1.0) == [
        "About 2.8 hours to go at this speed. Ctrl-C stops and saves, --resume goes on."
    ]


def test_the_rest_is_foretold_again_when_the_speed_changes(monkeypatch):
    clock, shown = Clock(monkeypatch), Forecast(2000)
    clock.said(shown, range(1, 200), 1.0)
    assert clock.said(shown, range(200, 400), 3.0, share=0.3) == [
        "Now about 89 minutes to go at this speed: other processes use the processor."
    ]
    (faster,) = clock.said(shown, range(400, 800), 1.0)
    assert faster.startswith("Now about ")
    assert "other processes" not in faster


def test_one_pause_in_a_long_run_changes_nothing(monkeypatch):
    clock, shown = Clock(monkeypatch), Forecast(20_000)
    clock.said(shown, range(1, 500), 1.0)
    clock.wall += 60
    assert clock.said(shown, range(500, 2000), 1.0) == []


def test_a_short_rest_is_not_told(monkeypatch):
    clock, shown = Clock(monkeypatch), Forecast(40)
    assert clock.said(shown, range(1, 40), 1.0) == []


@pytest.mark.parametrize("busy", [True, False])
def test_others_are_named_only_where_the_processor_is_busy(monkeypatch, busy):
    clock, shown = Clock(monkeypatch), Forecast(10_000)
    if not busy:
        monkeypatch.setattr(forecast.os, "getloadavg", lambda: (0.5, 0.5, 0.5))
    (sentence,) = clock.said(shown, range(1, 20), 1.0, share=0.3)
    assert ("other processes use the processor" in sentence) == busy


def test_the_display_says_what_is_foretold(monkeypatch):
    clock, said = Clock(monkeypatch), []
    reporter = Reporter()
    reporter.say = said.append  # type: ignore[method-assign]
    with Display(reporter, 10_000, 0) as display:
        for done in range(1, 20):
            clock.wall += 1.0
            display.step(done, "epoch 1/9")
    assert len(said) == 1
    assert "at this speed" in said[0]
