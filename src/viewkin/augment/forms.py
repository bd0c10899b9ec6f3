"""Forms of a view: what a finished crop becomes before a network sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from viewkin.augment.colour import normalized
from viewkin.augment.operations import Draws
from viewkin.augment.policies import Triple
from viewkin.runtime.draws import onto
from viewkin.runtime.errors import UserError

TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
"""Linear sRGB to XYZ (ITU-R BT.709), rows."""
WHITE: Triple = (0.95047, 1.0, 1.08883)
"""XYZ of the white D65 for the observer of 2 degrees."""
LAB_MEAN: Triple = (50.0, 6.025, -6.6895)
LAB_STD: Triple = (50.0, 92.208, 101.1675)
"""Centre and half of the range of L, a and b, as CMC's code normalises them."""


@dataclass(frozen=True)
class RGB:
    """The normalised colours as they are: (B, 3, h, w)."""

    def draw(self, count: int, generator: torch.Generator, size: int, /) -> Draws:
        """Draw the random numbers for ``count`` views of ``size`` pixels. Default: none."""
        return {}

    def apply(self, view: Tensor, draws: Draws, mean: Triple, std: Triple, /) -> Tensor:
        """Turn views (B, 3, h, w), float32 in [0, 1], into what a network sees.

        Args:
            view: finished crops.
            draws: their rows of a draw; empty for the test view, which takes the middle.
            mean: mean of each channel.
            std: standard deviation of each channel.
        """
        return normalized(view, mean, std)


COLOURS = RGB()


@dataclass(frozen=True)
class Lab(RGB):
    """The colour space CIE Lab instead of RGB: (B, 3, h, w), L first, each about in [-1, 1].

    References:
        Tian, Krishnan, Isola, Contrastive Multiview Coding, 2020, and its code.
    """

    def apply(self, view: Tensor, draws: Draws, mean: Triple, std: Triple, /) -> Tensor:
        """Convert and normalise by the ranges of Lab; the set's mean and standard deviation are not used."""
        return normalized(lab(view), LAB_MEAN, LAB_STD)


@dataclass(frozen=True)
class Rotated(RGB):
    """All four rotations, counter-clockwise by 0, 90, 180 and 270 degrees: (B, 4, 3, h, w).

    Pixels are moved, never interpolated. A flip must come before, in the pipeline: after it 90 and 270 degrees could
    not be told apart.

    References:
        Gidaris, Singh, Komodakis, Unsupervised Representation Learning by Predicting Image Rotations, 2018.
    """

    def apply(self, view: Tensor, draws: Draws, mean: Triple, std: Triple, /) -> Tensor:
        """Normalise and rotate."""
        upright = normalized(view, mean, std)
        return torch.stack([torch.rot90(upright, turns, (2, 3)) for turns in range(4)], dim=1)


@dataclass(frozen=True, kw_only=True)
class Patches(RGB):
    """Squares from a grid of cells, each at a random place within its cell: (B, grid^2, 3, side, side), row by row.

    Cells have a gap between their squares, so that edges that go on do not give their order away.

    References:
        Noroozi, Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, 2016: a grid of 3,
        cells of 85 pixels, squares of 64.
    """

    grid: int = 3
    """Cells along each side."""
    share: float = 64 / 85
    """Side of a square as a fraction of its cell's."""

    offsets: ClassVar[str] = "offset"
    """Name of the draw: (count, grid^2, 2) in [0, 1), place within the cell: down, right."""

    def draw(self, count: int, generator: torch.Generator, size: int, /) -> Draws:
        """Draw the places of the squares in their cells."""
        if self.side(size) < 1:
            raise UserError(f"Views of {size} pixels give no patches in a grid of {self.grid}: take larger views.")
        return {self.offsets: torch.rand(count, self.grid**2, 2, generator=generator)}

    def side(self, size: int) -> int:
        """Side of a square, pixels, in views of ``size`` pixels."""
        return round(size // self.grid * self.share)

    def apply(self, view: Tensor, draws: Draws, mean: Triple, std: Triple, /) -> Tensor:
        """Normalise and cut; the test view has its squares in the middle of their cells."""
        view = normalized(view, mean, std)
        cell, side = view.shape[-1] // self.grid, self.side(view.shape[-1])
        middle = torch.full((len(view), self.grid**2, 2), 0.5)
        place = draws.get(self.offsets, middle)
        corner = onto((place * (cell - side + 1)).long(), view.device)
        number = torch.arange(self.grid, device=view.device)
        origin = torch.cartesian_prod(number, number) * cell  # (grid^2, 2)
        steps = torch.arange(side, device=view.device)
        rows, columns = ((origin[:, axis] + corner[:, :, axis]).unsqueeze(2) + steps for axis in (0, 1))
        image = torch.arange(len(view), device=view.device).view(-1, 1, 1, 1)
        return view.permute(0, 2, 3, 1)[image, rows.unsqueeze(3), columns.unsqueeze(2)].permute(0, 1, 4, 2, 3)


def lab(rgb: Tensor) -> Tensor:
    """Convert sRGB (B, 3, h, w) in [0, 1] to CIE Lab: L in [0, 100], a and b about in [-107, 98]."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp_min(0).pow(2.4), rgb / 12.92)
    xyz = torch.einsum("oc,bchw->bohw", rgb.new_tensor(TO_XYZ), linear) / rgb.new_tensor(WHITE).view(3, 1, 1)
    root = torch.where(xyz > 0.008856, xyz.clamp_min(1e-12).pow(1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
