"""A set that is drawn, not photographed: it needs no files, and learning from it is quick and can be checked.

A class is a texture on a shape ("striped disc"). Place, scale, rotation, wavelength, phase, colours, light and clutter
are random, so the nearest images pixel by pixel are hardly more often of the same class than by chance, while texture
and shape survive crops, flips and changes of colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from viewkin.data.formats.generated_patterns import SHAPES, TEXTURES, Wave
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError

GENERATED_SPLITS = ("train", "test")
"""Splits that can be drawn; each has random numbers of its own."""
NUMBERS = 50
"""Random numbers that a scene takes."""
BLOCK = 256
"""Images drawn at once."""
SHAPE_NAMES, TEXTURE_NAMES = tuple(SHAPES), tuple(TEXTURES)
MOST_CLASSES = len(SHAPES) * len(TEXTURES)
MOST_BYTES = 64 * 2**30
"""Bytes of pixels, which are held in memory, that no set goes beyond."""


@dataclass(frozen=True, kw_only=True)
class GeneratedConfig:
    """What to draw."""

    images: int = 4000
    """Training images; the test split has a quarter as many, but at least two a class."""
    classes: int = 10
    """Classes, all of them about equally frequent; the first ten differ in texture, all differ in texture and shape."""
    size: int = 32
    """Side of the square, pixels; every length in the scene is in proportion to it."""
    seed: int = 0
    """Seed of the set, apart from the seed of a run."""
    plain: int = 0
    """1: grey textures that fill the image, with nothing beside them. Learnt within seconds, which is what tests want;
    the nearest images pixel by pixel say a little more of the class than chance."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: one is out of range.
        """
        if not 2 <= self.classes <= MOST_CLASSES:
            raise UserError(f"The generated set has 2 to {MOST_CLASSES} classes, not {self.classes}: change classes.")
        if self.images < 2 * self.classes:
            raise UserError(
                f"The generated set needs two images a class, so at least {2 * self.classes}, not {self.images}: "
                "raise images."
            )
        if self.plain and self.classes > len(TEXTURES):
            raise UserError(f"A plain set has {len(TEXTURES)} textures, hence no {self.classes} classes.")
        if not 8 <= self.size <= 1024:
            raise UserError(f"Generated images have a side of 8 to 1024 px, not {self.size}: change size.")
        needed = 3 * self.size**2 * self.images
        if needed > MOST_BYTES:
            raise UserError(
                f"{self.images:,} generated images of {self.size} px would take {needed / 2**30:,.0f} GiB of memory: "
                "lower images or size."
            )
        if self.plain not in (0, 1):
            raise UserError(f"plain of the generated set is 0 or 1, not {self.plain}.")

    def count(self, split: str) -> int:
        """Count the images of a split.

        Raises:
            UserError: there is no such split.
        """
        if split not in GENERATED_SPLITS:
            raise UserError(f"The generated set has no split {split!r}; choose train or test.")
        return self.images if split == "train" else max(self.images // 4, 2 * self.classes)


class Numbers:
    """The uniform random numbers of some images, taken column by column in the order of asking."""

    def __init__(self, values: Tensor) -> None:
        self._values = values
        self._next = 0

    def __call__(self, low: float, high: float) -> Tensor:
        """Give one number an image, uniform in [low, high): (n, 1, 1)."""
        self._next += 1
        return (low + (high - low) * self._values[:, self._next - 1]).view(-1, 1, 1)

    def colour(self, light: Tensor, spread: float) -> Tensor:
        """Give a colour an image, of luminance about ``light`` (n, 1, 1) in [0, 1]: (n, 3, 1, 1)."""
        channels = torch.stack([self(-spread, spread) for _ in range(3)], dim=1)
        return (light[:, None] + channels).clamp(0, 1)


def turned(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate the plane by ``angle`` (n, 1, 1), radians."""
    return x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()


def covered(distance: Tensor, pixel: float) -> Tensor:
    """Turn signed distances (n, S, S) into the share of each pixel that is inside: (n, 1, S, S), antialiased."""
    return (0.5 - distance / pixel).clamp(0, 1)[:, None]


def textured(label: int, number: Numbers, u: Tensor, v: Tensor) -> Tensor:
    """Draw the texture of a class: how far each pixel is from its first colour to its second, (n, 1, S, S)."""
    wave = Wave(
        frequency=2 * math.pi / number(0.3, 0.4),
        phase=number(0, 2 * math.pi),
        other=number(0, 2 * math.pi),
        centre_u=number(-0.3, 0.3),
        centre_v=number(-0.3, 0.3),
    )
    texture = TEXTURES[TEXTURE_NAMES[label % len(TEXTURES)]]
    return torch.sigmoid(2.5 * texture(u, v, wave))[:, None]


