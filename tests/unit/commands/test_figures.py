"""Claims about which images a figure shows."""

import pytest
import torch

from viewkin.commands.figures.evidence import distinct, easiest, hardest
from viewkin.commands.figures.inputs import FigureRequest
from viewkin.commands.figures.map import MapRequest, Points, colouring
from viewkin.commands.figures.neighbours import askers
from viewkin.figures.evidence import RelatedImages


def test_images_that_ask_come_of_the_classes_in_turn():
    labels = torch.tensor([4, 4, 4, 9, -1, 7, 9, 4])
    assert askers(labels, 3).tolist() == [0, 5, 3]
    assert askers(labels, 5).tolist() == [0, 5, 3, 1, 6]
    assert askers(labels, 2).tolist() == [0, 3]  # the first and the last class
    assert sorted(askers(labels, 40).tolist()) == [0, 1, 2, 3, 5, 6, 7]


def test_without_labels_they_are_spread_evenly():
    assert askers(torch.full((9,), -1), 3).tolist() == [0, 4, 8]
    assert askers(torch.full((2,), -1), 5).tolist() == [0, 1]


@pytest.mark.parametrize("count", [1, 2, 5, 7, 9, 30])
def test_no_positive_is_both_easy_and_hard(count):
    similarities = [(37 * place % count) / count for place in range(count)]
    find = RelatedImages(
        anchor=99, path="a", what="invp/positives", images=tuple(range(count)), similarities=tuple(similarities)
    )
    easy, hard = easiest(find), hardest(find)
    assert not set(easy) & set(hard)
    assert len(easy) == min(5, (count + 1) // 2)
    assert len(hard) == min(5, count // 2)
    order = distinct(find)
    assert easy == order[: len(easy)]
    assert hard == order[::-1][: len(hard)]


def points(keys: list[str], labels: list[str] | None = None, splits: list[str] | None = None) -> Points:
    rows = torch.nn.functional.normalize(torch.randn(len(keys), 4, generator=torch.Generator().manual_seed(0)), dim=1)
    none = [""] * len(keys)
    return Points([("run", rows)], keys, labels or none, splits or none, "images")


@pytest.mark.parametrize(
    ("shown", "by"),
    [
        (points([f"{place % 3}/{place}.jpg" for place in range(12)]), "folder"),
        (points([f"{place}.jpg" for place in range(12)]), "cluster of run"),
        (points([f"photos/{place}.jpg" for place in range(12)]), "cluster of run"),
        (points([f"{place}/a.jpg" for place in range(12)]), "cluster of run"),
        (points([f"{place}/a.jpg" for place in range(12)], [str(place) for place in range(12)]), "cluster of run"),
        (points([f"{place}.jpg" for place in range(12)], ["cat", "dog"] * 6), "label"),
        (points([f"{place}.jpg" for place in range(12)], ["cat"] * 12), "cluster of run"),
        (points([f"{s}/{i}.jpg" for i in range(6) for s in ("a", "b")], None, ["train", "test"] * 6), "cluster of run"),
    ],
)
def test_a_map_is_coloured_by_cluster_where_folders_say_nothing(shown, by):
    request = MapRequest(look=FigureRequest(models=("run",)), clusters=3)
    assert colouring(request, shown)[0] == by
