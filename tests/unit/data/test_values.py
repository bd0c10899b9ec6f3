"""Images of more than 8 bits: one range for a set, chosen by its values, kept and said."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from viewkin.data.dataset import Dataset
from viewkin.data.decode import decode
from viewkin.data.source import Source
from viewkin.runtime.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path_factory.mktemp("cache")))


def pixels(source: Source) -> np.ndarray:
    return source.images(torch.arange(len(source))).numpy()


def ramp(low: float, high: float, kind: type, side: int = 32) -> np.ndarray:
    return np.linspace(low, high, side * side).reshape(side, side).astype(kind)


def saved(folder: Path, *images: np.ndarray, ending: str = "tif") -> Path:
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.{ending}")
    return folder


def deep_png(values: np.ndarray) -> bytes:
    """Write 16-bit colours (H, W, C) as PNG, which Pillow cannot."""

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


@pytest.mark.parametrize(
    ("low", "high", "kind", "ending"),
    [
        (0, 4095, np.uint16, "png"),
        (0, 4095, np.uint16, "tif"),
        (30_000, 34_000, np.uint16, "tif"),
        (-1000, 3000, np.int32, "tif"),
        (0, 2_000_000, np.int32, "tif"),
        (-1.5, 2.5, np.float32, "tif"),
        (0, 0.001, np.float32, "tif"),
        (1e6, 3e6, np.float32, "tif"),
    ],
)
@pytest.mark.parametrize("limit", [0, 2**30])
def test_no_range_is_flattened(tmp_path: Path, low: float, high: float, kind: type, ending: str, limit: int):
    place = saved(tmp_path / "set", ramp(low, high, kind), ramp(low, (low + high) / 2, kind), ending=ending)
    source = Dataset(place).source(memory_limit=limit, progress=False)
    first, second = pixels(source)
    assert (first.min(), first.max()) == (0, 255)
    assert len(np.unique(first)) > 200
    assert 110 < second.max() < 145, "both are shown by one range"
    assert source.value_range is not None
    assert abs(source.value_range[0] - low) < 0.01 * (high - low)
    assert any("Images of more than 8 bits: the values" in note for note in source.notes)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (ramp(0, 65535, np.uint16), (0, 65535)),
        (ramp(0, 40_000, np.uint16), (0, 65535)),
        (ramp(0, 250, np.uint16), (0, 255)),
        (ramp(0, 0.9, np.float32), (0, 1)),
        (ramp(0, 255, np.float32), (0, 255)),
        (ramp(0, 255, np.int32), (0, 255)),
        (np.full((32, 32), 7.5, np.float32), (7.5, 8.5)),
    ],
)
def test_usual_ranges_are_kept(tmp_path: Path, values: np.ndarray, expected: tuple[float, float]):
    assert Dataset(saved(tmp_path / "set", values, values)).source(progress=False).value_range == expected


def test_few_bright_dots_do_not_choose_the_range(tmp_path: Path):
    image = ramp(0, 4095, np.uint16, 64)
    image[0, 0] = 65535
    low, high = Dataset(saved(tmp_path / "set", image, image)).source(progress=False).value_range or (0, 0)
    assert 0 <= low < 50
    assert 4000 < high < 4100


def test_numbers_that_are_none_are_black_or_white(tmp_path: Path):
    image = ramp(0, 10, np.float32)
    image[0, :3] = np.nan, np.inf, -np.inf
    source = Dataset(saved(tmp_path / "set", image, image)).source(progress=False)
    assert pixels(source)[0, 0, 0, :3].tolist() == [0, 255, 0]


def test_a_setting_fixes_the_range_and_a_cache_keeps_it_apart(tmp_path: Path):
    place = saved(tmp_path / "set", ramp(0, 4095, np.uint16), ramp(0, 4095, np.uint16))
    chosen, fixed = Dataset(place), Dataset(place, value_range=(0, 16380))
    for _ in range(2):
        assert pixels(chosen.source(progress=False)).max() == 255
        assert pixels(fixed.source(progress=False)).max() == 64
        assert fixed.source(progress=False).value_range == (0, 16380)
    again = chosen.source(value_range=(0.0, 8190.0), progress=False)
    assert pixels(again).max() in (127, 128)
    with pytest.raises(UserError, match="give a lower and a higher number"):
        Dataset(place, value_range=(5, 5))


def test_rare_images_of_more_bits_are_found_and_ordinary_ones_left_as_they_are(tmp_path: Path):
    plain = [np.full((32, 32), i % 250, np.uint8) for i in range(40)]
    place = saved(tmp_path / "set", *plain, ending="png")
    Image.fromarray(ramp(0, 4095, np.uint16)).save(place / "z.png")
    source = Dataset(place).source(progress=False)
    assert source.value_range is not None
    assert source.value_range[1] > 4000
    order = [int(Path(key).stem) for key in source.keys[:-1]]
    assert pixels(source)[:-1, 0, 0, 0].tolist() == order
    assert (pixels(source)[-1].min(), pixels(source)[-1].max()) == (0, 255)


def test_ordinary_images_have_no_range_whatever_is_set(tmp_path: Path):
    place = saved(tmp_path / "set", *[np.full((8, 8), i, np.uint8) for i in (3, 9)], ending="png")
    for dataset in (Dataset(place), Dataset(place, value_range=(0, 4095))):
        source = dataset.source(progress=False)
        assert source.value_range is None
        assert pixels(source)[:, 0, 0, 0].tolist() == [3, 9]
        assert not any("8 bits" in note for note in source.notes)


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_sixteen_bits_keep_their_lower_byte(tmp_path: Path, channels: int):
    (tmp_path / "set").mkdir()
    values = np.repeat(ramp(0, 4095, np.uint16)[..., None], channels, axis=2)
    values[..., 3:] = 65535
    for i in range(2):
        (tmp_path / "set" / f"{i}.png").write_bytes(deep_png(values))
    source = Dataset(tmp_path / "set").source(progress=False)
    assert len(np.unique(pixels(source)[0, 1])) > 200
    values[..., :3] = ramp(0, 65535, np.uint16)[..., None]
    full = decode(io.BytesIO(deep_png(values)), 32, value_range=(0.0, 65535.0))
    assert np.array_equal(full[0], values[..., 0] >> 8), "of the whole range the upper byte is kept, as Pillow reads it"


def test_pictures_in_memory_are_told_apart_by_their_values(tmp_path: Path):
    flat = [Image.fromarray(ramp(0, top, np.float32)) for top in (0.001, 0.002)]
    dataset = Dataset(flat)
    assert len(set(dataset.content_ids())) == 2
    assert pixels(dataset.source(progress=False))[0].max() in range(120, 136)
