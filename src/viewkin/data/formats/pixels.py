"""Images that are pixels from the start, as the rest of the package sees undecoded ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from viewkin.data.cache import Stamp
from viewkin.data.listing import evenly


@dataclass(frozen=True)
class PixelImages:
    """Images of one tensor by position."""

    count: int
    """Images."""
    read: Callable[[], Tensor]
    """Gives all of them: (N, 3, S, S) uint8."""

    def __reduce__(self) -> tuple[Callable[[Tensor], PixelImages], tuple[Tensor]]:
        """Hand the pixels themselves to another process, whatever holds them here."""
        return _held, (self.read(),)

    def __len__(self) -> int:
        """Count the images."""
        return self.count

    def open(self, position: int) -> Image.Image:
        """Give one image."""
        return Image.fromarray(self.read()[position].permute(1, 2, 0).contiguous().numpy())

    def sample(self, count: int) -> list[int]:
        """Choose ``count`` positions at even distances."""
        return evenly(self.count, count)

    def stamps(self) -> list[Stamp]:
        """Give none: nothing is cached."""
        return []

    def random_access(self, folder: Path) -> PixelImages:
        """Give the images themselves."""
        return self


def _held(pixels: Tensor) -> PixelImages:
    return PixelImages(len(pixels), lambda: pixels)
