"""Checks of labelled features, and numbering of their classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from viewkin import metrics
from viewkin.data.source import Source
from viewkin.runtime.errors import UserError

ROWS_AT_ONCE = 8192
"""Rows classified at once."""
CHECKED = 2**18
"""How many numbers are tested at once for being finite."""


@dataclass(frozen=True, kw_only=True)
class LabelledFeatures:
    """Training and test features on one device, with classes numbered 0..C-1."""

    train: Tensor
    """(N, D) float32."""
    y: Tensor
    """(N,) positions in ``classes``."""
    test: Tensor
    """(M, D) float32."""
    test_y: Tensor
    """(M,) positions in ``classes``; -1 for a class that no training image has."""
    classes: Tensor
    """(C,) labels, rising."""
    notes: tuple[str, ...]
    """Remarks that belong to the numbers."""

    @torch.no_grad()
    def classify_test(
        self, classify: Callable[[Tensor], Tensor], rows: int = ROWS_AT_ONCE
    ) -> tuple[float, float, Tensor]:
        """Classify the test features by logits (B, D) -> (B, C), ``rows`` at a time.

        Returns:
            Accuracy among the best one and the best five classes (all, if there are fewer than five), 0 to 1, and the
            predicted labels (M,).
        """
        k = min(5, len(self.classes))
        best = torch.cat([classify(part).topk(k, dim=1).indices for part in self.test.split(rows)])
        return metrics.accuracy(best[:, 0], self.test_y), metrics.accuracy(best, self.test_y), self.classes[best[:, 0]]


def train_and_test(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> LabelledFeatures:
    """Check both sets and number their classes, on the device of the training features.

    Raises:
        UserError: a set is empty, its numbers of labels and features differ, it is not finite, or it has images without
            a label (-1); or the sets differ in dimension.
    """
    if train.ndim == test.ndim == 2 and train.shape[1] != test.shape[1]:
        raise UserError(
            f"training features have {train.shape[1]} dimensions and test features {test.shape[1]}: "
            "take both from the same encoder."
        )
    device = train.device
    train, train_labels = checked_features("training", train, train_labels, device)
    test, test_labels = checked_features("test", test, test_labels, device)
    classes, y, test_y, notes = number_classes(train_labels, test_labels)
    return LabelledFeatures(train=train, y=y, test=test, test_y=test_y, classes=classes, notes=notes)


def checked_features(name: str, features: Tensor, labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return one set as float32 features (N, D) and int64 labels (N,) on a device.

    Raises:
        UserError: the set is empty, its numbers of labels and features differ, it is not finite, or it has images
            without a label (-1).
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
    """Check that features are (N, D) finite numbers.

    Raises:
        UserError: they have another shape or no rows, or contain NaN or infinity.
    """
    if features.ndim != 2 or not features.numel():
        raise UserError(f"the {name} features have shape {tuple(features.shape)}: give (N, D) with at least one row.")
    rows = max(CHECKED // features.shape[1], 1)  # in parts, because the check makes copies
    if not all(bool(torch.isfinite(part).all()) for part in features.split(rows)):
        raise UserError(f"the {name} features hold NaN or infinity: the encoder has diverged, nothing can be measured.")


def labels_of(source: Source) -> Tensor:
    """Return the class of every image (N,), or its targets for all classes (N, C).

    Raises:
        UserError: the source has neither.
    """
    labels = source.labels if source.targets is None else source.targets
    if labels is None:
        raise UserError(f"{source.name} has no labels.")
    return labels


def number_classes(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...]]:
    """Number the classes of the training labels 0..C-1, whatever their values.

    Returns:
        classes (C,) rising; positions of the training labels (N,); positions of the test labels (M,), -1 for a class
        that no training image has; and a note about these, if any.
    """
    classes, positions = torch.unique(train, return_inverse=True)
    test_positions = torch.searchsorted(classes, test).clamp(max=len(classes) - 1)
    test_positions = torch.where(classes[test_positions] == test, test_positions, -1)
    missing = int((test_positions < 0).sum())
    note = f"{missing} of {len(test)} test images have a class that no training image has: they count as errors."
    return classes, positions, test_positions, (note,) if missing else ()


def binary_targets(
    train_labels: Tensor, test_labels: Tensor
) -> tuple[Tensor, Tensor, tuple[int, ...], tuple[str, ...]]:
    """Turn labels (N,) and (M,) into one column per class; columns (N, C) and (M, C) stay as they are.

    A column without a positive or without a negative in train or in test is left out, and a note says so.

    Returns:
        (N, C) and (M, C) int8 on the CPU, 1 present, 0 absent, -1 ignored; label of each column; notes.

    Raises:
        UserError: shapes do not match, an image has no label, or no class is left.
    """
    if train_labels.ndim == 1 == test_labels.ndim:
        if min(int(train_labels.min()), int(test_labels.min())) < 0:
            raise UserError("some images have no label (-1): take the labelled ones only.")
        known = torch.cat([train_labels.cpu(), test_labels.cpu()]).unique()
        train_labels, test_labels = ((part.cpu()[:, None] == known).long() for part in (train_labels, test_labels))
    else:
        known = torch.arange(train_labels.shape[-1])
    kept = _usable_columns(train_labels, test_labels)
    dropped = int((~kept).sum())
    note = f"{dropped} of {len(kept)} classes lack images with or without them in one of the splits, and are left out."
    columns = [part.cpu()[:, kept].to(torch.int8) for part in (train_labels, test_labels)]
    return columns[0], columns[1], tuple(known[kept].tolist()), (note,) if dropped else ()


def _usable_columns(train: Tensor, test: Tensor) -> Tensor:
    """Tell which columns (C,) have positives and negatives in both train (N, C) and test (M, C)."""
    if train.shape[1:] != test.shape[1:]:
        raise UserError(f"training labels are of shape {tuple(train.shape)}, test labels {tuple(test.shape)}.")
    if not bool(torch.isin(torch.cat([train.cpu(), test.cpu()]), torch.tensor([1, 0, -1])).all()):
        raise UserError("labels of several classes an image must be 1 (present), 0 (absent) or -1 (ignored).")
    train, test = train.cpu(), test.cpu()
    kept = (train == 1).any(0) & (train != 1).any(0) & (test == 1).any(0) & (test == 0).any(0)
    if not bool(kept.any()):
        raise UserError("a classifier a class needs two classes at least, with images of them in both splits.")
    return kept
