"""What every target of an export has: how it is written, loaded again, and compared with the network it came from."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity

from viewkin.data.dataset import Dataset
from viewkin.encode.features import frozen
from viewkin.encode.image_vectors import SeenImage, seen_image, views_of
from viewkin.encode.model import Model
from viewkin.runtime.errors import UserError

ANY_NETWORK = ("onnx", "pt2", "safetensors")
"""Targets that take every network."""
ALLOWED = 1e-3
"""Largest difference from the network's own features in an export that is kept, as a share of the largest feature."""
CPU = torch.device("cpu")


class Pictures:
    """Some images, and what a model makes of them."""

    def __init__(self, model: Model, pictures: Sequence[NDArray[np.uint8]]) -> None:
        """Encode pictures as :func:`viewkin.encode.image_vectors.image_vectors` does.

        Args:
            model: the model.
            pictures: each (H, W, 3), of any size.
        """
        self.arrays = list(pictures)
        self.images = [Image.fromarray(one) for one in pictures]
        encoded = Dataset.of(self.images).listing().encoded
        seen = [seen_image(place, model, encoded, None) for place in range(len(self.images))]
        self.views = views_of(model, [one for one in seen if isinstance(one, SeenImage)], CPU)
        self.features: Tensor = model.encode(self.views, CPU).float()

    @property
    def small(self) -> bool:
        """Whether no image is larger than the view, so that images are used whole."""
        side = self.views.shape[-1]
        return all(min(image.size) <= side for image in self.images)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How near the features of an export are to the network's own."""

    by: str
    """What loaded it, with its version."""
    images: int
    """Images that were compared."""
    largest: float
    """Largest absolute value of a feature."""
    network: float
    """Largest absolute difference, where both see the same views."""
    whole: float | None = None
    """Largest absolute difference from photographs, each preprocessed in the way of its own library; None: the target
    has no preprocessing."""
    cosine: float | None = None
    """Least cosine of such features; None likewise."""

    def sentence(self) -> str:
        """Say it in a sentence."""
        start = (
            f"Loaded by {self.by} and compared on {self.images} images: the largest difference of a feature is "
            f"{written(self.network)} on the same views (the largest feature is {self.largest:.3g})"
        )
        if self.whole is None or self.cosine is None:
            return f"{start}. Preprocessing is not part of this format."
        return f"{start}, and {written(self.whole)} with its own preprocessing (least cosine {self.cosine:.6f})."


def written(difference: float) -> str:
    """Write a difference: ``0``, or such as ``2.4e-04``."""
    return f"{difference:.1e}" if difference else "0"


def compared(by: str, pictures: Pictures, network: Tensor, whole: Tensor | None = None) -> Comparison:
    """Compare features with the network's own.

    Args:
        by: what computed them.
        pictures: the images.
        network: (n, D) features of the same views.
        whole: (n, D) features of the photographs, by the target's preprocessing.

    Raises:
        UserError: they are those of another network.
    """
    own = pictures.features
    if network.shape != own.shape or (whole is not None and whole.shape != own.shape):
        raise UserError(f"The export gives features of {network.shape[1]} numbers instead of {own.shape[1]}.")
    largest, apart = float(own.abs().max()), float((network - own).abs().max())
    if not apart <= ALLOWED * largest:
        raise UserError(
            f"The export is not kept: loaded by {by}, its features differ from the network's by {apart:.2g}, where the "
            f"largest is {largest:.2g}; choose another target."
        )
    facts: dict[str, Any] = {"by": by, "images": len(own), "largest": largest, "network": apart}
    if whole is not None:
        facts["whole"] = float((whole - own).abs().max())
        facts["cosine"] = float(cosine_similarity(whole, own, dim=1).min())
    return Comparison(**facts)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A form that a network can be exported to."""

    name: str
    """What the user calls it."""
    file: str
    """Name of the file with the weights, in the folder of the export."""
    loads_with: str
    """Module that loads it, by which it is verified."""
    install: str
    """What to install for that."""
    check: Callable[[Model], object]
    """Refuses a network that the form has no place for, by a UserError."""
    write: Callable[[Path, Model, Pictures], None]
    """(folder, model, pictures): writes the files into the folder. ``pictures`` tell how large images are."""
    compare: Callable[[Path, Model, Pictures], Comparison]
    """(folder, model, pictures): loads the files again and compares."""
    loading: Callable[[Model, Pictures], str]
    """Code that loads the files and computes the ``features`` of ``photo.jpg``."""
    preprocessing: str
    """Who makes the views, in a sentence; ``{view}`` stands for how they are made."""

    @property
    def loads_here(self) -> bool:
        """Whether it can be verified here."""
        try:
            return importlib.util.find_spec(self.loads_with) is not None
        except (ImportError, ValueError):  # a module that is barred, or half there
            return False


def any_network(model: Model) -> None:
    """Take every network."""
    assert isinstance(model.encoder, torch.nn.Module)


@torch.no_grad()
def rows_of(network: Any, inputs: Sequence[Tensor]) -> Tensor:
    """Encode inputs one by one: (n, D) float32."""
    with frozen(network):
        return torch.cat([network(one) for one in inputs]).float()
