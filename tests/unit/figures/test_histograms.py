import pytest
import torch

from viewkin.figures.histograms import (
    NEAREST,
    POSITIVE,
    RANDOM,
    cosines,
    draw_histograms,
    nearest_cosines,
    percentages,
    positive_pairs,
    random_pairs,
)

LABELS = torch.tensor([0, 1, 0, 1, 2, -1, 0, -1])


def test_positive_pairs_are_two_different_images_of_one_class():
    pairs = positive_pairs(LABELS)
    assert len(pairs) == 4
    assert (LABELS[pairs[:, 0]] == LABELS[pairs[:, 1]]).all()
    assert (LABELS[pairs] >= 0).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert not positive_pairs(torch.tensor([0, 1, -1, -1])).numel()


def test_any_pairs_are_two_different_images_each_as_often():
    pairs = random_pairs(5, most=20_000)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    pairs = random_pairs(200, most=20_000)
    assert (pairs.flatten().bincount(minlength=200).float() / 200 - 1).abs().max() < 0.35


def test_cosines_are_those_of_a_loop():
    rows = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    pairs = torch.tensor([[0, 1], [2, 5], [3, 3]])
    torch.testing.assert_close(cosines(rows, pairs), torch.stack([rows[a] @ rows[b] for a, b in pairs.tolist()]))


def test_shares_are_percent_of_all_values_and_none_is_lost():
    found = percentages(torch.tensor([-1.0, 0.1, 0.1, 0.9, 1.0000001]), 0.0, 1.0, bins=4)
    assert found == pytest.approx([60, 0, 0, 40])
    assert sum(percentages(torch.randn(1000), -1, 1)) == pytest.approx(100)


def test_nearest_cosines_are_those_of_the_nearest_share_of_the_others():
    rows = torch.nn.functional.normalize(torch.randn(40, 4), dim=1)
    rows[7] = rows[3]  # a duplicate is a neighbour, the image itself is not
    expected = (rows @ rows.T).fill_diagonal_(-2).topk(4, dim=1).values
    torch.testing.assert_close(nearest_cosines(rows, 0.1).sort().values, expected.flatten().sort().values)
    assert len(nearest_cosines(rows, 0.001)) == 40


def test_a_panel_shows_the_nearest_beside_them_where_asked():
    kinds = [torch.tensor([0.5, 0.7]), torch.tensor([0.1, 0.3]), torch.tensor([0.9, 1.0])]
    figure = draw_histograms([("mine", kinds)], "of one class", "the nearest")
    texts = [(text.get_text(), text.get_color()) for text in figure.axes[0].texts]
    assert texts == [("0.95", NEAREST), ("0.20", RANDOM), ("0.60", POSITIVE)]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [f"{name}, mean dashed" for name in ("of one class", "any two images", "the nearest")]


def test_a_panel_shows_both_shares_and_both_means():
    figure = draw_histograms([("mine", [torch.tensor([0.5, 0.7]), torch.tensor([0.1, 0.3, 0.3, 0.5])])], "of one class")
    axes = figure.axes[0]
    assert axes.get_title("left") == "mine"
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [("0.30", RANDOM), ("0.60", POSITIVE)]
    means = {line.get_color(): line.get_xdata()[0] for line in axes.lines}
    assert means == {RANDOM: pytest.approx(0.3), POSITIVE: pytest.approx(0.6)}
    bars = [patch.get_data().values for patch in axes.patches if patch.get_fill()]
    assert [sorted(values[values > 0].tolist()) for values in bars] == [[25, 25, 50], [50, 50]]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["of one class, mean dashed", "any two images, mean dashed"]
