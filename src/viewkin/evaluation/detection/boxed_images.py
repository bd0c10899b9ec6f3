"""The images of one split with their boxes, from whatever files they come."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from viewkin.data.decode import reason, to_rgb
from viewkin.evaluation.detection.average_precision import Truth
from viewkin.runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class BoxedImages:
    """Images of one split with the boxes of their objects."""

    name: str
    """Name of the set in tables."""
    classes: tuple[str, ...]
    """Class names by label."""
    encoded: Sequence[Path | bytes]
    """Files or bytes of the images, not yet decoded."""
    ids: Sequence[str]
    """Name of each image."""
    truths: Sequence[Truth]
    """One per image; boxes are in pixels of the stored image."""
    notes: tuple[str, ...] = ()
    """Sentences about boxes that were left out."""

    def __len__(self) -> int:
        """Count the images."""
        return len(self.ids)

    @property
    def boxes(self) -> int:
        """Number of boxes in all images."""
        return sum(len(truth.labels) for truth in self.truths)

    def image(self, position: int) -> Tensor:
        """Decode one image: (3, H, W) float of 0 to 1.

        Boxes refer to the stored pixels, so the EXIF orientation is ignored.

        Raises:
            UserError: it cannot be decoded.
        """
        stored = self.encoded[position]
        try:
            with Image.open(BytesIO(stored) if isinstance(stored, bytes) else stored) as image:
                pixels = np.asarray(to_rgb(image))
        except Exception as error:  # as in data.decode
            raise UserError(
                f"{self.ids[position]} of {self.name} cannot be read ({reason(error)}); fetch it again."
            ) from error
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255

    def only_classes(self, wanted: str) -> BoxedImages:
        """Keep the boxes of the named classes (names separated by commas), whose labels become 0, 1, ....

        Raises:
            UserError: an unknown class.
        """
        names = [part.strip() for part in wanted.split(",") if part.strip()]
        for name in names:
            if name not in self.classes:
                near = difflib.get_close_matches(name, self.classes, n=2, cutoff=0.4) or self.classes[:4]
                raise UserError(f"{self.name} has no boxes of a class {name!r}; give names such as {', '.join(near)}.")
        kept = tuple(name for name in self.classes if name in names)
        new_labels = np.array([kept.index(name) if name in kept else -1 for name in self.classes])
        return replace(self, classes=kept, truths=[_relabelled(truth, new_labels) for truth in self.truths])

    def without_empty_images(self) -> BoxedImages:
        """Drop crowd boxes, then images without a box: what Detectron2 trains on."""
        truths = [truth if truth.crowd is None else truth.select(~truth.crowd) for truth in self.truths]
        rows = [row for row, truth in enumerate(truths) if len(truth.labels)]
        parts: dict[str, Any] = {name: [getattr(self, name)[row] for row in rows] for name in ("encoded", "ids")}
        return replace(self, **parts, truths=[truths[row] for row in rows])


def _relabelled(truth: Truth, new_labels: np.ndarray) -> Truth:
    """Map the labels by ``new_labels`` (C,); boxes whose new label is -1 are dropped."""
    relabelled = replace(truth, labels=new_labels[truth.labels])
    return relabelled.select(relabelled.labels >= 0)


def make_truth(
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    ignored: Sequence[bool],
    crowd: Sequence[bool] | None = None,
) -> tuple[Truth, int]:
    """Make the :class:`Truth` of an image, and count the boxes without area, which are dropped."""
    sides = np.array(boxes, np.float64).reshape(-1, 4)
    kept = (sides[:, 2:] > sides[:, :2]).all(1)
    truth = Truth(
        sides[kept],
        np.array(labels, np.int64)[kept],
        np.array(ignored, np.bool_)[kept],
        None if crowd is None else np.array(crowd, np.bool_)[kept],
    )
    return truth, int((~kept).sum())


def dropped_boxes_note(dropped: int) -> tuple[str, ...]:
    """Say how many boxes without area were dropped, if any."""
    return (f"Left out because they have no area: {dropped} boxes.",) if dropped else ()
