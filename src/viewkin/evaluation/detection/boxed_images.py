"""Images of one split with boxes, however they are stored."""

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
from viewkin.evaluation.detection.measures import Truth
from viewkin.runtime.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Boxed:
    """Images of one split with the boxes of what they show."""

    name: str
    """What a table calls the set."""
    classes: tuple[str, ...]
    """Class names by label."""
    encoded: Sequence[Path | bytes]
    """Images, not yet decoded."""
    ids: Sequence[str]
    """Name of each image."""
    truths: Sequence[Truth]
    """Boxes in pixels of the image as it is stored, one an image."""
    notes: tuple[str, ...] = ()
    """What was left out."""

    def __len__(self) -> int:
        """Count the images."""
        return len(self.ids)

    @property
    def boxes(self) -> int:
        """Boxes in all."""
        return sum(len(one.labels) for one in self.truths)

    def image(self, position: int) -> Tensor:
        """Decode one image: (3, H, W) float of 0 to 1. Boxes are of the stored pixels, so no EXIF flag turns it.

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

    def only(self, wanted: str) -> Boxed:
        """Keep the boxes of some classes, names with commas between; labels count these alone.

        Raises:
            UserError: an unknown class.
        """
        names = [part.strip() for part in wanted.split(",") if part.strip()]
        for name in names:
            if name not in self.classes:
                near = difflib.get_close_matches(name, self.classes, n=2, cutoff=0.4) or self.classes[:4]
                raise UserError(f"{self.name} has no boxes of a class {name!r}; give names such as {', '.join(near)}.")
        kept = tuple(name for name in self.classes if name in names)
        place = np.array([kept.index(name) if name in kept else -1 for name in self.classes])
        return replace(self, classes=kept, truths=[_placed(one, place) for one in self.truths])

    def with_boxes(self) -> Boxed:
        """Keep what teaches, as Detectron2 does: images with a box, and no box of a crowd."""
        truths = [one if one.crowd is None else one.kept(~one.crowd) for one in self.truths]
        rows = [row for row, one in enumerate(truths) if len(one.labels)]
        parts: dict[str, Any] = {name: [getattr(self, name)[row] for row in rows] for name in ("encoded", "ids")}
        return replace(self, **parts, truths=[truths[row] for row in rows])


def _placed(truth: Truth, place: np.ndarray) -> Truth:
    """Number the classes anew; boxes of a class whose place is -1 go."""
    moved = replace(truth, labels=place[truth.labels])
    return moved.kept(moved.labels >= 0)


def truth_of(
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    ignored: Sequence[bool],
    crowd: Sequence[bool] | None = None,
) -> tuple[Truth, int]:
    """Make the truth of an image, and count the boxes without area that are left out."""
    sides = np.array(boxes, np.float64).reshape(-1, 4)
    kept = (sides[:, 2:] > sides[:, :2]).all(1)
    truth = Truth(
        sides[kept],
        np.array(labels, np.int64)[kept],
        np.array(ignored, np.bool_)[kept],
        None if crowd is None else np.array(crowd, np.bool_)[kept],
    )
    return truth, int((~kept).sum())


def left_out(lost: int) -> tuple[str, ...]:
    """Say how many boxes without area are missing."""
    return (f"Left out because they have no area: {lost} boxes.",) if lost else ()
