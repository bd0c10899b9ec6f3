"""Makes the views of a batch: random numbers are drawn for the global batch, sliced, and applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from viewkin.augment.colour import normalize_into_
from viewkin.augment.forms import COLOURS, RGB
from viewkin.augment.geometry import crop_resize, flip_boxes, to_unit
from viewkin.augment.operations import Crop, Draws, Flip, ResizedCrop
from viewkin.augment.policies import Pipeline, Policy, Triple
from viewkin.runtime.errors import UserError

CACHED_PIXELS = 131072
"""Maximum number of view pixels that a CPU processes at once, so that they fit in its second-level cache. A GPU
processes the whole batch at once."""


@dataclass(kw_only=True)
class Parameters:
    """All random numbers of the views of ``count`` images, one row per image, on the CPU."""

    count: int
    """Number of images."""
    side: int
    """Stored side of the images, pixels."""
    shared: tuple[Draws, ...]
    """Draws of the shared operations."""
    views: dict[str, tuple[Draws, ...]]
    """View name to the draws of its pipeline, and last those of its form."""

    def rows(self, start: int, stop: int) -> Parameters:
        """Take the rows ``start`` to ``stop`` (exclusive)."""
        return Parameters(
            count=len(range(self.count)[start:stop]),
            side=self.side,
            shared=_sliced(self.shared, start, stop),
            views={name: _sliced(draws, start, stop) for name, draws in self.views.items()},
        )


def _sliced(draws: tuple[Draws, ...], start: int, stop: int) -> tuple[Draws, ...]:
    return tuple({name: rows[start:stop] for name, rows in draw.items()} for draw in draws)


@dataclass(frozen=True)
class ViewSpec:
    """What a method asks of one of its views."""

    role: str
    """Pipeline of the policy: ``first``, ``second`` or ``weak``."""
    _: KW_ONLY
    size: int | None = None
    """Side, pixels; None: that of the recipe's views. Multi-crop has views of several sizes."""
    area: tuple[float, float] | None = None
    """Smallest and largest area of the random crop, fraction of the image; None: the policy's."""
    form: RGB = COLOURS
    """What the finished crop becomes: colours, Lab, four rotations, patches."""
    shows: Literal["own", "chosen"] = "own"
    """Whose image: the batch's ``own``, or the images that the method's ``shown`` chooses for this view."""

    def pipeline(self, policy: Policy) -> Pipeline:
        """Return the operations of this view.

        Raises:
            UserError: the policy has no such role, or a crop without an area.
        """
        pipeline = policy.pipeline(self.role)
        if self.area is None:
            return pipeline
        if not isinstance(pipeline[0], ResizedCrop):
            raise UserError(f"The views of policy {policy.name} have no random area, and this method sets one.")
        return (replace(pipeline[0], scale=self.area), *pipeline[1:])


