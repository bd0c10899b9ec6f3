import numpy as np
import torch

from viewkin.figures.canvas import COLOURS, Picture, Text
from viewkin.figures.grids import Tile, draw_grid, kin_tile, stranger_tile
from viewkin.figures.neighbours import RIGHT, UNKNOWN, WRONG, nearest_others
from viewkin.figures.segments import draw_segments, overlay

IMAGE = torch.zeros(3, 8, 8, dtype=torch.uint8)


def test_kin_is_green_when_right_red_and_crossed_when_wrong_grey_when_unknown():
    assert [kin_tile(IMAGE, 1, other, 0.5).frame for other in (1, 2, -1)] == [RIGHT, WRONG, UNKNOWN]
    assert [kin_tile(IMAGE, 1, other, 0.5).text for other in (1, 2, -1)] == ["0.50", "x 0.50", "0.50"]
    assert kin_tile(IMAGE, -1, -1, None) == Tile(IMAGE, "", UNKNOWN)


def test_only_a_false_negative_is_framed():
    assert [stranger_tile(IMAGE, 1, other, 0.25).frame for other in (1, 2, -1)] == [WRONG, None, None]
    assert stranger_tile(IMAGE, -1, -1, 0.25).frame is None
    assert stranger_tile(IMAGE, 1, 1, None).text == "x"


def test_a_grid_has_every_image_and_blocks_beside_each_other():
    blocks = [("one", [[Tile(IMAGE, "a")] * 3, [Tile(IMAGE)]]), ("two", [[Tile(IMAGE, "b")], []])]
    canvas = draw_grid([Tile(IMAGE, "first"), Tile(IMAGE, "second")], blocks, "note")
    assert sum(isinstance(mark, Picture) for mark in canvas.marks) == 2 + 3 + 1 + 1
    at = {mark.text: (mark.x, mark.y) for mark in canvas.marks if isinstance(mark, Text)}
    assert at["first"][0] < at["one"][0] < at["two"][0] < canvas.width
    assert at["first"][1] < at["second"][1] < at["note"][1] < canvas.height


def test_the_nearest_leave_out_the_image_itself_even_among_duplicates():
    rows = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), dim=1)
    similarity, index = nearest_others(rows, torch.tensor([1, 3]), 2)
    assert index.tolist() == [[0, 2], [2, 0]]
    assert similarity[0, 0] == 1
    assert nearest_others(rows, torch.tensor([0]), 9)[1].tolist() == [[1, 2, 3]]


def test_an_overlay_colours_each_part_by_its_component():
    found = np.asarray(overlay(torch.full((3, 32, 32), 255, dtype=torch.uint8), torch.tensor([[0, 1], [2, 0]])))
    assert found.shape == (128, 128, 3)
    for (row, column), component in {(10, 10): 0, (10, 120): 1, (120, 10): 2, (120, 120): 0}.items():
        expected = 0.45 * 255 + 0.55 * np.array(COLOURS[component])
        assert np.abs(found[row, column] - expected).max() <= 1


def test_the_key_names_the_components_in_use():
    canvas = draw_segments([IMAGE, IMAGE], [torch.zeros(2, 2).long(), torch.full((2, 2), 3)], "map amdim/7")
    texts = [mark.text for mark in canvas.marks if isinstance(mark, Text)]
    assert [text for text in texts if text.startswith("component ")] == ["component 1", "component 4"]
