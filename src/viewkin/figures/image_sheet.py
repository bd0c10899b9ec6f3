"""A white sheet with images and texts at given places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from viewkin.figures.style import INK, PIXELS_PER_UNIT, POINT, UNIT, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ImageSheet:
    """A sheet with images and texts; places and sizes are in units of one CSS pixel, y downwards."""

    def __init__(self, width: float, height: float) -> None:
        """Make an empty sheet."""
        self.width, self.height = round(width), round(height)
        self.pixels = np.full((PIXELS_PER_UNIT * self.height, PIXELS_PER_UNIT * self.width, 3), 255, dtype=np.uint8)
        self.texts: list[tuple[float, float, str, float, str]] = []

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle with a colour (``#rrggbb``)."""
        left, top, right, bottom = (round(PIXELS_PER_UNIT * place) for place in (x, y, x + width, y + height))
        self.pixels[top:bottom, left:right] = rgb(colour)

    def paste(self, image: Image.Image, x: float, y: float, side: float) -> None:
        """Paste an image; it is enlarged without smoothing, so that small images show their pixels."""
        size = round(PIXELS_PER_UNIT * side)
        filtering = Image.Resampling.NEAREST if image.width <= size else Image.Resampling.LANCZOS
        left, top = round(PIXELS_PER_UNIT * x), round(PIXELS_PER_UNIT * y)
        self.pixels[top : top + size, left : left + size] = np.asarray(
            image.convert("RGB").resize((size, size), filtering)
        )

    def write(self, x: float, y: float, text: str, size: float = 12, colour: str = INK) -> None:
        """Write a line of text that begins at x, with its vertical middle at y."""
        self.texts.append((x, y, text, size, colour))

    @styled()
    def figure(self) -> Figure:
        """Make a matplotlib figure, without resampling the pixels."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width / UNIT, self.height / UNIT))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.imshow(self.pixels, extent=(0, self.width, self.height, 0), interpolation="none", aspect="auto")
        for x, y, text, size, colour in self.texts:
            axes.text(x, y, text, fontsize=size * POINT, color=colour, verticalalignment="center_baseline")
        return figure


def to_pil(image: Tensor) -> Image.Image:
    """Turn (3, S, S) uint8 into an image."""
    return Image.fromarray(image.cpu().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def rgb(colour: str) -> tuple[int, ...]:
    """Return red, green and blue of ``#rrggbb``."""
    return tuple(bytes.fromhex(colour.removeprefix("#")))
