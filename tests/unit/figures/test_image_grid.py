import io

import numpy as np
import torch
from PIL import Image

from viewkin.figures.image_grid import (
    FRAME_WIDTH,
    RIGHT,
    TILE_PITCH,
    TILE_SIDE,
    UNKNOWN,
    WRONG,
    Tile,
    draw_grid,
    negative_tile,
    positive_tile,
)
from viewkin.figures.image_sheet import ImageSheet, rgb, to_pil
from viewkin.figures.segments import draw_segments, overlay
from viewkin.figures.style import COLOURS, PIXELS_PER_UNIT, content_of
from viewkin.ops.neighbours import nearest_others

IMAGE = torch.zeros(3, 8, 8, dtype=torch.uint8)


def test_kin_is_green_when_right_red_and_crossed_when_wrong_grey_when_unknown():
    assert [positive_tile(IMAGE, 1, other, 0.5).frame for other in (1, 2, -1)] == [RIGHT, WRONG, UNKNOWN]
    assert [positive_tile(IMAGE, 1, other, 0.5).text for other in (1, 2, -1)] == ["0.50", "x 0.50", "0.50"]
    assert positive_tile(IMAGE, -1, -1, None) == Tile(IMAGE, "", UNKNOWN)


def test_only_a_false_negative_is_framed():
    assert [negative_tile(IMAGE, 1, other, 0.25).frame for other in (1, 2, -1)] == [WRONG, None, None]
    assert negative_tile(IMAGE, -1, -1, 0.25).frame is None
    assert negative_tile(IMAGE, 1, 1, None).text == "x"


def flat(value: int) -> torch.Tensor:
    return torch.full((3, 8, 8), value, dtype=torch.uint8)


def where(pixels: np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    """Row and column of every pixel of a colour: (n, 2)."""
    return np.argwhere((pixels == np.array(colour)).all(-1))


def test_a_grid_has_every_image_and_blocks_beside_each_other():
    blocks = [("one", [[Tile(flat(20)), Tile(flat(30))], [Tile(flat(40))]]), ("two", [[Tile(flat(50))], []])]
    sheet = draw_grid([Tile(flat(60), "first"), Tile(flat(70), "second")], blocks, "note")
    middle = {value: where(sheet.pixels, (value,) * 3).mean(0) for value in (20, 30, 40, 50, 60, 70)}
    assert all(len(where(sheet.pixels, (value,) * 3)) == (PIXELS_PER_UNIT * TILE_SIDE) ** 2 for value in middle)
    assert middle[60][1] < middle[20][1] < middle[30][1] < middle[50][1]
    assert middle[60][0] == middle[20][0] == middle[30][0] == middle[50][0] < middle[40][0] == middle[70][0]
    at = {text: (x, y) for x, y, text, *_ in sheet.texts}
    assert at["first"][0] < at["one"][0] < at["two"][0] < sheet.width
    assert at["first"][1] < at["second"][1] < at["note"][1] < sheet.height


def test_a_frame_surrounds_its_image_alone():
    sheet = draw_grid([Tile(flat(60))], [("one", [[positive_tile(flat(20), 1, 1, 0.5), Tile(flat(30))]])])
    places = where(sheet.pixels, rgb(RIGHT))
    assert len(places) == PIXELS_PER_UNIT**2 * ((TILE_SIDE + 2 * FRAME_WIDTH) ** 2 - TILE_SIDE**2)
    assert np.allclose(places.mean(0), where(sheet.pixels, (20, 20, 20)).mean(0))
    assert np.ptp(places[:, 1]) < PIXELS_PER_UNIT * TILE_PITCH


def test_a_picture_of_a_board_has_its_pixels_and_its_words():
    sheet = ImageSheet(40, 30)
    sheet.paste(to_pil(flat(20)), 5, 10, 8)
    found = np.asarray(Image.open(io.BytesIO(content_of(sheet.figure(), "png"))).convert("RGB"))
    assert np.array_equal(found, sheet.pixels)
    sheet.write(20, 10, "word")
    written = np.asarray(Image.open(io.BytesIO(content_of(sheet.figure(), "png"))).convert("RGB"))
    changed = np.argwhere((written != found).any(-1))
    assert len(changed) > 20
    assert abs(changed[:, 0].mean() - PIXELS_PER_UNIT * 10) < 6
    assert changed[:, 1].min() >= PIXELS_PER_UNIT * 20


def test_large_images_are_scaled_down_smoothly():
    stripes = torch.zeros(3, 200, 200, dtype=torch.uint8)
    stripes[:, :, 1::4] = 255  # a quarter of the columns: their mean is 64
    sheet = ImageSheet(30, 30)
    sheet.paste(to_pil(stripes), 0, 0, 25)
    assert abs(sheet.pixels[10:40, 10:40].astype(int) - 64).max() < 12


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
        expected = 0.45 * 255 + 0.55 * np.array(rgb(COLOURS[component]))
        assert np.abs(found[row, column] - expected).max() <= 1


def test_the_key_names_the_components_in_use():
    sheet = draw_segments([IMAGE, IMAGE], [torch.zeros(2, 2).long(), torch.full((2, 2), 3)], "map amdim/7")
    assert [text for *_, text, _, _ in sheet.texts if text.startswith("component ")] == ["component 1", "component 4"]
    assert all(len(where(sheet.pixels, rgb(COLOURS[component]))) for component in (0, 3))


def test_files_are_named_below_their_images_and_a_long_name_keeps_its_end():
    rows = [[Tile(flat(20), "0.99", name="holiday-in-the-mountains-0017.jpg")], [Tile(flat(30), name="2.jpg")]]
    sheet = draw_grid([Tile(flat(60), name="first.jpg"), Tile(flat(70))], [("one", rows)])
    at = {text: y for _, y, text, *_ in sheet.texts}
    (long,) = [text for text in at if text.endswith("0017.jpg")]
    assert long.startswith("...")
    assert {"first.jpg", "2.jpg"} <= at.keys()
    assert at["0.99"] < at[long] < at["2.jpg"] < sheet.height
