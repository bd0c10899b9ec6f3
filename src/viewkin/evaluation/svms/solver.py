"""One-vs-rest linear support vector machines by scikit-learn's LIBLINEAR, shared by ``svm`` and ``lowshot``."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import binary_targets, check_features
from viewkin.runtime.errors import UserError
from viewkin.settings import Count, Positive, Range, Settings

Rows = NDArray[np.float64]
Preset = Literal["goyal", "interclr", "pcl"]
POWERS = tuple(0.5**power for power in range(4, 20))
"""Costs that the published searches add to their lists."""
PRESETS: dict[str, tuple[float, ...]] = {
    "goyal": (*(10.0**power for power in range(-7, 3)), *POWERS),
    "interclr": (1.0, 10.0, 100.0, *POWERS),
    "pcl": (0.5,),
}
"""Costs tried by Goyal et al. 2019 (26), by InterCLR's authors (19), and the one of PCL."""


@dataclass(frozen=True, kw_only=True)
class MachineConfig(Settings):
    """Settings of one support vector machine: squared hinge loss, L2 penalty, solved in the dual."""

    positive_weight: Positive = 2.0
    """Weight of a positive's error; a negative's is 1."""
    tolerance: Positive = 1e-4
    """LIBLINEAR's stopping tolerance."""
    iterations: Count = 2000
    """Maximum number of passes over the images."""
    seed: Annotated[int, Range(least=0, most=2**32 - 1)] = 0
    """Seed of the order in which LIBLINEAR visits the images."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Scaled features and binary targets of both sets."""

    train: Rows
    """(N, D) features divided by (L2 norm + 1e-5), float64."""
    train_targets: NDArray[np.int8]
    """(N, C): 1 present, 0 absent, -1 to be ignored (a class whose only objects are difficult)."""
    test: Rows
    """(M, D), scaled likewise."""
    test_targets: NDArray[np.int8]
    """(M, C)."""
    classes: tuple[int, ...]
    """Label of each column."""
    notes: tuple[str, ...]
    """Remarks that belong to the numbers."""


def prepare_task(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> Task:
    """Check both sets, scale the features, and turn labels (N,) into one column per class.

    Columns (N, C) stay as they are. A column without a positive or without a negative in train or in test is left out,
    and a note says so.

    Raises:
        UserError: shapes do not match, features are not finite, an image has no label, or fewer than two
            classes left.
    """
    check_features("training", train)
    check_features("test", test)
    if train.shape[1] != test.shape[1]:
        raise UserError(
            f"training features have {train.shape[1]} dimensions and test features {test.shape[1]}: "
            "take both from the same encoder."
        )
    for name, features, labels in (("training", train, train_labels), ("test", test, test_labels)):
        if len(labels) != len(features) or labels.ndim not in (1, 2) or labels.is_floating_point():
            raise UserError(
                f"{len(features)} {name} features come with labels of shape {tuple(labels.shape)}: give one class "
                "each, or one row of 1, 0 and -1 for all classes."
            )
    train_targets, test_targets, classes, notes = binary_targets(train_labels, test_labels)
    return Task(
        train=scaled(train),
        train_targets=train_targets.numpy(),
        test=scaled(test),
        test_targets=test_targets.numpy(),
        classes=classes,
        notes=notes,
    )


def scaled(features: Tensor) -> Rows:
    """Divide each row by (its L2 norm + 1e-5), in float64."""
    rows = features.detach().cpu().double()
    return (rows / (rows.norm(dim=1, keepdim=True) + 1e-5)).numpy()


def costs_to_try(preset: str, costs: tuple[float, ...]) -> tuple[float, ...]:
    """Return ``costs``, or the preset's costs if there are none."""
    return costs or PRESETS[preset]


@dataclass(frozen=True)
class LinearSVM:
    """A trained support vector machine."""

    weight: Rows
    """(D,)."""
    bias: float
    """Added to each score."""
    converged: bool
    """Whether LIBLINEAR reached its tolerance."""

    def scores(self, rows: Rows) -> Rows:
        """Decision values of rows (M, D): (M,)."""
        return rows @ self.weight + self.bias


def train_svm(config: MachineConfig, rows: Rows, positive: NDArray[np.bool_], cost: float) -> LinearSVM:
    """Train one machine: ``min 1/2 |w|^2 + cost sum_i weight_i max(0, 1 - y_i w.x_i)^2``.

    Each x has a constant 1 appended for the bias.

    Args:
        config: settings.
        rows: (N, D).
        positive: (N,); the other images are negatives.
        cost: C of LIBLINEAR.

    References:
        Fan et al., LIBLINEAR: A Library for Large Linear Classification, 2008; settings of InterCLR's released code.
    """
    machine: Any = _scikit_learn("svm").LinearSVC(
        penalty="l2",
        loss="squared_hinge",
        dual=True,
        C=cost,
        class_weight={1: config.positive_weight, -1: 1.0},
        intercept_scaling=1.0,
        tol=config.tolerance,
        max_iter=config.iterations,
        random_state=config.seed,
    )
    machine.fit(rows, np.where(positive, 1, -1))
    return LinearSVM(machine.coef_[0], float(machine.intercept_[0]), int(machine.n_iter_) < config.iterations)


def cross_validate(
    config: MachineConfig, rows: Rows, positive: NDArray[np.bool_], costs: tuple[float, ...], folds: int
) -> tuple[Rows, int]:
    """Cross-validate every cost: average precision (costs, folds), and how many machines did not converge.

    Folds are stratified and not shuffled. Average precision is scikit-learn's, which is not interpolated.
    """
    splitter: Any = _scikit_learn("model_selection").StratifiedKFold(folds)
    average_precision: Any = _scikit_learn("metrics").average_precision_score
    precision, unconverged = np.zeros((len(costs), folds)), 0
    for fold, (kept, out) in enumerate(splitter.split(rows, positive)):
        train, validation = rows[kept], rows[out]
        for row, cost in enumerate(costs):
            machine = train_svm(config, train, positive[kept], cost)
            precision[row, fold] = average_precision(positive[out], machine.scores(validation))
            unconverged += not machine.converged
    return precision, unconverged


def _scikit_learn(module: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise UserError("this protocol needs scikit-learn: pip install scikit-learn.") from error


@contextmanager
def no_convergence_warnings() -> Generator[None]:
    """Suppress scikit-learn's warning about each machine that does not converge; a note counts them instead."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Liblinear failed to converge")
        yield


def convergence_note(count: int, fits: int) -> tuple[str, ...]:
    """Return a note on machines that did not converge, if any."""
    return (f"{count} of {fits} machines were stopped before they converged.",) if count else ()


def interpolated_precision(scores: Rows, targets: NDArray[np.int8]) -> float:
    """Interpolated average precision of scores (M,), without the images whose target (M,) is -1."""
    counted = targets >= 0
    return metrics.average_precision(torch.from_numpy(scores[counted]), torch.from_numpy(targets[counted] == 1))


def chance_level(targets: Tensor) -> float:
    """Average precision of random scores: the mean prevalence of classes, of labels (M,) or columns (M, C)."""
    if targets.ndim == 1:
        targets = (targets[:, None] == targets.unique()).long()
    prevalence = (targets == 1).sum(0) / (targets >= 0).sum(0).clamp_min(1)
    return float(prevalence[prevalence > 0].mean())
