import itertools

import pytest

from viewkin.figures.ablation import SettingSummary, Trial, draw_ablation, summarise
from viewkin.runtime.errors import UserError


def test_runs_that_differ_in_their_seed_are_one_point_with_its_spread():
    found = summarise([Trial(0.2, "", 60.0), Trial(0.1, "", 50.0), Trial(0.2, "", 64.0)])
    assert found == {"": [SettingSummary(0.1, 50.0, None, 1), SettingSummary(0.2, 62.0, pytest.approx(2.8284271), 2)]}


def test_other_settings_are_lines_of_their_own():
    found = summarise([Trial(1, "width 8", 1.0), Trial(1, "width 16", 3.0), Trial(2, "width 8", 2.0)])
    assert {name: [point.setting for point in line] for name, line in found.items()} == {
        "width 8": [1, 2],
        "width 16": [1],
    }


def test_none_comes_first_then_numbers_then_words():
    found = summarise([Trial(setting, "", 1.0) for setting in ("b", 10, None, 9, "a")])
    assert [point.setting for point in found[""]] == [None, 9, 10, "a", "b"]


def test_a_bar_reaches_one_standard_deviation_to_either_side_and_a_single_run_has_none():
    figure = draw_ablation(summarise([Trial(1, "", 10.0), Trial(1, "", 14.0), Trial(2, "", 20.0)]), "lr", "knn")
    ((line, _, (bars,)),) = figure.axes[0].containers
    assert line.get_xydata().tolist() == [[1, 12], [2, 20]]
    first, second = bars.get_segments()
    assert first.flatten().tolist() == pytest.approx([1, 12 - 8**0.5, 1, 12 + 8**0.5])
    assert all(bound != bound for _, bound in second)


@pytest.mark.parametrize(
    "settings",
    [
        (0.1, 0.2, 0.3),
        (0.1, 0.10001, 0.3),
        (16, 64, 256, 1024, 4096),
        ("cosine", "step", "a setting with quite a long name"),
        (1, None),
    ],
)
def test_ticks_lie_at_the_settings_and_do_not_meet(settings):
    figure = draw_ablation(summarise([Trial(setting, "", 1.0) for setting in settings]), "setting", "knn")
    figure.draw_without_rendering()
    axis = figure.axes[0].xaxis
    drawn = {round(x, 6) for x, _ in figure.axes[0].lines[0].get_xydata().tolist()}
    assert {round(place, 6) for place in axis.get_ticklocs()} <= drawn
    assert len(axis.get_ticklocs()) >= len(settings) - 1
    boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))


def test_settings_of_very_different_size_lie_on_a_logarithmic_axis():
    trials = [Trial(setting, "", 1.0) for setting in (16, 256, 4096)]
    assert draw_ablation(summarise(trials), "negatives", "knn").axes[0].get_xscale() == "log"
    assert draw_ablation(summarise(trials[:2]), "negatives", "knn").axes[0].get_xscale() == "linear"


def test_words_are_not_joined_and_the_lines_of_other_settings_lie_beside_each_other():
    trials = [Trial(word, width, 1.0) for word in ("hard", "random") for width in ("8", "16") for _ in range(2)]
    figure = draw_ablation(summarise(trials), "sampler", "knn")
    first, second = (container[0] for container in figure.axes[0].containers)
    assert {first.get_linestyle(), second.get_linestyle()} == {"None"}
    assert first.get_xdata().tolist() == pytest.approx([-0.04, 0.96])
    assert second.get_xdata().tolist() == pytest.approx([0.04, 1.04])
    joined = draw_ablation(summarise([Trial(0.1, "", 1.0), Trial(0.3, "", 2.0)]), "mix_ratio", "knn")
    assert joined.axes[0].containers[0][0].get_linestyle() == "-"


def test_no_run_is_an_error():
    with pytest.raises(UserError, match="no run"):
        draw_ablation({}, "lr", "knn")