def draw_object(label: int, number: Numbers, x: Tensor, y: Tensor, pixel: float) -> tuple[Tensor, Tensor]:
    """Draw the thing that makes the class: how much of each pixel it covers, and its colours."""
    shape = SHAPES[SHAPE_NAMES[(label + label // len(TEXTURES)) % len(SHAPES)]]
    scale, stretch = number(0.75, 1.1), number(-0.3, 0.3).exp()
    x, y = x - number(-0.5, 0.5), y - number(-0.5, 0.5)
    u, v = turned(x, y, number(0, 2 * math.pi))
    cover = covered(shape(u / scale * stretch, v / scale / stretch) * scale, pixel)
    u, v = turned(x, y, number(0, 2 * math.pi))
    share = textured(label, number, u, v)
    dark, bright, swap = number(0.1, 0.3), number(0.7, 0.9), number(0, 1) < 0.5
    first = number.colour(torch.where(swap, bright, dark), 0.2)
    second = number.colour(torch.where(swap, dark, bright), 0.2)
    return cover, first + (second - first) * share


def draw_scene(label: int, values: Tensor, size: int) -> Tensor:
    """Draw images of one class from their random numbers (n, NUMBERS): (n, 3, size, size) uint8."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    number, pixel = Numbers(values), 2 / size
    along, _ = turned(x, y, number(0, 2 * math.pi))
    # Light that falls off across the image decides which images are alike pixel by pixel; a class has no part in it.
    light = along[:, None] * number.colour(number(0.3, 0.7), 0.2)
    image = number.colour(number(0.2, 0.8), 0.2) + light
    for _ in range(3):
        distance = torch.hypot(x - number(-1, 1), y - number(-1, 1)) - number(0.05, 0.22)
        speck = number.colour(number(0.1, 0.9), 0.2)
        image = image + (speck - image) * covered(distance, pixel)
    cover, colours = draw_object(label, number, x, y, pixel)
    image = image + (colours + 0.3 * light - image) * cover
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def draw_texture(label: int, values: Tensor, size: int) -> Tensor:
    """Draw grey images of nothing but a class's texture: (n, 3, size, size) uint8."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    number = Numbers(values)
    share = textured(label, number, *turned(x, y, number(0, 2 * math.pi)))
    share = torch.where(number(0, 1)[:, None] < 0.5, share, 1 - share)
    return (255 * (0.1 + 0.8 * share)).round().to(torch.uint8).expand(-1, 3, -1, -1)


def draw(config: GeneratedConfig, split: str = "train") -> tuple[Tensor, Tensor]:
    """Draw a split: images (N, 3, size, size) uint8 and labels (N,) int64; a function of config and split alone.

    Raises:
        UserError: there is no such split.
    """
    total = config.count(split)
    generator = generator_for(config.seed, "generated", split)
    labels = drawn_labels(config, total, generator)
    values = torch.rand(total, NUMBERS, generator=generator)
    images = torch.empty(total, 3, config.size, config.size, dtype=torch.uint8)
    drawn = draw_texture if config.plain else draw_scene
    for label in range(config.classes):
        for rows in (labels == label).nonzero()[:, 0].split(BLOCK):
            images[rows] = drawn(label, values[rows], config.size)
    return images, labels


def drawn_labels(config: GeneratedConfig, total: int, generator: torch.Generator) -> Tensor:
    """Draw the labels, the first random numbers of a split: (total,) int64."""
    return torch.randperm(total, generator=generator) % config.classes


def labels_of(config: GeneratedConfig, split: str) -> Tensor:
    """Give the labels of a split, without drawing its images.

    Raises:
        UserError: there is no such split.
    """
    return drawn_labels(config, config.count(split), generator_for(config.seed, "generated", split))


def class_names(count: int, *, plain: bool = False) -> tuple[str, ...]:
    """Name the first ``count`` classes, in the order of their labels: texture and shape, of a plain set the texture."""
    if plain:
        return TEXTURE_NAMES[:count]
    return tuple(
        f"{TEXTURE_NAMES[k % len(TEXTURES)]} {SHAPE_NAMES[(k + k // len(TEXTURES)) % len(SHAPES)]}"
        for k in range(count)
    )
