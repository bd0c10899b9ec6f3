import itertools

import pytest

from viewkin.errors import UserError
from viewkin.figures.ablation import Spread, Trial, draw_ablation, spreads
from viewkin.figures.canvas import Dot, Line, Text


def test_runs_that_differ_in_their_seed_are_one_point_with_its_spread():
    found = spreads([Trial(0.2, "", 60.0), Trial(0.1, "", 50.0), Trial(0.2, "", 64.0)])
    assert found == {"": [Spread(0.1, 50.0, None, 1), Spread(0.2, 62.0, pytest.approx(2.8284271), 2)]}


def test_other_settings_are_lines_of_their_own():
    found = spreads([Trial(1, "width 8", 1.0), Trial(1, "width 16", 3.0), Trial(2, "width 8", 2.0)])
    assert {name: [point.setting for point in line] for name, line in found.items()} == {
        "width 8": [1, 2],
        "width 16": [1],
    }


def test_none_comes_first_then_numbers_then_words():
    found = spreads([Trial(setting, "", 1.0) for setting in ("b", 10, None, 9, "a")])
    assert [point.setting for point in found[""]] == [None, 9, 10, "a", "b"]


def test_a_bar_reaches_one_standard_deviation_to_either_side():
    canvas = draw_ablation(spreads([Trial(1, "", 10.0), Trial(1, "", 14.0), Trial(2, "", 20.0)]), "lr", "knn")
    dots = [mark for mark in canvas.marks if isinstance(mark, Dot)]
    (bar,) = [
        mark
        for mark in canvas.marks
        if isinstance(mark, Line) and mark.width == 1.6 and mark.points[0][0] == mark.points[1][0]
    ]
    (_, low), (_, high) = bar.points
    assert (low + high) / 2 == pytest.approx(dots[0].y)
    per_unit = (dots[0].y - dots[1].y) / 8
    assert low - high == pytest.approx(2 * 8**0.5 * per_unit)


@pytest.mark.parametrize(
    "settings", [(0.1, 0.2, 0.3), ("cosine", "step", "a setting with quite a long name"), (1, None)]
)
def test_ticks_do_not_meet(settings):
    from viewkin.figures.canvas import text_width

    canvas = draw_ablation(spreads([Trial(setting, "", 1.0) for setting in settings]), "setting", "knn")
    ticks = sorted(
        (m for m in canvas.marks if isinstance(m, Text) and m.anchor == "middle" and m.size == 11), key=lambda m: m.x
    )
    assert len(ticks) >= len(settings)
    for one, other in itertools.pairwise(ticks):
        assert one.x + text_width(one.text, 11) / 2 < other.x - text_width(other.text, 11) / 2


def test_no_run_is_an_error():
    with pytest.raises(UserError, match="no run"):
        draw_ablation({}, "lr", "knn")
