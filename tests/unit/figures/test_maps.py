import pytest
import torch

from viewkin.errors import UserError
from viewkin.figures import maps
from viewkin.figures.canvas import Dot, Line, Text, signs
from viewkin.figures.maps import draw_maps, grouped, tsne, umap


def blobs(count: int = 20) -> torch.Tensor:
    centres = 10 * torch.eye(3, 8).repeat_interleave(count, dim=0)
    return torch.nn.functional.normalize(centres + torch.randn(3 * count, 8), dim=1)


def test_t_sne_keeps_what_is_alike_together_and_repeats_itself():
    rows = blobs()
    points = tsne(rows)
    assert points.shape == (60, 2)
    label = torch.arange(3).repeat_interleave(20)
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    assert (label[distance.argmin(1)] == label).all()
    torch.testing.assert_close(tsne(rows), points)


class Library:
    """Stands for openTSNE and umap-learn: notes what it is asked and gives the first two dimensions."""

    def __init__(self) -> None:
        self.asked: dict[str, object] = {}

    def TSNE(self, **settings: object) -> "Library":  # noqa: N802 (its name there)
        self.asked = settings
        return self

    UMAP = TSNE

    def fit(self, points):
        return points[:, :2].astype("float64")

    fit_transform = fit


def test_the_faster_library_is_taken_where_it_is_installed(monkeypatch):
    library = Library()
    monkeypatch.setattr(maps, "_optional", lambda _: library)
    rows = torch.randn(10, 4)
    torch.testing.assert_close(tsne(rows, seed=3), rows[:, :2])
    assert library.asked == {"perplexity": 3.0, "initialization": "pca", "random_state": 3}
    torch.testing.assert_close(umap(rows, seed=3), rows[:, :2])
    assert library.asked == {"n_neighbors": 9, "metric": "cosine", "random_state": 3, "n_jobs": 1}
    tsne(torch.randn(200, 4))
    assert library.asked["perplexity"] == 30


def test_too_few_points_and_a_missing_library_are_told_in_a_sentence(monkeypatch):
    with pytest.raises(UserError, match="at least 5 images, not 4"):
        tsne(torch.eye(4))
    monkeypatch.setattr(maps, "_optional", lambda _: None)
    with pytest.raises(UserError, match=r"needs umap-learn; install it with pip install 'viewkin\[umap\]'"):
        umap(torch.eye(8))


def test_groups_come_in_the_order_of_their_names_and_numbers_by_size():
    places, entries = grouped(["10", "9", "", "9"])
    assert [name for name, *_ in entries] == ["9", "10", "others"]
    assert places == [1, 0, 2, 0]


def test_of_too_many_groups_the_largest_keep_a_sign():
    names = [f"g{n}" for n in range(signs() + 3)] + [f"g{n}" for n in range(signs())]
    places, entries = grouped(names)
    assert len(entries) == signs() + 1
    assert entries[-1][0] == "others"
    assert places[signs() : signs() + 3] == [signs()] * 3


def test_every_point_is_drawn_in_every_panel_within_its_frame():
    points = torch.randn(12, 2)
    names = ["a"] * 6 + ["b"] * 6
    canvas = draw_maps([("one", points), ("two", 5 * points)], names, by="label")
    dots = [mark for mark in canvas.marks if isinstance(mark, Dot) and mark.opacity < 1]
    assert len(dots) == 24
    assert all(0 < dot.x < canvas.width and 0 < dot.y < canvas.height for dot in dots)
    assert {"one", "two", "a", "b", "coloured by label"} <= {m.text for m in canvas.marks if isinstance(m, Text)}


def test_views_of_one_image_are_joined_to_their_middle():
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0], [5.0, 7.0]])
    canvas = draw_maps([("one", points)], ["a"] * 4, by="label", owner=torch.tensor([0, 0, 1, 1]))
    spokes = [mark for mark in canvas.marks if isinstance(mark, Line) and len(mark.points) == 2]
    assert len(spokes) == 4
    assert spokes[0].points[1] == spokes[1].points[1] != spokes[2].points[1]
    middle = [(a + b) / 2 for a, b in zip(spokes[0].points[0], spokes[1].points[0])]
    assert spokes[0].points[1] == pytest.approx(middle, abs=1e-3)
