"""Gaussian blur with a different width for each sample."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from viewkin.runtime.draws import onto


def gaussian_blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Blur images (B, C, H, W) by a Gaussian sampled at whole pixels, cut at ``radius`` and normalised to sum 1.

    Equal to torchvision's GaussianBlur with ``kernel_size = 2 radius + 1`` and mirrored edges; computed as two passes
    of shifted sums. The radius is set by the policy and not by the batch, so that samples are independent.

    Args:
        images: float.
        sigma: (B,) standard deviation, pixels.
        radius: radius of the kernel, pixels; limited to the smaller side minus one.
    """
    radius = min(radius, min(images.shape[-2:]) - 1)
    sigma = onto(sigma.to(images.dtype), images.device).view(-1, 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.softmax(-0.5 * (offsets / sigma) ** 2, dim=1)
    for axis, padding in ((3, (radius, radius, 0, 0)), (2, (0, 0, radius, radius))):
        padded = functional.pad(images, padding, mode="reflect")
        length = images.shape[axis]
        images = padded.narrow(axis, 0, length) * kernel[:, 0].view(-1, 1, 1, 1)
        for tap in range(1, 2 * radius + 1):
            images.addcmul_(padded.narrow(axis, tap, length), kernel[:, tap].view(-1, 1, 1, 1))
    return images
