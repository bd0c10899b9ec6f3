"""A network with its preprocessing in front: photographs of any size in, features out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from viewkin.augment.geometry import filter_weights
from viewkin.encode.image_vectors import SMALLEST_STORED, stored_side
from viewkin.encode.model import LARGEST_STORED, Model


class WholeImages(nn.Module):
    """Photographs as they were decoded (B, H, W, 3) uint8 -> features (B, D), for any height H and width W.

    The view is that of :func:`viewkin.encode.image_vectors.image_vectors`: the central square, or the whole image where
    the policy squashes it, is resized to the side that it would be stored at (bicubic, rounded to grey levels, columns
    before rows), and the view is cut from that. All images of one call have one size, so they may come one by one.

    Both resizes are products with matrices of filter weights. So there is no branch on a size, a tracer sees one graph
    for all sizes, and a runtime needs no antialiased resize of its own.
    """

    def __init__(self, model: Model) -> None:
        """Put the preprocessing of a model before its network.

        Args:
            model: its encoder must be a module.
        """
        super().__init__()
        assert isinstance(model.encoder, nn.Module)
        self.network, self.size = model.encoder, model.image_size
        self.fraction, self.squash = model.policy.test_fraction, model.policy.squash
        self.most = stored_side((LARGEST_STORED, LARGEST_STORED), model.image_size)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(model.policy.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(model.policy.std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Compute features."""
        return self.network(self.views(images))

    def views(self, images: Tensor) -> Tensor:
        """Make the test views: (B, 3, S, S) normalised."""
        sides: Any = images.shape[1:3]
        height, width = (torch.ones(side, device=images.device).sum() for side in sides)
        shorter = torch.minimum(height, width)
        stored = shorter.clamp(SMALLEST_STORED, self.most)
        rows = self._stored(height, shorter, stored, sides[0])
        columns = self._stored(width, shorter, stored, sides[1])
        x = images.permute(0, 3, 1, 2).float()
        x = torch.matmul(x, columns.transpose(0, 1)).round().clamp(0, 255)
        x = torch.matmul(rows, x).round().clamp(0, 255) / 255
        cut = self._cut(stored)
        return (torch.matmul(cut, torch.matmul(x, cut.transpose(0, 1))) - self.mean) / self.std

    def _stored(self, side: Tensor, shorter: Tensor, stored: Tensor, pixels: int) -> Tensor:
        """Weights (most, pixels) that turn a side of the image into one of the stored square.

        Rows from ``stored`` on are never looked at.
        """
        length = side if self.squash else shorter
        start = torch.floor((side - length) / 2)
        centre = start + (torch.arange(self.most, device=side.device) + 0.5) * length / stored
        weights = filter_weights(
            centre[None], _one(length / stored), _one(start), _one(start + length), side=pixels, mode="bicubic"
        )
        return weights[0].nan_to_num(0.0)

    def _cut(self, stored: Tensor) -> Tensor:
        """Weights (size, most) that cut the view from the stored square, as :func:`viewkin.augment.views.test_view`."""
        size = torch.full_like(stored, float(self.size))
        crop = torch.where(stored > size, stored * self.fraction, stored)
        exact = (crop - size).abs() < 0.5
        crop = torch.where(exact, size, crop)
        corner = (stored - crop) / 2
        corner = torch.where(exact, corner.round(), corner)
        centre = corner + (torch.arange(self.size, device=stored.device) + 0.5) * crop / size
        return filter_weights(
            centre[None], _one(crop / size), _one(stored * 0), _one(stored), side=self.most, mode="bilinear"
        )[0]


def _one(value: Tensor) -> Tensor:
    return value.reshape(1, 1)
