"""Every kind of image becomes the right RGB square, and what is no image says why."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as oracle

from viewkin.data.decode import central_square, decode, shape


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    stream.seek(0)
    return stream


def pixels(stream: object, size: int = 4) -> np.ndarray:
    got = decode(stream, size)
    assert isinstance(got, np.ndarray), got
    assert got.shape == (3, size, size)
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    return got


def smooth_photo(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width] / min(width, height)
    channels = [np.sin(5 * x + 2 * y), np.cos(4 * y), np.sin(3 * x * y)]
    return Image.fromarray((np.stack(channels, -1) * 100 + 128).astype(np.uint8))


def test_rgb_of_the_stored_size_is_kept_bit_for_bit():
    values = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(values))), values.transpose(2, 0, 1))


def test_grey_fills_all_channels():
    values = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(values))), np.stack([values] * 3))


def test_sixteen_bit_grey_spans_the_whole_range():
    values = np.array([[0, 257, 51400, 65535]] * 4, dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        got = pixels(saved(Image.fromarray(values), kind))
        np.testing.assert_array_equal(got[0, 0], [0, 1, 200, 255])  # n * 257 is n twice over


def test_float_grey_in_zero_to_one_spans_the_whole_range():
    values = np.array([[0.0, 0.2, 0.6, 1.0]] * 4, dtype=np.float32)
    np.testing.assert_array_equal(pixels(saved(Image.fromarray(values), "TIFF"))[1, 0], [0, 51, 153, 255])


def test_palette_becomes_its_colours():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert pixels(saved(image))[:, 2, 2].tolist() == [200, 100, 50]


def test_transparency_is_laid_on_white():
    half = Image.new("RGBA", (4, 4), (200, 0, 0, 51))  # 0.2 of the colour, 0.8 of white
    assert pixels(saved(half))[:, 1, 1].tolist() == [244, 204, 204]
    grey = Image.new("LA", (4, 4), (100, 0))
    assert pixels(saved(grey))[:, 1, 1].tolist() == [255, 255, 255]


def test_transparent_palette_entry_is_laid_on_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((3, 3), 1)
    got = pixels(saved(image, "PNG", transparency=0))
    assert got[:, 0, 0].tolist() == [255, 255, 255]
    assert got[:, 3, 3].tolist() == [200, 100, 50]


def test_bilevel_is_black_and_white():
    image = Image.new("1", (4, 4), 1)
    assert pixels(saved(image)).min() == 255


def test_cmyk_jpeg_keeps_its_hue():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink: red
    red, green, blue = pixels(saved(image, "JPEG", quality=95), 16)[:, 8, 8].tolist()
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_undone(orientation: int, kind: str):
    # EXIF 2.3: value -> where row 0 and column 0 of the stored picture lie in the upright one.
    stored_from_upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    upright = np.zeros((16, 16, 3), dtype=np.uint8)
    upright[:8, :8], upright[:8, 8:], upright[8:, :8] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(stored_from_upright[orientation](upright)))
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    got = pixels(saved(stored, kind, exif=exif.tobytes(), **options), 16).transpose(1, 2, 0)
    assert np.abs(got[[4, 4, 12], [4, 12, 4]].astype(int) - upright[[4, 4, 12], [4, 12, 4]]).max() < 12


def test_broken_exif_does_not_lose_the_image():
    stream = saved(Image.new("RGB", (4, 4), (9, 8, 7)), "PNG", exif=b"Exif\x00\x00nonsense")
    assert pixels(stream)[:, 0, 0].tolist() == [9, 8, 7]


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (513, 77), (64, 64), (20, 31)])
def test_squares_agree_with_torchvision_resize_and_centre_crop(width: int, height: int):
    photo, size = smooth_photo(width, height), 32
    resized = oracle.resize(photo, size, oracle.InterpolationMode.BICUBIC, antialias=True)
    expected = np.asarray(oracle.center_crop(resized, [size, size])).astype(int)
    got = central_square(photo, size).transpose(1, 2, 0).astype(int)
    # torchvision rounds the longer side and the crop to whole pixels: up to half a pixel of shift, and the rim.
    assert np.abs(got - expected)[2:-2, 2:-2].mean() < 3


@pytest.mark.parametrize("side", [300, 64, 21])
def test_squares_are_those_of_pillows_bicubic_filter_within_four_grey_levels(side: int):
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    photo = Image.fromarray(noise)
    expected = np.asarray(photo.resize((32, 32), Image.Resampling.BICUBIC)).astype(int)
    difference = np.abs(central_square(photo, 32).transpose(1, 2, 0).astype(int) - expected)
    assert difference.max() <= 4
    assert difference.mean() < 0.1


def test_large_jpeg_at_reduced_scale_agrees_with_full_decoding():
    photo = smooth_photo(1024, 768)
    fast = pixels(saved(photo, "JPEG", quality=95), 64).astype(int)
    full = central_square(photo, 64).astype(int)
    assert np.abs(fast - full).max() <= 6


def test_large_jpeg_is_not_decoded_at_full_scale(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr("viewkin.data.decode.to_rgb", lambda image, _: seen.append(image.size) or image.convert("RGB"))
    pixels(saved(smooth_photo(1024, 768), "JPEG"), 64)
    assert seen == [(128, 96)]  # an eighth: still more than five quarters of 64


def test_first_frame_of_an_animation_is_taken():
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    stream = saved(first, "GIF", save_all=True, append_images=[second])
    assert pixels(stream)[:, 0, 0].tolist() == [255, 0, 0]


def png_with_a_bad_checksum() -> bytes:
    data = bytearray(saved(smooth_photo(16, 16)).getvalue())
    at = data.index(b"IDAT")
    data[at + 10] ^= 0xFF
    return bytes(data)


def huge_png() -> bytes:
    def part(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", b"") + part(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an image"),
        (b"this is text", "not an image"),
        (saved(smooth_photo(64, 64), "JPEG").getvalue()[:-50], "truncated"),
        (saved(smooth_photo(64, 64)).getvalue()[:1000], ""),
        (saved(smooth_photo(64, 64), "WEBP").getvalue()[:200], ""),
        (png_with_a_bad_checksum(), ""),
        (huge_png(), "limit"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, said: str):
    got = decode(io.BytesIO(content), 8)
    assert isinstance(got, str)
    assert said in got
    assert "object at" not in got


def test_a_missing_file_says_why(tmp_path: Path):
    assert "No such file" in str(decode(tmp_path / "gone.png", 8))


def test_shape_reads_the_header_only(tmp_path: Path):
    path = tmp_path / "cut.png"
    path.write_bytes(saved(smooth_photo(50, 30)).getvalue()[:200])
    assert shape(path) == (50, 30)
    assert shape(io.BytesIO(b"text")) is None


def test_reading_leaves_the_global_numbers_alone():
    before = torch.random.get_rng_state()
    pixels(saved(smooth_photo(64, 48), "JPEG"))
    assert torch.equal(before, torch.random.get_rng_state())
