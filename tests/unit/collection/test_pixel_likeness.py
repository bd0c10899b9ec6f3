"""Claims about the likeness of pixels: copies, parts and other pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from viewkin.collection.pixel_likeness import (
    SIDE,
    agreement,
    grouped,
    likeness_of_pairs,
    normalised,
    resized,
)


def scene(seed: int, side: int = 96) -> torch.Tensor:
    """A picture with structure at several scales, (side, side) grey levels."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        interpolate(torch.rand(1, 1, n, n, generator=generator), (side, side), mode="bicubic")[0, 0] * 255 / n**0.4
        for n in (4, 9, 20)
    ]
    return sum(layers, torch.zeros(side, side)).clamp(0, 255)


def small(picture: torch.Tensor) -> torch.Tensor:
    return resized(picture.unsqueeze(0), SIDE)[0]


def likeness(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(likeness_of_pairs(torch.stack([first, second]), torch.tensor([[0, 1]]))[0])


def test_a_picture_is_like_itself_and_like_its_copies_and_not_like_others():
    one, noise = scene(0), torch.randn(96, 96, generator=torch.Generator().manual_seed(9))
    assert likeness(small(one), small(one)) > 0.93
    assert likeness(small(one), small((one + 4 * noise).clamp(0, 255))) > 0.9
    assert likeness(small(one), small(0.6 * one + 40)) > 0.85  # contrast and light do not count
    assert max(likeness(small(one), small(scene(seed))) for seed in range(1, 8)) < 0.6


@pytest.mark.parametrize(("left", "top"), [(0, 0), (14, 3), (7, 7), (5, 14)])
def test_a_crop_is_like_its_picture_in_either_order(left, top):
    one = scene(1)
    crop = small(one[top : top + 82, left : left + 82])
    assert likeness(small(one), crop) > 0.8
    assert likeness(crop, small(one)) > 0.8
    assert float(agreement(small(one), crop.unsqueeze(0), (32,))[0]) < 0.9  # only at the right scale and place


def test_flat_pictures_are_like_none():
    noise = torch.randn(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.3 + 100
    assert likeness(noise[0], noise[1]) < 0.5
    assert likeness(torch.zeros(SIDE, SIDE), torch.zeros(SIDE, SIDE)) == 0


def test_agreement_is_the_best_correlation_over_all_windows():
    generator = torch.Generator().manual_seed(2)
    whole, part = torch.rand(2, 16, 16, generator=generator) * 255
    found = float(agreement(whole, part.unsqueeze(0), (16, 14))[0])
    best = -1.0
    for side in (16, 14):
        template = normalised(resized(part.unsqueeze(0), side).flatten(1))[0].numpy()
        for top in range(17 - side):
            for left in range(17 - side):
                window = whole[top : top + side, left : left + side].flatten().numpy().astype(np.float64)
                window -= window.mean()
                length = np.linalg.norm(window) + 0.5 * side
                best = max(best, float(template @ window / length))
    assert found == pytest.approx(best, abs=1e-5)


def test_each_number_is_given_with_its_places():
    found = {number: places.tolist() for number, places in grouped(torch.tensor([3, 1, 3, 2, 1]))}
    assert found == {1: [1, 4], 2: [3], 3: [0, 2]}
    assert list(grouped(torch.zeros(0, dtype=torch.int64))) == []


def test_each_pair_has_its_own_likeness():
    pictures = torch.stack([small(scene(0)), small(scene(3)), small(scene(0)[6:88, 6:88])])
    pairs = torch.tensor([[0, 1], [0, 2], [1, 2]])
    values = likeness_of_pairs(pictures, pairs).tolist()
    assert values == pytest.approx([likeness(pictures[a], pictures[b]) for a, b in pairs.tolist()], abs=1e-6)
    assert values[1] > 0.8 > max(values[0], values[2])


def test_pictures_that_share_light_and_background_are_told_apart_by_their_details():
    generator = torch.Generator().manual_seed(5)
    light = interpolate(torch.rand(1, 1, 3, 3, generator=generator), (96, 96), mode="bicubic")[0, 0] * 160
    one, other = (light + interpolate(torch.rand(1, 1, 24, 24, generator=generator), (96, 96))[0, 0] * 60 for _ in "ab")
    assert float(agreement(small(one), small(other).unsqueeze(0), (SIDE,))[0]) > 0.8
    assert likeness(small(one), small(other)) < 0.6
    assert likeness(small(one), small(one[6:88, 6:88])) > 0.8
