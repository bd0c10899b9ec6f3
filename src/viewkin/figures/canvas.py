"""A drawing of few kinds of marks, written as PNG or as SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image, ImageDraw, ImageFont

from viewkin.errors import UserError
from viewkin.files import replacing

Colour = tuple[int, int, int]
Shape = Literal["circle", "square", "triangle"]
PAPER, INK, FAINT, GRID = (255, 255, 255), (36, 40, 46), (96, 101, 110), (226, 229, 233)
COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (128, 112, 0),
    (0, 0, 0),
)
"""Told apart with any colour vision (Okabe and Ito, 2008, their yellow darkened to be seen on white)."""
SHAPES: tuple[Shape, ...] = ("circle", "triangle", "square")
"""A second sign beside the colour, where there are more groups than colours."""
FINE, SHARP = 4, 2
"""A PNG is painted at 4 pixels a unit, then reduced to 2: that smooths its edges."""
SUFFIXES = (".png", ".svg")


class Mark(Protocol):
    """Something on a canvas; places and sizes in units of one CSS pixel, y downwards."""

    def paint(self, image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        """Paint it at FINE pixels a unit."""
        ...

    def svg(self) -> str:
        """Write it as an SVG element."""
        ...


@dataclass(frozen=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    fill: Colour
    opacity: float = 1.0

    def paint(self, image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        """Fill it."""
        corners = (self.x, self.y, self.x + self.width, self.y + self.height)
        left, top, right, bottom = (round(FINE * place) for place in corners)
        if right > left and bottom > top:
            draw.rectangle((left, top, right - 1, bottom - 1), fill=_with(self.fill, self.opacity))

    def svg(self) -> str:
        """Write a ``rect``."""
        place = f'x="{self.x:.2f}" y="{self.y:.2f}" width="{self.width:.2f}" height="{self.height:.2f}"'
        return f'<rect {place} fill="{_hex(self.fill)}" fill-opacity="{self.opacity:g}"/>'


@dataclass(frozen=True)
class Line:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: Colour = INK
    width: float = 1.0
    opacity: float = 1.0

    def paint(self, image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        """Stroke it."""
        corners = [(FINE * x, FINE * y) for x, y in self.points]
        draw.line(corners, fill=_with(self.colour, self.opacity), width=round(FINE * self.width), joint="curve")

    def svg(self) -> str:
        """Write a ``polyline``."""
        corners = " ".join(f"{x:.2f},{y:.2f}" for x, y in self.points)
        stroke = f'stroke="{_hex(self.colour)}" stroke-width="{self.width:g}" stroke-opacity="{self.opacity:g}"'
        return f'<polyline points="{corners}" fill="none" {stroke} stroke-linejoin="round"/>'


@dataclass(frozen=True)
class Dot:
    """A small sign at a point."""

    x: float
    y: float
    colour: Colour
    shape: Shape = "circle"
    radius: float = 3.0
    opacity: float = 0.85

    def paint(self, image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        """Fill it."""
        fill = _with(self.colour, self.opacity)
        x, y, r = FINE * self.x, FINE * self.y, FINE * self.radius
        if self.shape == "circle":
            draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
        else:
            draw.polygon([(FINE * across, FINE * down) for across, down in self._corners()], fill=fill)

    def svg(self) -> str:
        """Write a ``circle`` or ``polygon``."""
        style = f'fill="{_hex(self.colour)}" fill-opacity="{self.opacity:g}"'
        if self.shape == "circle":
            return f'<circle cx="{self.x:.2f}" cy="{self.y:.2f}" r="{self.radius:g}" {style}/>'
        corners = " ".join(f"{across:.2f},{down:.2f}" for across, down in self._corners())
        return f'<polygon points="{corners}" {style}/>'

    def _corners(self) -> list[tuple[float, float]]:
        x, y, r = self.x, self.y, self.radius
        if self.shape == "square":
            r *= 0.9
            return [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
        return [(x, y - 1.25 * r), (x + 1.1 * r, y + 0.8 * r), (x - 1.1 * r, y + 0.8 * r)]


@dataclass(frozen=True)
class Text:
    """A line of text whose vertical middle is at y; turned, it is read upwards and x is its middle."""

    x: float
    y: float
    text: str
    size: float = 13
    anchor: Literal["start", "middle", "end"] = "start"
    colour: Colour = INK
    turned: bool = False

    def paint(self, image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        """Write it, in Pillow's own font."""
        font = font_of(FINE * self.size)
        if not self.turned:
            side = {"start": "l", "middle": "m", "end": "r"}[self.anchor] + "m"
            draw.text((FINE * self.x, FINE * self.y), self.text, fill=self.colour, font=font, anchor=side)
            return
        width, height = round(FINE * text_width(self.text, self.size)) + 8, round(FINE * 1.6 * self.size)
        stamp = Image.new("L", (width, height), 0)
        ImageDraw.Draw(stamp).text((width / 2, height / 2), self.text, fill=255, font=font, anchor="mm")
        stamp = stamp.rotate(90, expand=True)
        corner = (round(FINE * self.x - stamp.width / 2), round(FINE * self.y - stamp.height / 2))
        image.paste(Image.new("RGB", stamp.size, self.colour), corner, stamp)

    def svg(self) -> str:
        """Write a ``text``."""
        turn = f' transform="rotate(-90 {self.x:.2f} {self.y:.2f})"' if self.turned else ""
        anchor = "middle" if self.turned else self.anchor
        return (
            f'<text x="{self.x:.2f}" y="{self.y:.2f}" font-size="{self.size:g}" text-anchor="{anchor}" '
            f'dominant-baseline="central" fill="{_hex(self.colour)}"{turn}>{escape(self.text)}</text>'
        )


