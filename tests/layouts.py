"""Image sets in the layouts that their publishers chose, in small, with checksums that torchvision believes."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

IMAGES = np.random.default_rng(0).integers(0, 256, (200, 3072), dtype=np.uint8)
"""CIFAR's rows of 3 x 32 x 32 values."""


def dump(path: Path, content: object) -> tuple[str, str]:
    """Pickle something; return the file's name and md5."""
    path.write_bytes(pickle.dumps(content))
    return path.name, hashlib.md5(path.read_bytes()).hexdigest()


def cifar_in(place: Path, patch: pytest.MonkeyPatch, train: list[int], test: list[int], *, hundred: bool) -> Path:
    """Write a CIFAR-10 or CIFAR-100 of images with these labels."""
    kind = datasets.CIFAR100 if hundred else datasets.CIFAR10
    folder = place / kind.base_folder
    folder.mkdir()
    key, names = ("fine_labels", "fine_label_names") if hundred else ("labels", "label_names")
    parts = {"train_list": ("data_batch_1", train, 0), "test_list": ("test_batch", test, len(train))}
    for which, (name, labels, start) in parts.items():
        content = {"data": IMAGES[start : start + len(labels)], key: labels}
        patch.setattr(kind, which, [dump(folder / name, content)])
    classes = [chr(ord("a") + number) for number in range(max(*train, *test) + 1)]
    name, md5 = dump(folder / ("meta" if hundred else "batches.meta"), {names: classes})
    patch.setattr(kind, "meta", {"filename": name, "key": names, "md5": md5})
    return folder


def stl_in(place: Path, patch: pytest.MonkeyPatch, train: list[int], unlabelled: int, test: list[int]) -> Path:
    """Write an STL-10 of images with these labels, 1 to 10, and some without."""
    folder = place / "stl10_binary"
    folder.mkdir()
    random = np.random.default_rng(1)
    for name, count in {"train_X": len(train), "unlabeled_X": unlabelled, "test_X": len(test)}.items():
        values = random.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        # On disk each channel lies column by column.
        (folder / f"{name}.bin").write_bytes(values.transpose(0, 1, 3, 2).tobytes())
    (folder / "train_y.bin").write_bytes(bytes(train))
    (folder / "test_y.bin").write_bytes(bytes(test))
    (folder / "class_names.txt").write_text("\n".join("abcdefghij") + "\n")
    patch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    return folder
