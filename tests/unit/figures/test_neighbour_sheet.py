import io

import numpy as np
import pytest
import torch
from PIL import Image

from viewkin.errors import UserError
from viewkin.figures.neighbours import FRAME, RIGHT, UNKNOWN, WRONG, neighbour_sheet

IMAGES = torch.stack([torch.full((3, 8, 8), 20 * place, dtype=torch.uint8) for place in range(10)])
QUERIES = torch.tensor([0, 5])
NEIGHBOURS = torch.tensor([[1, 2, 3], [6, 7, 8]])
COSINE = torch.tensor([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]])


def pixels(sheet: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(sheet)))


def count(sheet: bytes, colour: tuple[int, int, int]) -> int:
    return int((pixels(sheet) == np.array(colour)).all(-1).sum())


def frame_pixels(tile: int) -> int:
    return (tile + 2 * FRAME) ** 2 - tile**2


def test_the_sheet_is_a_png_that_holds_every_image():
    sheet = neighbour_sheet(IMAGES, QUERIES, NEIGHBOURS, COSINE, tile=40)
    assert sheet.startswith(b"\x89PNG")
    for place in (0, 1, 2, 3, 5, 6, 7, 8):
        assert count(sheet, (20 * place,) * 3) >= 40 * 40
    assert count(sheet, (20 * 4,) * 3) < 40 * 40


def test_neighbours_stand_right_of_their_query_nearest_first():
    picture = pixels(neighbour_sheet(IMAGES, QUERIES, NEIGHBOURS, COSINE, tile=40))
    where = {place: np.argwhere((picture == 20 * place).all(-1)).mean(0) for place in (1, 2, 3, 5, 6, 7, 8)}
    assert where[1][1] < where[2][1] < where[3][1]
    assert where[5][1] < where[6][1] < where[7][1] < where[8][1]
    assert where[3][0] < where[6][0]


def test_frames_are_green_for_the_same_class_and_red_for_another():
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 0, 0, 0])
    sheet = neighbour_sheet(IMAGES, QUERIES, NEIGHBOURS, COSINE, labels, tile=40)
    assert count(sheet, RIGHT) == 3 * frame_pixels(40)
    assert 3 * frame_pixels(40) <= count(sheet, WRONG) < 4 * frame_pixels(40)  # its caption is red too
    assert count(sheet, UNKNOWN) == 0


def test_frames_are_grey_without_labels():
    sheet = neighbour_sheet(IMAGES, QUERIES, NEIGHBOURS, COSINE, tile=40)
    assert count(sheet, UNKNOWN) == 6 * frame_pixels(40)
    assert count(sheet, RIGHT) == count(sheet, WRONG) == 0


def test_an_unlabelled_image_has_a_grey_frame():
    labels = torch.tensor([0, -1, 0, 0, 1, -1, -1, -1, -1, 1])
    sheet = neighbour_sheet(IMAGES, QUERIES, NEIGHBOURS, COSINE, labels, tile=40)
    assert count(sheet, RIGHT) == 2 * frame_pixels(40)
    assert count(sheet, UNKNOWN) == 4 * frame_pixels(40)


def test_the_cosine_is_part_of_the_picture():
    first = pixels(neighbour_sheet(IMAGES, QUERIES, NEIGHBOURS, COSINE))
    second = pixels(neighbour_sheet(IMAGES, QUERIES, NEIGHBOURS, COSINE - 0.5))
    assert first.shape == second.shape
    assert (first != second).any()


def test_large_images_are_scaled_down_smoothly():
    stripes = torch.zeros(2, 3, 200, 200, dtype=torch.uint8)
    stripes[:, :, :, 1::4] = 255  # a quarter of the columns: their mean is 64
    sheet = pixels(neighbour_sheet(stripes, torch.tensor([0]), torch.tensor([[1]]), torch.ones(1, 1), tile=50))
    inside = sheet[22 + FRAME + 10 : 22 + FRAME + 40, 8 + FRAME + 10 : 8 + FRAME + 40]
    assert abs(inside.astype(int) - 64).max() < 12


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"images": IMAGES.float()}, "uint8"),
        ({"images": IMAGES[:, :1]}, "uint8"),
        ({"similarity": COSINE[:, :2]}, "one row of both"),
        ({"query_index": torch.tensor([0])}, "one row of both"),
        ({"labels": torch.tensor([0, 1])}, "labels"),
    ],
)
def test_shapes_that_do_not_fit_are_one_sentence(change, word):
    given = {"images": IMAGES, "query_index": QUERIES, "neighbour_index": NEIGHBOURS, "similarity": COSINE} | change
    with pytest.raises(UserError, match=word):
        neighbour_sheet(**given)
