"""The operations of policies: settings, a random draw for a batch, and the application to a slice of the batch.

A draw has one row per image, on the CPU, so that a slice of it belongs to the same slice of the images. The application
to an image does not depend on the other images.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from viewkin.augment.blur import gaussian_blur
from viewkin.augment.colour import colour_jitter, colour_jitter_, grayscale, lighting, solarize
from viewkin.augment.geometry import Mode, crop_resize, resized_crop_boxes, to_unit, translate_reflect
from viewkin.runtime.draws import onto
from viewkin.runtime.errors import UserError

Draws = dict[str, Tensor]
"""The random numbers of one operation: name -> (count, ...)."""


def _check(good: bool, sentence: str) -> None:
    if not good:
        raise UserError(sentence)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.empty(count).uniform_(low, high, generator=generator)


class Operation(ABC):
    """One step of a pipeline."""

    cuts: ClassVar[bool] = False
    """Whether it makes new images from the source (a crop or a shift). Other operations may write to their argument."""

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator, side: int, size: int, /) -> Draws:
        """Draw all random numbers for ``count`` square images of ``side`` pixels and views of ``size`` pixels."""

    @abstractmethod
    def apply(self, images: Tensor, draws: Draws, size: int, /) -> Tensor:
        """Apply to images (B, 3, H, W), float32 in [0, 1] (or uint8 if it ``cuts``), with their rows of a draw."""


class Crop(Operation):
    """A crop of one box per image, resized to the view; its draw is ``box`` (count, 4)."""

    cuts = True
    mode: Mode = "bilinear"

    def apply(self, images: Tensor, draws: Draws, size: int, /) -> Tensor:
        """Crop and resize."""
        return crop_resize(images, draws["box"], size, self.mode)


@dataclass(frozen=True, kw_only=True)
class ResizedCrop(Crop):
    """torchvision's RandomResizedCrop with Pillow's antialiased resize."""

    scale: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest area of the box, fraction of the image."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of the box."""
    mode: Mode = "bilinear"
    """Resampling filter."""

    def __post_init__(self) -> None:
        _check(0 < self.scale[0] <= self.scale[1] <= 1, f"scale must rise within (0, 1], and {self.scale} does not.")
        _check(0 < self.ratio[0] <= self.ratio[1], f"ratio must rise from above 0, and {self.ratio} does not.")
        _check(self.mode in ("bilinear", "bicubic"), f"mode must be bilinear or bicubic, not {self.mode!r}.")

    def draw(self, count: int, generator: torch.Generator, side: int, _size: int, /) -> Draws:
        """Draw the boxes."""
        return {"box": resized_crop_boxes(count, side, self.scale, self.ratio, generator)}


@dataclass(frozen=True, kw_only=True)
class RandomCrop(Crop):
    """A square box of fixed side at a uniformly random place: RandomCrop(224) of a stored 256."""

    fraction: float = 224 / 256
    """Side of the box as a fraction of the stored side; the whole image if that is not larger than the view."""

    def __post_init__(self) -> None:
        _check(0 < self.fraction <= 1, f"fraction must lie in (0, 1], and {self.fraction} does not: choose another.")

    def draw(self, count: int, generator: torch.Generator, side: int, size: int, /) -> Draws:
        """Draw the boxes."""
        box = round(side * self.fraction) if side > size else side
        corner = torch.rand(count, 2, generator=generator).mul_(side - box + 1).floor_().clamp_max_(side - box)
        return {"box": torch.cat((corner, torch.full((count, 2), float(box))), dim=1)}


@dataclass(frozen=True, kw_only=True)
class Sometimes(Operation):
    """An operation that is applied to each image with a probability; its draw has ``on`` (count,) bool."""

    probability: float = 1.0
    """Probability that an image is changed."""

    def __post_init__(self) -> None:
        good = 0 <= self.probability <= 1
        _check(good, f"probability must lie between 0 and 1, and {self.probability} does not: choose another.")

    def draw(self, count: int, generator: torch.Generator, _side: int, size: int, /) -> Draws:
        """Draw which images are changed, then the strengths of all images."""
        on = torch.rand(count, generator=generator) < self.probability
        return {"on": on, **self.strengths(count, generator, size)}

    def strengths(self, _count: int, _generator: torch.Generator, _size: int, /) -> Draws:
        """Draw the strength of the change of each image. Default: nothing."""
        return {}

    def apply(self, images: Tensor, draws: Draws, size: int, /) -> Tensor:
        """Change the drawn images in place."""
        chosen = draws["on"].nonzero().squeeze(1)
        if len(chosen) == 0:
            return images
        rows = onto(chosen, images.device)
        strengths = {name: values[chosen] for name, values in draws.items() if name != "on"}
        return images.index_copy_(0, rows, self.change(images.index_select(0, rows), strengths, size))

    @abstractmethod
    def change(self, images: Tensor, strengths: Draws, size: int, /) -> Tensor:
        """Change all of ``images``, possibly in place."""


