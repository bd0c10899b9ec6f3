"""Colour operations on float images (B, 3, H, W) in [0, 1], with one parameter per sample and torchvision's semantics.

Parameters that permute or select samples (``order``, ``on``) stay on the CPU, so that nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from viewkin.runtime.draws import onto

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
"""Columns of the jitter's factors, and entries of its order; torchvision's numbering."""

LIGHTING = (
    (0.2175, 0.0188, 0.0045),
    ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203)),
)
"""Eigenvalues of ImageNet's colours, for values in 0 to 1, and the eigenvectors as columns of red, green and blue."""


def luma(images: Tensor) -> Tensor:
    """Grey level 0.299 R + 0.587 G + 0.114 B, (B, 1, H, W).

    References:
        ITU-R BT.601-2, as in Pillow. torchvision's tensor code rounds 0.299 to 0.2989, so that white is not 1.
    """
    red, green, blue = images.split(1, dim=1)
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def grayscale(images: Tensor) -> Tensor:
    """Replace all three channels by the :func:`luma`."""
    return luma(images).expand_as(images)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black: ``clamp(factor * x)``; factor (B,), 1 leaves the image."""
    return _blended(images, factor, BRIGHTNESS)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean luma: ``clamp(factor * x + (1 - factor) * mean)``; factor (B,)."""
    return _blended(images, factor, CONTRAST)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the luma of each pixel: ``clamp(factor * x + (1 - factor) * luma)``; factor (B,)."""
    return _blended(images, factor, SATURATION)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue of HSV by ``shift`` (B,) turns, -0.5 to 0.5; value and saturation do not change."""
    return _rotate_hue_(images.clone(), shift)


