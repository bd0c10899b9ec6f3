"""Labels and features of a labelled set, checked and made comparable."""

from __future__ import annotations

import torch
from torch import Tensor

from viewkin.errors import UserError


def checked_pair(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return both sets as float features (N, D) and int64 labels (N,) on the device of the training features.

    Raises:
        UserError: a set is empty, of unequal length, not finite, or has images without a label (-1); or the sets differ
            in dimension.
    """
    if train.ndim == test.ndim == 2 and train.shape[1] != test.shape[1]:
        raise UserError(
            f"training features have {train.shape[1]} dimensions and test features {test.shape[1]}: "
            "take both from the same encoder."
        )
    device = train.device
    return (*checked("training", train, train_labels, device), *checked("test", test, test_labels, device))


def checked(name: str, features: Tensor, labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return one set as float32 features (N, D) and int64 labels (N,) on a device.

    Raises:
        UserError: the set is empty, of unequal length, not finite, or has images without a label (-1).
    """
    check_features(name, features)
    if labels.shape != features.shape[:1]:
        raise UserError(
            f"{len(features)} {name} features come with labels of shape {tuple(labels.shape)}: give one each."
        )
    if labels.is_floating_point() or int(labels.min()) < 0:
        raise UserError(f"some {name} images have no label (-1 or not an integer): take the labelled ones only.")
    return features.detach().to(device, torch.float32), labels.to(device, torch.int64)


def check_features(name: str, features: Tensor) -> None:
    """Refuse what is not (N, D) finite numbers.

    Raises:
        UserError: another shape, no rows, NaN or infinity.
    """
    if features.ndim != 2 or not features.numel():
        raise UserError(f"the {name} features have shape {tuple(features.shape)}: give (N, D) with at least one row.")
    # In parts: the check makes a copy.
    if not all(bool(torch.isfinite(part).all()) for part in features.split(8192)):
        raise UserError(f"the {name} features hold NaN or infinity: the encoder has diverged, nothing can be measured.")


def to_positions(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
    """Number the classes of the training labels 0..C-1, whatever their values.

    Returns:
        classes (C,) rising, train (N,) positions in it, test (M,) positions with -1 for a class that no training image
        has, and a note about these, if any.
    """
    classes, positions = torch.unique(train, return_inverse=True)
    found = torch.searchsorted(classes, test).clamp(max=len(classes) - 1)
    found = torch.where(classes[found] == test, found, -1)
    missing = int((found < 0).sum())
    note = f"{missing} of {len(test)} test images have a class that no training image has: they count as errors."
    return classes, positions, found, (note,) if missing else ()
