"""Sources: a fixed, indexed set of images, all stored at one square size."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewkin.data.decode import GREY, decode, reason
from viewkin.data.left_out import LeftOut
from viewkin.data.listing import Openable
from viewkin.data.pillow_warnings import PillowWarnings
from viewkin.data.prefetch import prefetched
from viewkin.data.values import Range

logger = logging.getLogger("viewkin.data")


@dataclass(frozen=True)
class Skipped:
    """An image that was listed and could not be read."""

    key: str
    """Its key: a relative path, with ``#row`` inside a file of many images."""
    reason: str
    """What the decoder said."""


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """What a source says about itself, apart from its pixels."""

    name: str
    """Short name for logs and reports."""
    size: int
    """Side of the stored square, pixels."""
    keys: list[str]
    """One an image, each once: its path relative to the set's root, with ``#row`` inside a file of many images."""
    names: list[str] = field(default_factory=list[str])
    """What the images call themselves, in the order of the keys; the keys where they have no better name."""
    labels: Tensor | None = None
    """(N,) int64 in 0..C-1, -1 where an image has none; None when no image has one."""
    targets: Tensor | None = None
    """(N, C) int8 for images that show several classes: 1 present, 0 absent, -1 to be ignored; else None."""
    classes: tuple[str, ...] = ()
    """Class names by label, or by column of the targets."""
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Sets of labels that the set itself names, such as the classes kept for testing."""
    squashed: bool = False
    """Whether images were squashed to squares whole, instead of cut to their central square."""
    skipped: tuple[Skipped, ...] = ()
    """What was listed and could not be read."""
    notes: tuple[str, ...] = ()
    """Plain sentences on what was chosen or left out, for the log."""
    left_out: tuple[LeftOut, ...] = ()
    """What lies among the images and is not used, by reason."""
    value_range: Range | None = None
    """Values that become black and white in images of more than 8 bits; None: there is no such image."""

    def __post_init__(self) -> None:
        """Let the keys stand in for names."""
        if not self.names:
            object.__setattr__(self, "names", self.keys)

    def rows(self, index: Tensor) -> SourceInfo:
        """Keep the images at ``index`` (n,), in that order."""
        chosen: list[int] = index.tolist()
        keys = [self.keys[i] for i in chosen]
        names = keys if self.names is self.keys else [self.names[i] for i in chosen]
        labels, targets = (None if part is None else part[index] for part in (self.labels, self.targets))
        return replace(self, keys=keys, names=names, labels=labels, targets=targets)


class Source:
    """An indexed set of images (3, size, size) uint8; position i means the same image for the whole run.

    Final classes: :class:`ResidentSource` holds every pixel, :class:`StreamingSource` decodes on demand.
    """

    resident: bool
    """Whether the pixels are in memory (or memory-mapped), so that ``images`` costs next to nothing."""

    def __init__(self, facts: SourceInfo) -> None:
        self.facts = facts

    @property
    def name(self) -> str:
        """Short name for logs and reports."""
        return self.facts.name

    @property
    def size(self) -> int:
        """Side of the stored square, pixels."""
        return self.facts.size

    @property
    def keys(self) -> Sequence[str]:
        """One an image, each once: its path relative to the set's root, with ``#row`` inside a file of many images."""
        return self.facts.keys

    @property
    def names(self) -> Sequence[str]:
        """What the images call themselves; the keys where they have no better name."""
        return self.facts.names

    @property
    def labels(self) -> Tensor | None:
        """(N,) int64 on the CPU, 0..C-1, -1 where an image has none; None when no image has one."""
        return self.facts.labels

    @property
    def targets(self) -> Tensor | None:
        """(N, C) int8 on the CPU for images that show several classes: 1 present, 0 absent, -1 ignored; else None."""
        return self.facts.targets

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label, or by column of the targets; empty without either."""
        return self.facts.classes

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """Sets of labels that the set itself names."""
        return self.facts.groups

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was listed and could not be read."""
        return self.facts.skipped

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What lies among the images and is not used, by reason."""
        return self.facts.left_out

    @property
    def value_range(self) -> Range | None:
        """Values that became black and white in images of more than 8 bits; None: there is no such image."""
        return self.facts.value_range

    @property
    def notes(self) -> tuple[str, ...]:
        """Plain sentences on what was chosen or left out, for the log."""
        return self.facts.notes

    @property
    def device(self) -> torch.device:
        """Where ``images`` lie."""
        return torch.device("cpu")

    def __len__(self) -> int:
        """Count the images, N."""
        return len(self.facts.keys)

    def images(self, index: Tensor) -> Tensor:
        """Give the images at ``index`` (B,) int64: (B, 3, size, size) uint8 on the source's device."""
        raise NotImplementedError

    def to(self, device: torch.device | str) -> Source:
        """Give this source with its resident pixels on ``device``; a streaming source stays on the CPU."""
        raise NotImplementedError

    def subset(self, index: Tensor) -> Source:
        """Give the images at ``index`` (n,) int64 as a source of their own, without a copy of the pixels."""
        raise NotImplementedError

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """Give the images of each part in turn, as :meth:`images` does."""
        return map(self.images, parts)

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through images ``start`` to ``stop`` in index order, ``size`` at a time: (index, images)."""
        rows = torch.arange(start, len(self) if stop is None else min(stop, len(self)))
        for index in rows.split(size) if len(rows) else ():
            yield index, self.images(index)


class ResidentSource(Source):
    """A source that holds every image in one uint8 tensor, in memory or memory-mapped."""

    resident = True

    def __init__(self, facts: SourceInfo, pixels: Tensor, rows: Tensor | None = None) -> None:
        """Hold ``pixels`` (M, 3, size, size) uint8, of which ``rows`` (N,) are this source's (None: all)."""
        super().__init__(facts)
        self._pixels = pixels
        self._rows = None if rows is None else rows.to(pixels.device)

    @property
    def device(self) -> torch.device:
        """Where the pixels lie."""
        return self._pixels.device

    def images(self, index: Tensor) -> Tensor:
        """Give the images at ``index`` (B,) int64, of any device: (B, 3, size, size) uint8."""
        index = index.to(self.device)
        return self._pixels.index_select(0, index if self._rows is None else self._rows[index])

    def to(self, device: torch.device | str) -> ResidentSource:
        """Move the pixels to ``device``; only this source's rows travel."""
        target = torch.device(device)
        if torch.empty(0, device=target).device == self.device:  # "cuda" means the current one
            return self
        pixels = self._pixels if self._rows is None else self._pixels.index_select(0, self._rows)
        return ResidentSource(self.facts, pixels.to(target))

    def subset(self, index: Tensor) -> ResidentSource:
        """Give the images at ``index`` as a view of the same pixels."""
        index = index.cpu()
        rows = index if self._rows is None else self._rows.cpu()[index]
        return ResidentSource(self.facts.rows(index), self._pixels, rows)

    def without_labels(self) -> ResidentSource:
        """Give the same images without labels."""
        facts = replace(self.facts, labels=None, targets=None, classes=(), groups={})
        return ResidentSource(facts, self._pixels, self._rows)


