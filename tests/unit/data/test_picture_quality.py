"""Claims about measures of a picture's quality, and the limits that follow a set."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFilter

from viewkin.collection.quality import BLURRED, DARK, issues_of
from viewkin.data.picture_quality import PictureQuality, blocks_of, blur_of, picture_quality


def picture(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A picture of shapes with sharp edges before a smooth background."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(60, 200, (3, 4, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.array(image)
    for _ in range(40):
        x, y = random.integers(0, size[0] - 8), random.integers(0, size[1] - 8)
        w, h = random.integers(4, 30, 2)
        pixels[y : y + h, x : x + w] = random.integers(0, 256, 3)
    return Image.fromarray(pixels)


def measured(image: Image.Image) -> PictureQuality:
    found = picture_quality(image)
    assert found is not None
    return found


def darkened(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * 0.15).astype(np.uint8))


def overexposed(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image) * 1.6 + 130.0, 0, 255).astype(np.uint8))


def test_blur_grows_with_blurring_and_does_not_depend_on_light():
    image = picture(0)
    values = [measured(image.filter(ImageFilter.GaussianBlur(radius))).blur or 0 for radius in (0, 1, 2, 4)]
    assert values == sorted(values)
    assert values[0] < BLURRED < values[2]
    assert measured(Image.fromarray((np.asarray(image) * 0.6 + 50).astype(np.uint8))).blur == pytest.approx(
        values[0], abs=0.03
    )


def test_a_sharp_thing_before_a_blurred_background_is_sharp():
    image = picture(1).filter(ImageFilter.GaussianBlur(5))
    image.paste(picture(2).crop((0, 0, 40, 40)), (40, 30))
    assert (measured(image).blur or 1) < BLURRED


def test_a_flat_picture_is_not_judged_by_its_blur():
    noise = np.random.default_rng(0).normal(0, 1, (90, 120, 3)) + 120
    found = measured(Image.fromarray(noise.astype(np.uint8)))
    assert found.blur is None
    assert found.contrast < 2
    assert blur_of(np.full((64, 64), 9.0, np.float32)) is None


def test_light_and_shadow_are_percentiles_of_the_grey_levels():
    levels = np.repeat(np.arange(100, dtype=np.uint8)[:, None] + 100, 100, 1)
    found = measured(Image.fromarray(levels))
    assert found.light == pytest.approx(100 + 94, abs=1)
    assert found.shadow == pytest.approx(100 + 5, abs=1)


def test_files_streams_and_pictures_give_the_same_and_what_is_no_picture_gives_none(tmp_path):
    sink = BytesIO()
    picture(3).save(sink, "PNG")
    (tmp_path / "a.png").write_bytes(sink.getvalue())
    values = {picture_quality(tmp_path / "a.png"), picture_quality(BytesIO(sink.getvalue())), measured(picture(3))}
    assert len(values) == 1
    assert picture_quality(BytesIO(b"nothing")) is None


def test_blocks_cover_the_square_once():
    grey = np.arange(49, dtype=np.float32).reshape(7, 7)
    assert sorted(np.concatenate([block.ravel() for block in blocks_of(grey, 3)])) == list(range(49))
    assert len(blocks_of(grey, 3)) == 9


def listed(images: list[Image.Image], width: list[float] | None = None) -> dict[str, list[int]]:
    sizes = np.array([image.size for image in images], dtype=np.float64)
    found: dict[str, list[int]] = {}
    for one in issues_of([picture_quality(image) for image in images], sizes[:, 0], sizes[:, 1]):
        found.setdefault(one.issue, []).append(one.row)
    return found


def test_planted_pictures_are_found_and_clean_ones_are_not():
    clean = [picture(seed) for seed in range(60)]
    planted = {
        "blurred": [picture(seed).filter(ImageFilter.GaussianBlur(3)) for seed in range(100, 105)],
        "dark": [darkened(picture(seed)) for seed in range(105, 110)],
        "bright": [overexposed(picture(seed)) for seed in range(110, 115)],
        "low information": [Image.new("RGB", (120, 90), (140, 120, 90 + n)) for n in range(5)],
        "odd aspect": [picture(seed, (400, 90)) for seed in range(115, 120)],
        "tiny": [picture(seed, (30, 22)) for seed in range(120, 125)],
    }
    images = clean + [image for some in planted.values() for image in some]
    found, start = listed(images), len(clean)
    for issue, some in planted.items():
        assert {*range(start, start + len(some))} <= {*found[issue]}, issue
        start += len(some)
    alarms = {row for rows in found.values() for row in rows if row < len(clean)}
    assert len(alarms) <= 0.02 * len(clean)
    flat = {60 + 15 + n for n in range(5)}
    assert not flat & {*found["blurred"]}


def test_limits_follow_a_set_that_is_dark_throughout():
    night = [darkened(picture(seed)) for seed in range(40)]
    assert all(measured(image).light < DARK for image in night)
    found = listed([*night, Image.fromarray((np.asarray(night[0]) * 0.05).astype(np.uint8))])
    assert found["dark"] == [40]


def test_a_set_of_panoramas_is_not_odd():
    wide = [picture(seed, (300 + seed, 60)) for seed in range(30)]
    assert "odd aspect" not in listed(wide)
    assert listed([*wide, picture(90, (100, 90))])["odd aspect"] == [30]


def test_unreadable_pictures_and_unknown_sizes_are_passed_over():
    seen = [measured(picture(seed)) for seed in range(5)]
    assert issues_of([*seen, None], np.array([120.0] * 5 + [np.nan]), np.array([90.0] * 5 + [np.nan])) == []
    assert issues_of([None], np.array([np.nan]), np.array([np.nan])) == []
