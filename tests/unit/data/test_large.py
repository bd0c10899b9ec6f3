"""Very large images, bombs, and files that Pillow alone would not read."""

import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from viewkin.data import decode as decoding
from viewkin.data import large
from viewkin.data.decode import central_square, decode, shape
from viewkin.data.png_bands import SIGNATURE, bands, chunk

MEASURE = """
import resource, sys
from pathlib import Path
from viewkin.data.decode import decode
decode(Path(sys.argv[1]), 256)  # what reading needs in any case
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
got = decode(Path(sys.argv[2]), 256)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, got if isinstance(got, str) else got.mean())
"""


def measured(folder: Path, path: Path) -> tuple[int, str]:
    """Decode an image in a process of its own: KiB that it took at most, and what came of it."""
    small = folder / "small.png"
    Image.new("RGB", (300, 300)).save(small)
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, str(small), str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stderr == ""
    memory, _, result = said.stdout.strip().partition(" ")
    return int(memory), result


def constant_png(width: int, height: int, bits: int, colour: int) -> bytes:
    """Write a PNG of zeros without holding its pixels."""
    import struct

    channels = {0: 1, 2: 3, 3: 1}[colour]
    row = bytes(1 + (width * bits * channels + 7) // 8)
    squeeze = zlib.compressobj(9)
    body = b"".join(squeeze.compress(row) for _ in range(height)) + squeeze.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    return SIGNATURE + header + palette + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("bits", "colour"), [(1, 0), (1, 3), (2, 3)])
def test_a_bomb_costs_little_memory_and_one_sentence(tmp_path: Path, bits: int, colour: int):
    path = tmp_path / "bomb.png"
    path.write_bytes(constant_png(13_312, 13_312, bits, colour))
    memory, said = measured(tmp_path, path)
    assert memory < 512 * 1024
    assert "13,312 x 13,312 pixels" in said
    assert "limit" in said


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP"])
def test_bombs_of_other_kinds(tmp_path: Path, kind: str):
    path = tmp_path / "bomb"
    side = 13_312
    options = {"TIFF": {"compression": "tiff_adobe_deflate"}, "WEBP": {"lossless": True, "quality": 0, "method": 0}}
    Image.new("1" if kind == "TIFF" else "L", (side, side)).save(path, kind, **options.get(kind, {}))
    memory, _ = measured(tmp_path, path)
    assert memory < 512 * 1024


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_honest_image_of_200_megapixels_is_read(tmp_path: Path, mode: str):
    path = tmp_path / "map.png"
    Image.new(mode, (20_000, 10_000), 90 if mode == "L" else (90, 90, 90)).save(path, compress_level=1)
    memory, mean = measured(tmp_path, path)
    assert memory < 512 * 1024
    assert float(mean) == 90


def photo(width: int, height: int, mode: str) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width] / min(width, height)
    channels = [np.sin(5 * x + 2 * y), np.cos(4 * y), np.sin(3 * x * y)]
    image = Image.fromarray((np.stack(channels, -1) * 100 + 128).astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray((np.sin(5 * x + 2 * y) * 30_000 + 32_768).astype(np.uint16))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_bands_of_png_are_the_image(mode: str, rows: int):
    image, stream = photo(50, 75, mode), io.BytesIO()
    image.save(stream, "PNG")
    parts = bands(stream, rows)
    assert parts is not None
    read = [np.asarray(part.convert("RGBA") if mode == "P" else part) for part in parts]
    whole = Image.open(io.BytesIO(stream.getvalue()))
    assert np.array_equal(np.concatenate(read), np.asarray(whole.convert("RGBA") if mode == "P" else whole))


def test_a_png_that_is_cut_short_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(large, "LARGE", 1000)
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)).save(stream, "PNG")
    cut = io.BytesIO(stream.getvalue()[: len(stream.getvalue()) // 2])
    assert "truncated" in str(decode(cut, 8))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("squash", [False, True])
def test_reducing_while_reading_changes_little(monkeypatch: pytest.MonkeyPatch, kind: str, squash: bool):
    stream = io.BytesIO()
    photo(700, 500, "RGB").save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}))
    whole = decode(io.BytesIO(stream.getvalue()), 32, squash=squash).astype(int)
    monkeypatch.setattr(large, "LARGE", 1000)
    assert (
        np.abs(decode(stream, 32, squash=squash).astype(int) - whole).max() <= 8
    )  # up to a rim of one block is lost, which is much at this size


def test_a_large_image_is_turned_upright(monkeypatch: pytest.MonkeyPatch):
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = 6
    stream = io.BytesIO()
    photo(300, 200, "RGB").save(stream, "PNG", exif=exif.tobytes())
    whole = decode(io.BytesIO(stream.getvalue()), 32).astype(int)
    monkeypatch.setattr(large, "LARGE", 1000)
    assert (
        np.abs(decode(stream, 32).astype(int) - whole).max() <= 8
    )  # up to a rim of one block is lost, which is much at this size


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("size", [3_000_000, 80_000_000])
def test_large_texts_do_not_lose_a_png(tmp_path: Path, zipped: bool, size: int):
    info = PngImagePlugin.PngInfo()
    info.add_text("x", "a" * size, zip=zipped)
    image = photo(40, 40, "RGB")
    image.save(tmp_path / "a.png", pnginfo=info)
    for stream in (tmp_path / "a.png", io.BytesIO((tmp_path / "a.png").read_bytes())):
        got = decode(stream, 16)
        assert np.array_equal(got, central_square(image, 16))
        assert shape(stream) == (40, 40)
