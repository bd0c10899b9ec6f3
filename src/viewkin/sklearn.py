"""Features of images as a scikit-learn transformer: :class:`Embedder`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from viewkin.api.embedding import HasPath, name_of
from viewkin.data.dataset import Dataset
from viewkin.encode.fingerprint import fingerprint_of
from viewkin.encode.image_vectors import image_vectors
from viewkin.encode.model import Model
from viewkin.encode.precision import precision_for
from viewkin.losses import unit
from viewkin.runs.models import device_named, open_model
from viewkin.runtime.errors import UserError

__all__ = ["Embedder", "ImagesError"]


class ImagesError(UserError, ValueError):
    """Images or a model that cannot be used; a :class:`ValueError` too, as scikit-learn's tools expect."""


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn images into features by a trained network, as a step of a scikit-learn pipeline.

        make_pipeline(Embedder("runs/mine"), LogisticRegression()).fit(paths, labels)

    Nothing is trained: ``fit`` only opens the network. A row depends on its own image alone, so cross-validation is
    fair, and equals the vector that a collection holds of the image.
    """

    def __init__(
        self,
        model: HasPath | str | Any,
        *,
        features: str = "backbone",
        normalise: bool = True,
        precision: str = "float32",
        device: str = "auto",
    ) -> None:
        """Choose the network.

        Args:
            model: a run, its directory, a backbone file, a checkpoint, or ``timm/NAME``; all that ``viewkin embed``
                takes.
            features: ``backbone``, or ``embedding`` (through the run's head as well).
            normalise: scale every row to length 1.
            precision: ``float32``, ``bfloat16``, ``int8``, or ``auto``, the faster of the first two by a trial.
            device: ``cpu``, ``cuda`` or ``auto``.
        """
        self.model = model
        self.features = features
        self.normalise = normalise
        self.precision = precision
        self.device = device

    def fit(self, X: Any, y: Any = None) -> Self:
        """Open the network, and make sure that there are images.

        Args:
            X: images, as :meth:`transform` takes them; they are not read.
            y: ignored.

        Raises:
            ImagesError: no network is there, or these are no images.
        """
        with _as_value_error():
            listed(X)
            precision_for(self.precision, 0)
            opened = self._open()
            self._opened: Model | None = opened
            self.fingerprint_ = fingerprint_of(opened, self.features)
        self._n_features_out: int = self._width()
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Compute the features of images.

        Args:
            X: N images: a list or a column of paths, PIL images or uint8 arrays (H, W, 3), an array (N, H, W, 3), or a
                table with one such column.

        Returns:
            (N, D) float32, in the order of the images.

        Raises:
            ImagesError: an image cannot be read, or the network's file has changed since ``fit``.
            sklearn.exceptions.NotFittedError: ``fit`` was not called.
        """
        check_is_fitted(self)
        with _as_value_error():
            images, order = once(listed(X))
            listing = Dataset.of(images).listing()
            rows = np.zeros((len(images), self._n_features_out), np.float32)
            device = device_named(self.device)
            precision = precision_for(self.precision, len(images))
            positions = range(len(rows))
            for block in image_vectors(self._network(), listing.encoded, positions, device, precision=precision):
                for position, why in block.unread.items():
                    raise ImagesError(f"{listing.keys[position]} cannot be read ({why}): leave it out.")
                rows[block.positions] = (unit(block.rows) if self.normalise else block.rows).numpy()
        return rows[order]

    def _open(self) -> Model:
        return open_model(name_of(self.model), self.features, device_named(self.device))

    def _network(self) -> Model:
        """The network that ``fit`` opened; opened again after unpickling."""
        if self._opened is None:
            opened = self._open()
            if fingerprint_of(opened, self.features) != self.fingerprint_:
                raise ImagesError(f"{name_of(self.model)} holds another network than when it was fitted: fit again.")
            self._opened = opened
        return self._opened

    def _width(self) -> int:
        grey = np.zeros((1, 32, 32, 3), np.uint8)
        listing = Dataset.of(grey).listing()
        blocks = image_vectors(self._network(), listing.encoded, [0], device_named(self.device))
        return int(next(iter(blocks)).rows.shape[1])

    def __getstate__(self) -> dict[str, Any]:
        """Leave the network out of a pickle: its place and its fingerprint are kept."""
        state: Any = super().__getstate__()
        return {name: None if name == "_opened" else value for name, value in state.items()}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def listed(images: Any) -> list[Any]:
    """Take images as scikit-learn hands them over: a list, a column, a table of one column, an array.

    Raises:
        ImagesError: there are none, or they are rows of numbers.
    """
    if isinstance(images, (str, bytes)) or (not isinstance(images, Sequence) and not hasattr(images, "__array__")):
        raise ImagesError(f"{type(images).__name__} is no list of images: give a list of paths, pictures or arrays.")
    if not isinstance(images, (list, tuple)):
        array = np.asarray(images)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim not in (1, 4) or (array.ndim == 1 and array.dtype.kind in "biufc"):
            raise ImagesError(
                f"X has the shape {array.shape} of {array.dtype}: give N paths or pictures, or an array (N, H, W, 3) "
                "of uint8."
            )
        images = list(array)
    if not len(images):
        raise ImagesError("Found array with 0 sample(s): give at least one image.")
    return [str(image) if isinstance(image, np.str_) else image for image in images]


def once(images: list[Any]) -> tuple[list[Any], list[int]]:
    """Take each path once, as resampling repeats some: the images, and the place of each one given among them."""
    places: dict[object, int] = {}
    kept: list[Any] = []
    order: list[int] = []
    for number, image in enumerate(images):
        key = Path(image).absolute() if isinstance(image, (str, Path)) else number
        if key not in places:
            places[key] = len(kept)
            kept.append(image)
        order.append(places[key])
    return kept, order


@contextmanager
def _as_value_error() -> Generator[None]:
    """Make the errors of this package ones that scikit-learn's tools know."""
    try:
        yield
    except ImagesError:
        raise
    except UserError as error:
        raise ImagesError(str(error)) from error
