"""A small folder of images, and a way to open sets with a cache of the test's own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from viewkin.data.dataset import open_source
from viewkin.data.source import Source


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Source]:
    """Open a source with a cache of the test's own."""

    def open_it(path: Path | str, **options: object) -> Source:
        return open_source(str(path), cache_dir=tmp_path / "cache", progress=False, **options)

    return open_it


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make six images without classes, and things that are no images."""
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(6):
        Image.new("RGB", (8, 8), (10 * i, 10 * i, 10 * i)).save(root / f"{i}.png")
    (root / "notes.txt").write_text("text")
    (root / ".hidden.png").write_bytes(b"x")
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "a.png").write_bytes(b"x")
    return root