class ViewMaker:
    """Makes the views of a batch by a policy."""

    def __init__(self, policy: Policy, size: int, spec: Mapping[str, ViewSpec | str]) -> None:
        """Plan the views.

        Args:
            policy: operations of the views.
            size: side of the views that have none of their own, pixels.
            spec: view name to what it is, or only to its role in the policy.

        Raises:
            UserError: a size is below 1, or there is no such role.
        """
        self.spec = {name: ViewSpec(one) if isinstance(one, str) else one for name, one in spec.items()}
        self.policy = policy
        self.sizes = {name: one.size or size for name, one in self.spec.items()}
        least = min(size, *self.sizes.values()) if self.sizes else size
        if least < 1:
            raise UserError(f"Views of {least} pixels do not exist: choose a size of at least 1.")
        self.size = max(self.sizes.values(), default=size)
        self.pipelines = {name: one.pipeline(policy) for name, one in self.spec.items()}

    def sample(self, count: int, generator: torch.Generator, side: int) -> Parameters:
        """Draw all random numbers for ``count`` images stored as squares of ``side`` pixels."""

        def drawn(pipeline: Pipeline, size: int) -> tuple[Draws, ...]:
            return tuple(operation.draw(count, generator, side, size) for operation in pipeline)

        shared = drawn(self.policy.shared, self.size)
        views = {name: drawn(pipeline, self.sizes[name]) for name, pipeline in self.pipelines.items()}
        forms = {name: one.form.draw(count, generator, self.sizes[name]) for name, one in self.spec.items()}
        views = {name: (*draws, forms[name]) for name, draws in views.items()}
        return Parameters(count=count, side=side, shared=shared, views=views)

    @torch.no_grad()
    def __call__(self, images: Tensor, parameters: Parameters, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Make every view of uint8 images (B, 3, side, side), on their device.

        All operations compute in float32; only the finished view is rounded to ``dtype``. A view depends only on its
        image and its row of the parameters.

        Returns:
            View name to (B, 3, size, size), normalised, channels_last, or what its form makes of it.

        Raises:
            UserError: number, size or type of the images differ from those that the parameters were drawn for.
        """
        _check_images(images, parameters.side)
        if len(images) != parameters.count:
            raise UserError(f"{len(images)} images came with random numbers for {parameters.count}: slice them alike.")
        plans = {
            name: _flip_in_crop(pipeline, parameters.views[name][:-1]) for name, pipeline in self.pipelines.items()
        }
        plain = [name for name, one in self.spec.items() if type(one.form) is RGB]
        views = {name: _empty_views(images, self.sizes[name], dtype) for name in plain}
        parts: dict[str, list[Tensor]] = {name: [] for name in self.spec if name not in plain}
        for start, stop in _chunks(images, self.size):
            source = to_unit(images[start:stop])
            for operation, draws in zip(self.policy.shared, _sliced(parameters.shared, start, stop), strict=True):
                source = operation.apply(source, draws, self.size)
            for name, (pipeline, draws) in plans.items():
                view = source
                for operation, rows in zip(pipeline, _sliced(draws, start, stop), strict=True):
                    view = operation.apply(view, rows, self.sizes[name])
                if name in views:
                    normalize_into_(views[name][start:stop], view, self.policy.mean, self.policy.std)
                    continue
                (rows,) = _sliced(parameters.views[name][-1:], start, stop)
                formed = self.spec[name].form.apply(view, rows, self.policy.mean, self.policy.std)
                parts[name].append(formed.to(dtype))
        return {name: views[name] if name in views else torch.cat(parts[name]) for name in self.spec}


@torch.no_grad()
def test_views(images: Tensor, size: int, policy: Policy, spec: Mapping[str, ViewSpec]) -> dict[str, Tensor]:
    """Make the test view in the size and form of each of a method's views, without randomness.

    Args:
        images: (B, 3, side, side) uint8.
        size: side of the views that have none of their own, pixels.
        policy: for size of the centre crop and normalisation.
        spec: view name to what it is.
    """
    none: Triple = (0.0, 0.0, 0.0)
    one: Triple = (1.0, 1.0, 1.0)
    views: dict[str, Tensor] = {}
    for name, asked in spec.items():
        if type(asked.form) is RGB:
            views[name] = test_view(images, asked.size or size, policy)
        else:
            bare = test_view(images, asked.size or size, replace(policy, mean=none, std=one))
            views[name] = asked.form.apply(bare, {}, policy.mean, policy.std)
    return views


@torch.no_grad()
def test_view(images: Tensor, size: int, policy: Policy, dtype: torch.dtype = torch.float32) -> Tensor:  # noqa: PT028
    """Make the test view, from which features are computed, without randomness.

    Images of side ``size`` are used as they are. From larger ones the centre square is cut, ``policy.test_fraction`` of
    the side (224 of 256), and resized to ``size`` if necessary. Smaller ones are enlarged as a whole.

    Returns:
        (B, 3, size, size), normalised, channels_last, from uint8 images (B, 3, side, side).

    Raises:
        UserError: the images are not square uint8 colour images.
    """
    side = images.shape[-1]
    _check_images(images, side)
    views = _empty_views(images, size, dtype)
    crop = size if side == size else side * policy.test_fraction if side > size else side
    # If the crop is within half a pixel of the view's size, it is not resampled: 224 of 256 is only cut.
    crop = float(size) if abs(crop - size) < 0.5 else float(crop)
    corner = float(round((side - crop) / 2)) if crop == size else (side - crop) / 2
    box = torch.tensor([[corner, corner, crop, crop]])
    for start, stop in _chunks(images, size):
        chunk = images[start:stop]
        if crop == size:
            first = int(corner)
            view = to_unit(chunk[:, :, first : first + size, first : first + size])
        else:
            view = crop_resize(chunk, box.expand(len(chunk), 4), size, within="image")
        normalize_into_(views[start:stop], view, policy.mean, policy.std)
    return views


def _flip_in_crop(pipeline: Pipeline, draws: tuple[Draws, ...]) -> tuple[Pipeline, tuple[Draws, ...]]:
    """Merge the flip into the crop.

    All operations after a crop are symmetric in left and right, so the flip can be done by the crop, where reading the
    box backwards has no extra cost.
    """
    flips = [place for place, operation in enumerate(pipeline) if isinstance(operation, Flip)]
    if len(flips) != 1 or not isinstance(pipeline[0], Crop):
        return pipeline, draws
    place = flips[0]
    crop: Draws = {"box": flip_boxes(draws[0]["box"], draws[place]["on"])}
    return pipeline[:place] + pipeline[place + 1 :], (crop, *draws[1:place], *draws[place + 1 :])


def _empty_views(images: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    shape = (len(images), 3, size, size)
    return torch.empty(shape, dtype=dtype, device=images.device, memory_format=torch.channels_last)


def _chunks(images: Tensor, size: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows that are processed at once."""
    count = len(images)
    rows = max(1, CACHED_PIXELS // size**2) if images.device.type == "cpu" else max(1, count)
    for start in range(0, count, rows):
        yield start, min(start + rows, count)


def _check_images(images: Tensor, side: int) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"Images must be uint8 (B, 3, H, W), not {images.dtype} {tuple(images.shape)}: convert them.")
    if tuple(images.shape[2:]) != (side, side):
        raise UserError(
            f"Images of {images.shape[2]} x {images.shape[3]} pixels came where squares of {side} were expected: "
            "store them as squares of one side."
        )
