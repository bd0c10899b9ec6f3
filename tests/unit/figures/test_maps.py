import importlib.util

import pytest
import torch
from matplotlib.colors import to_hex

from viewkin.figures import maps
from viewkin.figures.maps import assign_groups, draw_maps, tsne, umap
from viewkin.figures.style import COLOURS, max_groups
from viewkin.runtime.errors import UserError


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


def test_too_few_points_a_bad_seed_and_a_missing_library_are_told_in_a_sentence(monkeypatch):
    with pytest.raises(UserError, match="at least 5 images, not 4"):
        tsne(torch.eye(4))
    for seed in (-1, 2**32):
        for place in (tsne, umap):
            with pytest.raises(UserError, match=f"seed is {seed}; it must be 0 to 4294967295"):
                place(torch.eye(8), seed=seed)
    monkeypatch.setattr(maps, "_optional", lambda _: None)
    with pytest.raises(UserError, match=r"needs umap-learn; install it with pip install 'viewkin\[umap\]'"):
        umap(torch.eye(8))


@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")  # umap's, for a part not used here
def test_umap_keeps_what_is_alike_together_or_names_what_to_install():
    rows = blobs()
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(
            UserError, match=r"^A UMAP map needs umap-learn; install it with pip install 'viewkin\[umap\]'"
        ):
            umap(rows)
        return
    points = umap(rows)
    assert points.shape == (60, 2)
    assert points.isfinite().all()
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    label = torch.arange(3).repeat_interleave(20)
    assert (label[distance.argmin(1)] == label).all()
    torch.testing.assert_close(umap(rows), points)
    assert umap(torch.randn(5, 3)).isfinite().all()  # the fewest that it takes


def test_groups_come_in_the_order_of_their_names_and_numbers_by_size():
    places, entries = assign_groups(["10", "9", "", "9"])
    assert [name for name, *_ in entries] == ["9", "10", "others"]
    assert places == [1, 0, 2, 0]


def test_of_too_many_groups_the_largest_keep_a_sign():
    names = [f"g{n}" for n in range(max_groups() + 3)] + [f"g{n}" for n in range(max_groups())]
    places, entries = assign_groups(names)
    assert len(entries) == max_groups() + 1
    assert entries[-1][0] == "others"
    assert places[max_groups() : max_groups() + 3] == [max_groups()] * 3


def test_every_point_is_drawn_in_every_panel_in_its_groups_colour():
    points = torch.randn(12, 2)
    figure = draw_maps([("one", points), ("two", 5 * points)], ["a"] * 6 + ["b"] * 6, by="label")
    figure.draw_without_rendering()
    assert [panel.get_title("left") for panel in figure.axes] == ["one", "two"]
    for panel, places in zip(figure.axes, (points, 5 * points)):
        (dots,) = panel.collections
        torch.testing.assert_close(torch.tensor(dots.get_offsets().tolist()), places)
        assert [to_hex(colour) for colour in dots.get_facecolors()] == [COLOURS[0]] * 6 + [COLOURS[1]] * 6
        (x_low, x_high), (y_low, y_high) = panel.get_xlim(), panel.get_ylim()
        assert all(x_low < x < x_high and y_low < y < y_high for x, y in places.tolist())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert figure.legends[0].get_title().get_text() == "coloured by label"


def test_groups_of_one_colour_have_their_own_markers():
    names = [f"{n}" for n in range(len(COLOURS) + 2)]
    figure = draw_maps([("one", torch.randn(len(names), 2))], names, by="label")
    assert [len(dots.get_offsets()) for dots in figure.axes[0].collections] == [len(COLOURS), 2]


def test_views_of_one_image_are_joined_to_their_middle():
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0], [5.0, 7.0]])
    figure = draw_maps([("one", points)], ["a"] * 4, by="label", owner=torch.tensor([0, 0, 1, 1]))
    spokes = figure.axes[0].collections[0].get_segments()
    ends = [[[0, 0], [1, 0]], [[2, 0], [1, 0]], [[5, 5], [5, 6]], [[5, 7], [5, 6]]]
    assert [spoke.tolist() for spoke in spokes] == ends