@dataclass(frozen=True, kw_only=True)
class Translate(Sometimes):
    """AMDIM's shift with mirrored edges. A source whose size differs from the view is resized first."""

    cuts = True
    pixels: int = 4
    """Largest shift along each axis, pixels of the view."""
    probability: float = 0.8
    """Probability that an image is shifted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.pixels >= 0, f"pixels must not be negative, and {self.pixels} is.")

    def strengths(self, count: int, generator: torch.Generator, size: int, /) -> Draws:
        """Draw the shifts (count, 2), down and right."""
        good = self.pixels < size
        _check(good, f"a shift of {self.pixels} pixels needs views of more than {size}: enlarge the views.")
        return {"shift": torch.randint(-self.pixels, self.pixels + 1, (count, 2), generator=generator)}

    def apply(self, images: Tensor, draws: Draws, size: int, /) -> Tensor:
        """Resize if needed, and move; into new memory."""
        if images.shape[-1] != size:
            side = float(images.shape[-1])
            images = crop_resize(images, torch.tensor([0, 0, side, side]).expand(len(images), 4), size)
        return self.change(to_unit(images), {"shift": draws["shift"] * draws["on"][:, None]}, size)

    def change(self, images: Tensor, strengths: Draws, _size: int, /) -> Tensor:
        """Move."""
        return translate_reflect(images, strengths["shift"])


@dataclass(frozen=True, kw_only=True)
class Flip(Sometimes):
    """Left-right flip."""

    probability: float = 0.5
    """Probability that an image is flipped."""

    def change(self, images: Tensor, _strengths: Draws, _size: int, /) -> Tensor:
        """Flip."""
        return images.flip(-1)


@dataclass(frozen=True, kw_only=True)
class ColourJitter(Sometimes):
    """torchvision's ColorJitter: four changes in a random order for each image."""

    brightness: float = 0.4
    """Half width of the factor's range around 1, which is cut at 0."""
    contrast: float = 0.4
    """Half width of the factor's range around 1, which is cut at 0."""
    saturation: float = 0.4
    """Half width of the factor's range around 1, which is cut at 0."""
    hue: float = 0.4
    """Largest rotation, turns; at most 0.5."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = min(self.brightness, self.contrast, self.saturation, self.hue)
        _check(least >= 0, f"jitter strengths must not be negative, and {least} is.")
        _check(self.hue <= 0.5, f"hue must be at most half a turn, 0.5, and {self.hue} is more.")

    def strengths(self, count: int, generator: torch.Generator, _size: int, /) -> Draws:
        """Draw the orders (count, 4) and the factors (count, 4)."""
        order = torch.rand(count, 4, generator=generator).argsort(dim=1)
        blends = [
            _uniform(count, max(0.0, 1 - strength), 1 + strength, generator)
            for strength in (self.brightness, self.contrast, self.saturation)
        ]
        factors = torch.stack((*blends, _uniform(count, -self.hue, self.hue, generator)), dim=1)
        return {"order": order, "factors": factors}

    def apply(self, images: Tensor, draws: Draws, _size: int, /) -> Tensor:
        """Change the drawn images in place; they are gathered and sorted in one step."""
        rows = draws["on"].nonzero().squeeze(1)
        return colour_jitter_(images, rows, draws["order"][rows], draws["factors"][rows])

    def change(self, images: Tensor, strengths: Draws, _size: int, /) -> Tensor:
        """Jitter."""
        return colour_jitter(images, strengths["order"], strengths["factors"])


@dataclass(frozen=True, kw_only=True)
class Grayscale(Sometimes):
    """Conversion to grayscale."""

    probability: float = 0.2
    """Probability that an image becomes grey."""

    def change(self, images: Tensor, _strengths: Draws, _size: int, /) -> Tensor:
        """Turn grey."""
        return grayscale(images)


@dataclass(frozen=True, kw_only=True)
class Lighting(Sometimes):
    """Shift of all colours along the principal components of ImageNet's colours (AlexNet), not clamped."""

    std: float = 0.1
    """Standard deviation of the strength along each component, dimensionless."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.std >= 0, f"std must not be negative, and {self.std} is.")

    def strengths(self, count: int, generator: torch.Generator, _size: int, /) -> Draws:
        """Draw alpha (count, 3)."""
        return {"alpha": self.std * torch.randn(count, 3, generator=generator)}

    def change(self, images: Tensor, strengths: Draws, _size: int, /) -> Tensor:
        """Shift."""
        return lighting(images, strengths["alpha"])


@dataclass(frozen=True, kw_only=True)
class Blur(Sometimes):
    """Gaussian blur."""

    sigma: tuple[float, float] = (0.1, 2.0)
    """Range of the standard deviation, pixels of the view."""
    kernel: float | None = None
    """Side of the kernel as a fraction of the view's side, made odd (SimCLR and BYOL: 0.1, so 23 pixels of 224). None:
    a radius of three times the largest sigma, which approximates Pillow's infinite kernel (MoCo v2)."""
    probability: float = 0.5
    """Probability that an image is blurred."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(0 < self.sigma[0] <= self.sigma[1], f"sigma must rise from above 0, and {self.sigma} does not.")
        _check(self.kernel is None or 0 < self.kernel < 1, f"kernel must lie in (0, 1), and {self.kernel} does not.")

    def radius(self, size: int) -> int:
        """Radius of the kernel for views of ``size`` pixels; the kernel has 2 radius + 1 taps."""
        return math.ceil(3 * self.sigma[1]) if self.kernel is None else int(size * self.kernel) // 2

    def strengths(self, count: int, generator: torch.Generator, _size: int, /) -> Draws:
        """Draw sigma (count,)."""
        return {"sigma": _uniform(count, *self.sigma, generator)}

    def change(self, images: Tensor, strengths: Draws, size: int, /) -> Tensor:
        """Blur."""
        return gaussian_blur(images, strengths["sigma"], self.radius(size))


@dataclass(frozen=True, kw_only=True)
class Solarise(Sometimes):
    """Inversion of bright values."""

    threshold: int = 128
    """Smallest value that is inverted, of 255."""
    probability: float = 0.2
    """Probability that an image is changed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        good = 0 <= self.threshold <= 256
        _check(good, f"threshold must lie between 0 and 256, and {self.threshold} does not.")

    def change(self, images: Tensor, _strengths: Draws, _size: int, /) -> Tensor:
        """Invert bright values."""
        return solarize(images, self.threshold / 255)