class StreamingSource(Source):
    """A source that decodes each image when it is asked for."""

    resident = False

    def __init__(self, facts: SourceInfo, encoded: Openable, rows: Tensor, workers: int = 0) -> None:
        """Read image i of this source from position ``rows[i]`` of ``encoded``."""
        super().__init__(facts)
        self._encoded = encoded
        self._rows = rows
        self._workers = workers
        self._broken: set[int] = set()

    def read(self, index: Tensor) -> tuple[Tensor, list[tuple[int, str]]]:
        """Decode the images at ``index``; an unreadable one is mid-grey and named with its reason.

        It changes nothing, so it may run in a worker process; :meth:`report` then belongs in the main one.
        """
        images = torch.full((len(index), 3, self.size, self.size), GREY, dtype=torch.uint8)
        broken: list[tuple[int, str]] = []
        for row, i in enumerate(index.tolist()):
            got = self._decoded(int(self._rows[i]))
            if isinstance(got, str):
                broken.append((i, got))
            else:
                images[row] = torch.from_numpy(got)
        return images, broken

    def _decoded(self, position: int) -> NDArray[np.uint8] | str:
        """Decode the image at a position of the listing, or say why it cannot be done."""
        try:
            image = self._encoded.open(position)
        except OSError as error:
            return reason(error)
        return decode(image, self.size, squash=self.facts.squashed, value_range=self.facts.value_range)

    def report(self, broken: Sequence[tuple[int, str]]) -> None:
        """Log each image that broke after the first pass, once."""
        for i, why in broken:
            if i not in self._broken:
                self._broken.add(i)
                logger.warning("%s can no longer be read and is shown as grey: %s", self.keys[i], why)

    def images(self, index: Tensor) -> Tensor:
        """Decode the images at ``index`` (B,) int64 in this process."""
        with PillowWarnings():
            images, broken = self.read(index)
        self.report(broken)
        return images

    def to(self, device: torch.device | str) -> StreamingSource:
        """Give this source itself: its images are decoded on the CPU."""
        return self

    def subset(self, index: Tensor) -> StreamingSource:
        """Give the images at ``index`` as a source of the same files."""
        index = index.cpu()
        return StreamingSource(self.facts.rows(index), self._encoded, self._rows[index], self._workers)

    def prefetch(self, batches: Sequence[Tensor], workers: int) -> Iterator[Tensor]:
        """Decode ``batches`` of indices in order, ahead of time in ``workers`` processes (0: in this one)."""
        for images, broken in prefetched(self.read, batches, workers):
            self.report(broken)
            yield images

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """Give the images of each part in turn, decoded ahead of time by the source's workers."""
        return self.prefetch(parts, self._workers)

    def blocks(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through the images in index order, decoded ahead of time by the source's workers."""
        rows = torch.arange(start, len(self) if stop is None else min(stop, len(self)))
        batches = list(rows.split(size)) if len(rows) else []
        yield from zip(batches, self.prefetch(batches, self._workers))
