"""Geometry of views: crop boxes, resampling, flips and shifts.

A box is a row (top, left, height, width) in pixels of the source, measured at pixel edges. A box with a negative width
begins at ``left`` and is read from right to left: a flipped crop without extra cost.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from viewkin.runtime.draws import onto

Mode = Literal["bilinear", "bicubic"]
Within = Literal["box", "image"]


def to_unit(images: Tensor) -> Tensor:
    """Convert uint8 images to new float32 images in [0, 1]; return float images unchanged."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def resized_crop_boxes(
    count: int, side: int, scale: tuple[float, float], ratio: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Draw the boxes of RandomResizedCrop for square images, (count, 4).

    The area is uniform in ``scale``, as a fraction of the image; width / height is log-uniform in ``ratio``; both sides
    are rounded to pixels. The first of ten tries that fits is used. If none fits, it is the largest centred box with a
    ratio in the range.

    References:
        Szegedy et al., Going Deeper with Convolutions, 2015, section 6; torchvision's RandomResizedCrop.
    """
    area = torch.empty(count, 10, dtype=torch.float64).uniform_(*scale, generator=generator) * side**2
    shape = torch.empty(count, 10, dtype=torch.float64).uniform_(*map(math.log, ratio), generator=generator).exp_()
    place = torch.rand(count, 2, dtype=torch.float64, generator=generator)
    sides = torch.stack(((area / shape).sqrt_().round_(), (area * shape).sqrt_().round_()), dim=-1)
    fits = ((sides > 0) & (sides <= side)).all(-1)
    first = fits.int().argmax(1)
    chosen = sides[torch.arange(count), first]
    corner = (place * (side - chosen + 1)).floor_()
    whole = torch.tensor([round(side / max(ratio[0], 1)), round(side * min(ratio[1], 1))], dtype=torch.float64)
    any_fits = fits.any(1, keepdim=True)
    chosen = torch.where(any_fits, chosen, whole)
    corner = torch.where(any_fits, corner, ((side - whole) / 2).floor_())
    return torch.cat((corner, chosen), dim=1).float()


def flip_boxes(boxes: Tensor, on: Tensor) -> Tensor:
    """Flip the crops of ``boxes`` (B, 4) left to right where ``on`` (B,) is true."""
    flipped = torch.stack((boxes[:, 0], boxes[:, 1] + boxes[:, 3], boxes[:, 2], -boxes[:, 3]), dim=1)
    return torch.where(on[:, None], flipped, boxes)


def crop_resize(images: Tensor, boxes: Tensor, size: int, mode: Mode = "bilinear", within: Within = "box") -> Tensor:
    """Cut one box from each image and resize it to ``size`` x ``size``, with Pillow's filters.

    When shrinking, the filter is widened by the scale (antialias), as in Pillow and torchvision. A bilinear crop that
    is not shrunk needs no antialias and uses the much faster ``grid_sample``; this is decided for each sample. Bicubic
    has a = -0.5 and is clamped to [0, 1].

    Args:
        images: (B, C, H, W), uint8 or float in [0, 1].
        boxes: (B, 4) on the CPU, pixels.
        size: side of the result, pixels.
        mode: filter.
        within: ``box`` never reads outside the box (crop, then resize); ``image`` may (resize, then crop).

    Returns:
        (B, C, size, size) float32 in [0, 1], new memory.
    """
    images = to_unit(images)
    if mode == "bicubic":
        return _resize_antialiased(images, boxes, size, mode, within).clamp_(0, 1)
    plain = (boxes[:, 2:].abs() <= size).all(1)
    if bool(plain.all()):
        return _resize_bilinear(images, boxes, size, within)
    views = images.new_empty(*images.shape[:2], size, size)
    for chosen, resample in ((plain, _resize_bilinear), (~plain, _resize_antialiased)):
        rows = chosen.nonzero().squeeze(1)
        if len(rows):
            on_device = onto(rows, images.device)
            views[on_device] = resample(images.index_select(0, on_device), boxes[rows], size, within=within)
    return views


def _to_device(boxes: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Move the boxes (B, 4) and the images' sides (2, 1) to the device of the images."""
    sides = torch.tensor(images.shape[2:], dtype=boxes.dtype).unsqueeze(1)
    return onto(boxes, images.device), onto(sides, images.device)