@dataclass(frozen=True)
class Picture:
    """An image of pixels in a rectangle."""

    x: float
    y: float
    width: float
    height: float
    image: Image.Image

    def paint(self, image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        """Paste it, enlarged without smoothing so that small images stay honest."""
        size = (round(FINE * self.width), round(FINE * self.height))
        small = size[0] >= self.image.width
        scaled = self.image.resize(size, Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)
        image.paste(scaled.convert("RGB"), (round(FINE * self.x), round(FINE * self.y)))

    def svg(self) -> str:
        """Write an ``image`` with its pixels inside."""
        stream = io.BytesIO()
        self.image.save(stream, "PNG", optimize=True)
        data = base64.b64encode(stream.getvalue()).decode("ascii")
        place = f'x="{self.x:.2f}" y="{self.y:.2f}" width="{self.width:.2f}" height="{self.height:.2f}"'
        return f'<image {place} style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'


class Canvas:
    """Marks on white paper, in the order in which they were added."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = round(width), round(height)
        self.marks: list[Mark] = []

    def add(self, *marks: Mark) -> None:
        """Put marks on top."""
        self.marks.extend(marks)

    def png(self) -> bytes:
        """Paint everything."""
        image = Image.new("RGB", (FINE * self.width, FINE * self.height), PAPER)
        draw = ImageDraw.Draw(image, "RGBA")
        for mark in self.marks:
            mark.paint(image, draw)
        stream = io.BytesIO()
        image.reduce(FINE // SHARP).save(stream, "PNG", optimize=True)
        return stream.getvalue()

    def svg(self) -> bytes:
        """Write everything as a document that needs nothing beside it."""
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
        paper = f'<rect width="100%" height="100%" fill="{_hex(PAPER)}"/>'
        return "\n".join([head, paper, *(mark.svg() for mark in self.marks), "</svg>\n"]).encode()

    def write(self, path: Path) -> bytes:
        """Write a file, PNG or SVG by its suffix, whole or not at all; return what is in it.

        Raises:
            UserError: another suffix, or a place that cannot be written.
        """
        check_suffix(path)
        content = self.svg() if path.suffix.lower() == ".svg" else self.png()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                part.write_bytes(content)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}); choose a place you may write to.") from error
        return content


def check_suffix(path: Path) -> None:
    """Refuse a figure of another format.

    Raises:
        UserError: neither PNG nor SVG.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {path} must end in .png or .svg.")


def text_width(text: str, size: float) -> float:
    """Width of a line of text, in units: of Pillow's font, which is about as wide as a browser's."""
    return float(font_of(FINE * size).getlength(text)) / FINE


def shortened(text: str, size: float, width: float) -> str:
    """Cut a text to a width, with dots for what is left out."""
    if text_width(text, size) <= width:
        return text
    while len(text) > 1 and text_width(f"{text}...", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}..."


def font_of(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font; without FreeType, or before Pillow 10.1, it has one size only."""
    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError):
        return ImageFont.load_default()


def sign_of(group: int) -> tuple[Colour, Shape]:
    """Colour and shape of a group: all colours in one shape first, then the next shape."""
    return COLOURS[group % len(COLOURS)], SHAPES[group // len(COLOURS) % len(SHAPES)]


def signs() -> int:
    """How many groups can be told apart."""
    return len(COLOURS) * len(SHAPES)


def legend(entries: Sequence[tuple[str, Colour, Shape]], x: float, y: float, width: float) -> tuple[list[Mark], float]:
    """Set a legend in lines of at most ``width``, from (x, y) downwards: its marks and its height."""
    marks: list[Mark] = []
    left, down = x, y + 10
    for name, colour, shape in entries:
        name = shortened(name, 12, width - 40)
        wide = 18 + text_width(name, 12) + 16
        if left + wide > x + width and left > x:
            left, down = x, down + 20
        marks += [Dot(left + 6, down, colour, shape, 4.5, 1.0), Text(left + 16, down, name, 12)]
        left += wide
    return marks, down + 12 - y if entries else 0.0


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _with(colour: Colour, opacity: float) -> tuple[int, int, int, int]:
    return (*colour, round(255 * opacity))
