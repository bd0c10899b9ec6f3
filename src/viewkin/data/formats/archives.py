"""The archives that torchvision reads: CIFAR-10, CIFAR-100 and STL-10, already unpacked on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from viewkin.data.source import ResidentSource, SourceInfo
from viewkin.runtime.errors import UserError

ARCHIVES = {"cifar-10-batches-py": "CIFAR10", "cifar-100-python": "CIFAR100", "stl10_binary": "STL10"}
"""Folder name to torchvision's class."""
SPLITS: dict[str, dict[str, int]] = {
    "CIFAR10": {"train": 50_000, "test": 10_000},
    "CIFAR100": {"train": 50_000, "test": 10_000},
    "STL10": {"train": 5_000, "unlabeled": 100_000, "train+unlabeled": 105_000, "test": 8_000},
}
"""Images of each split, as published; torchvision checks the files against their published checksums."""
CLASSES = {"CIFAR10": 10, "CIFAR100": 100, "STL10": 10}
SIDES = {"CIFAR10": 32, "CIFAR100": 32, "STL10": 96}
"""Side of the images, pixels."""


def find_archive(path: Path) -> Path | None:
    """Find the archive that a path is or holds; None when there is none.

    Raises:
        UserError: there are several.
    """
    if path.name in ARCHIVES:
        return path
    found = [path / name for name in ARCHIVES if (path / name).is_dir()]
    if len(found) > 1:
        names = " and ".join(str(one) for one in found)
        raise UserError(f"{path} holds several data sets: name one of {names}.")
    return found[0] if found else None


def kind_of(archive: Path, split: str) -> str:
    """Name torchvision's class of an archive that has the split.

    Raises:
        UserError: it has not.
    """
    kind = ARCHIVES[archive.name]
    if split not in SPLITS[kind]:
        raise UserError(f"{archive} has no split {split!r}; choose among {', '.join(SPLITS[kind])}.")
    return kind


def read_archive(archive: Path, split: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Read one split: images (N, 3, S, S) uint8, labels (N,) int64 with -1 for none, class names.

    Raises:
        UserError: no such split, a missing or altered file, or no torchvision.
    """
    kind = kind_of(archive, split)
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        raise UserError(f"Reading {archive} needs a working torchvision ({error}): install it again.") from error
    try:
        if kind == "STL10":
            loaded: Any = datasets.STL10(str(archive.parent), split=split, download=False)
            return torch.from_numpy(loaded.data), torch.from_numpy(loaded.labels).long(), tuple(loaded.classes)
        loaded = getattr(datasets, kind)(str(archive.parent), train=split == "train", download=False)
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{archive} is incomplete, or its checksum is wrong: unpack the published archive of {kind} again."
        ) from error
    images = np.ascontiguousarray(loaded.data.transpose(0, 3, 1, 2))
    return torch.from_numpy(images), torch.tensor(loaded.targets), tuple(loaded.classes)


def resize(images: Tensor, size: int) -> Tensor:
    """Resize square images (N, 3, S, S) uint8 to ``size`` pixels, bicubic and antialiased."""
    if images.shape[-1] == size:
        return images
    resized = [
        functional.interpolate(part.float(), size=size, mode="bicubic", antialias=True).round().clamp(0, 255).byte()
        for part in images.split(512)
    ]
    return torch.cat(resized)


def open_archive(archive: Path, split: str, size: int | None) -> ResidentSource:
    """Open one split as a source held in memory, at its own size unless another is asked for."""
    images, labels, classes = read_archive(archive, split)
    native = int(images.shape[-1])
    known = bool((labels >= 0).any())
    facts = SourceInfo(
        name=ARCHIVES[archive.name].lower(),
        size=size or native,
        ids=[f"{split}/{i}" for i in range(len(images))],
        labels=labels if known else None,
        classes=classes if known else (),
        notes=() if size in (None, native) else (f"Images are resized from {native} to {size} px.",),
    )
    return ResidentSource(facts, resize(images, facts.size))