def colour_jitter(images: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """Apply brightness, contrast, saturation and hue, in a different order for each sample.

    Args:
        images: (B, 3, H, W).
        order: (B, 4) permutations of 0..3 on the CPU, first operation first.
        factors: (B, 4) on the CPU: brightness, contrast, saturation (factors), hue (turns).
    """
    return colour_jitter_(images.clone(), torch.arange(len(images)), order, factors)


def colour_jitter_(images: Tensor, rows: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """Jitter the rows ``rows`` (R,) of ``images`` in place, by ``order`` and ``factors`` (R, 4).

    Brightness, contrast and saturation are the same operation, a blend with a base image; only hue is different. Rows
    are sorted by the place of hue in their order. The k-th blend then comes before hue in a leading block of rows and
    after hue in the rest, so that each row needs only three blends and one hue rotation, whatever the orders.
    """
    before = (order == HUE).int().argmax(1)
    by_hue = before.argsort(descending=True, stable=True)
    rows, order, factors = onto(rows[by_hue], images.device), order[by_hue], factors[by_hue]
    leading = [int((before > k).sum()) for k in range(3)]
    kinds = order[order != HUE].view(-1, 3)
    stages = _blend_coefficients(kinds, factors.gather(1, kinds), images)
    x = images.index_select(0, rows)
    for stage, split in zip(stages, leading, strict=True):
        _blend_(x[:split], stage[:, :split])
    if bool(factors[:, HUE].any()):
        _rotate_hue_(x, factors[:, HUE])
    for stage, split in zip(stages, leading, strict=True):
        _blend_(x[split:], stage[:, split:])
    return images.index_copy_(0, rows, x)


def _blended(images: Tensor, factor: Tensor, kind: int) -> Tensor:
    stages = _blend_coefficients(torch.full((len(factor), 1), kind), factor.cpu()[:, None], images)
    return _blend_(images.clone(), stages[0])


def _blend_coefficients(kinds: Tensor, factors: Tensor, images: Tensor) -> Tensor:
    """Coefficients (S, 3, B, 1, 1, 1) of S successive blends, from their ``kinds`` and ``factors`` (B, S).

    A blend's base is ``luma * first + mean luma * second``, and ``third`` is the weight of the base.
    """
    table = torch.stack((kinds == SATURATION, kinds == CONTRAST, 1 - factors)).permute(2, 0, 1)
    return onto(table[..., None, None, None].to(images.dtype), images.device)


def _blend_(images: Tensor, coefficients: Tensor) -> Tensor:
    """Blend in place with black, the mean luma or the luma, by ``coefficients`` (3, B, 1, 1, 1), and clamp."""
    if len(images) == 0:
        return images
    of_luma, of_mean, weight = coefficients.unbind(0)
    grey = luma(images)
    mean = grey.mean((2, 3), keepdim=True)
    base = torch.addcmul(mean.mul_(of_mean), grey, of_luma, out=grey)
    return images.lerp_(base, weight).clamp_(0, 1)


def _rotate_hue_(images: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue in place without a conversion to HSV.

    The rotation keeps the largest and the smallest channel value of a pixel, so a channel is ``min + chroma * w``,
    where w is a trapezoid of the hue around the channel's own: 1 within a sixth of a turn, 0 beyond two. With u the
    hue in turns from red, -1/2 to 1/2, ``6 |u| = (G + B - R + max - 2 min) / chroma`` in all six sectors, and u has
    the sign of G - B. Red's weight is even in u; green's and blue's are mirror images, so that their sum is even
    (``6 |u| + w_red - 1``) and their difference odd (:math:`6 (clamp_{1/6} u + clamp_{1/3} u - u)`).
    """
    red, green, blue = images.unbind(1)
    high, low = torch.maximum(green, blue), torch.minimum(green, blue)
    u = (high + low).sub_(red)
    torch.maximum(high, red, out=high)
    torch.minimum(low, red, out=low)
    chroma = high - low
    u.add_(high).sub_(low, alpha=2).div_((chroma * 6).clamp_min_(torch.finfo(images.dtype).tiny))
    u.copysign_(torch.sub(green, blue, out=high))
    u.add_(onto(shift.to(images.dtype), images.device).view(-1, 1, 1))
    u.sub_(torch.round(u, out=high))
    angle = torch.abs(u, out=high)
    weight = torch.rsub(angle, 2, alpha=6).clamp_(0, 1)
    torch.addcmul(low, weight, chroma, out=red)
    difference = u.clamp(-1 / 6, 1 / 6).add_(u.clamp(-1 / 3, 1 / 3)).sub_(u).mul_(chroma).mul_(3)
    half_sum = weight.add_(angle, alpha=6).sub_(1).mul_(chroma)
    centre = low.add_(half_sum, alpha=0.5)
    torch.add(centre, difference, out=green)
    torch.sub(centre, difference, out=blue)
    return images


def lighting(images: Tensor, strengths: Tensor) -> Tensor:
    """Shift the colours along the principal components of ImageNet's: ``x + sum_c alpha_c lambda_c p_c``, not clamped.

    Args:
        images: (B, 3, H, W).
        strengths: (B, 3) alpha on the CPU, one per component.

    References:
        Krizhevsky, Sutskever and Hinton, ImageNet classification, 2012, section 4.1; the components as published with
        fb.resnet.torch.
    """
    values, vectors = (torch.tensor(table, dtype=torch.float32) for table in LIGHTING)
    shift = ((strengths * values) @ vectors.T).to(images.dtype)
    return images + onto(shift, images.device)[:, :, None, None]


def solarize(images: Tensor, threshold: float = 128 / 255) -> Tensor:
    """Invert every value at or above ``threshold`` (in [0, 1]; 128 of 255 in the papers): x -> 1 - x."""
    return torch.where(images >= threshold, 1 - images, images)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract ``mean`` and divide by ``std``, per channel; the result is in channels_last memory format."""
    views = torch.empty_like(images, memory_format=torch.channels_last)
    return normalize_into_(views, images.clone(), mean, std)


def normalized(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalise the channels of images (B, C, h, w)."""
    centre, width = onto(torch.tensor((mean, std), dtype=images.dtype), images.device)[:, :, None, None]
    return (images - centre) / width


def normalize_into_(views: Tensor, images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Write the normalised ``images`` into ``views`` (same shape, any float dtype and memory format).

    ``images`` is overwritten.
    """
    centre, width = onto(torch.tensor((mean, std), dtype=images.dtype), images.device)[:, :, None, None]
    return views.copy_(images.sub_(centre).div_(width))