def _pixel_positions(boxes: Tensor, size: int, sides: Tensor, within: Within) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute where the rows and columns of the view lie in the source.

    Returns:
        Centres of the view's pixels (B, 2, size); source pixels per view pixel (B, 2, 1); the first readable pixel, and
        one past the last (B, 2, 1 each).
    """
    start, length = boxes[:, :2, None], boxes[:, 2:, None]
    steps = torch.arange(size, device=boxes.device, dtype=boxes.dtype).add_(0.5).div_(size)
    end = start + length
    low, high = torch.minimum(start, end), torch.maximum(start, end)
    if within == "image":
        low, high = torch.zeros_like(low), sides.expand_as(high)
    return torch.addcmul(start, length, steps), length.abs() / size, low, high


def _resize_bilinear(images: Tensor, boxes: Tensor, size: int, within: Within) -> Tensor:
    """Resample bilinearly without antialias; coordinates are clamped to the outermost readable pixel centres."""
    boxes, sides = _to_device(boxes, images)
    centre, _, low, high = _pixel_positions(boxes, size, sides, within)
    position = torch.minimum(torch.maximum(centre, low + 0.5), high - 0.5)
    position.mul_(2 / sides).sub_(1)
    grid = images.new_empty(len(images), size, size, 2)
    grid[..., 0] = position[:, 1, None, :]
    grid[..., 1] = position[:, 0, :, None]
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _resize_antialiased(
    images: Tensor, boxes: Tensor, size: int, mode: Mode = "bilinear", within: Within = "box"
) -> Tensor:
    """Resample by two matrix products with Pillow's filter weights, (B, size, side) per axis.

    TF32, if the user allows it, has an error of a tenth of a grey level; autocast is disabled.
    """
    boxes, sides = _to_device(boxes, images)
    count, channels, height, width = images.shape
    placed = _pixel_positions(boxes, size, sides, within)
    rows, columns = (
        filter_weights(*(part[:, axis] for part in placed), side=side, mode=mode)
        for axis, side in enumerate((height, width))
    )
    with torch.autocast(images.device.type, enabled=False):
        wide = torch.bmm(images.reshape(count, channels * height, width), columns.transpose(1, 2))
        return torch.matmul(rows[:, None], wide.view(count, channels, height, size))


def filter_weights(centre: Tensor, scale: Tensor, low: Tensor, high: Tensor, *, side: int, mode: Mode) -> Tensor:
    """Filter weights (B, size, side): ``f((j + 1/2 - centre) / max(scale, 1))``, each row scaled to sum 1."""
    pixel = torch.arange(side, device=centre.device, dtype=centre.dtype).add_(0.5)
    distance = (pixel - centre[:, :, None]).div_(scale.clamp_min(1)[:, :, None]).abs_()
    weights = _cubic(distance) if mode == "bicubic" else distance.neg_().add_(1).clamp_min_(0)
    weights.mul_(((pixel > low) & (pixel < high))[:, None, :])
    return weights.div_(weights.sum(-1, keepdim=True))


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -1/2 at |t| = ``distance``; zero from 2 on."""
    near = (1.5 * distance - 2.5) * distance * distance + 1
    t = distance.clamp_max(2)
    far = ((2.5 - 0.5 * t) * t - 4) * t + 2
    return torch.where(distance < 1, near, far)


def flip(images: Tensor, on: Tensor) -> Tensor:
    """Mirror the images (B, C, H, W) left to right where ``on`` (B,), on the CPU, is true."""
    rows = onto(on.nonzero().squeeze(1), images.device)
    return images.index_copy(0, rows, images.index_select(0, rows).flip(-1))


def translate_reflect(images: Tensor, shift: Tensor) -> Tensor:
    """Shift images (B, C, H, W) down and right by ``shift`` (B, 2) whole pixels, with mirrored edges.

    The edge pixel itself is not repeated.

    References:
        Bachman et al., AMDIM, 2019, the authors' CIFAR augmentation.
    """
    shift = onto(shift, images.device)
    count, channels, height, width = images.shape
    places = [
        torch.arange(side, device=images.device) - shift[:, axis, None] for axis, side in enumerate((height, width))
    ]
    rows, columns = (
        (side - 1) - ((side - 1) - place.abs()).abs() for place, side in zip(places, (height, width), strict=True)
    )
    flat = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, flat).view_as(images)
