"""Mixtures of two images: CutMix and mixup, with the same ratio for the whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: columns left to right - 1, rows top to bottom - 1."""

    left: int
    right: int
    top: int
    bottom: int


def beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Draw (count,) float64 from Beta(alpha, alpha), as G1 / (G1 + G2) of two gamma variables."""
    shape = torch.full((2, count), alpha, dtype=torch.float64)
    first, second = torch._standard_gamma(shape, generator=generator)  # pyright: ignore[reportPrivateUsage]
    return first / (first + second)


def cut_box(ratio: float, centre: tuple[int, int], width: int, height: int) -> tuple[Box, float]:
    """Place CutMix's box and compute the fraction of the image that remains around it.

    The box has half-sides ``floor(W sqrt(1 - ratio)) // 2`` and is clipped at the border; the fraction is computed from
    the clipped box.

    Args:
        ratio: target fraction of the first image, rho, 0 to 1.
        centre: column and row.
        width: W, pixels.
        height: H, pixels.

    Returns:
        The box, and r = 1 - (its area) / (W H).

    References:
        Yun et al., CutMix, 2019, section 3.1.
    """
    side = (1 - ratio) ** 0.5
    half_width, half_height = int(width * side) // 2, int(height * side) // 2
    x, y = centre
    box = Box(
        left=max(x - half_width, 0),
        right=min(x + half_width, width),
        top=max(y - half_height, 0),
        bottom=min(y + half_height, height),
    )
    return box, 1 - (box.right - box.left) * (box.bottom - box.top) / (width * height)


def cutmix(images: Tensor, others: Tensor, ratio: float, generator: torch.Generator) -> tuple[Tensor, float]:
    """Paste the same box of each other image onto each image.

    Args:
        images: (B, C, H, W).
        others: (B, C, H, W), the partners.
        ratio: target fraction of ``images`` in the mixtures, 0 to 1.
        generator: draws the centre of the box, uniformly among the pixels.

    Returns:
        The mixtures, and r, the actual fraction of ``images`` in them.
    """
    height, width = images.shape[2:]
    x = int(torch.randint(width, (), generator=generator))
    y = int(torch.randint(height, (), generator=generator))
    box, share = cut_box(ratio, (x, y), width, height)
    mixed = images.clone()
    mixed[:, :, box.top : box.bottom, box.left : box.right] = others[:, :, box.top : box.bottom, box.left : box.right]
    return mixed, share


def mixup(images: Tensor, others: Tensor, ratio: float) -> Tensor:
    """Blend pixels: ``r x + (1 - r) x'``.

    References:
        Zhang et al., mixup, 2018, equation 1.
    """
    return ratio * images + (1 - ratio) * others
