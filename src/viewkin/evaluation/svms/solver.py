"""Support vector machines, one a class, through scikit-learn's LIBLINEAR; what ``svm`` and ``lowshot`` share."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation.labels import check_features, targets_of
from viewkin.runtime.errors import UserError, require

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
class MachineConfig:
    """One machine: squared hinge, L2, solved in the dual."""

    positive_weight: float = 2.0
    """What a positive's error costs, beside 1 for a negative's."""
    tolerance: float = 1e-4
    """Largest violation at which LIBLINEAR stops."""
    iterations: int = 2000
    """Most passes over the images."""
    seed: int = 0
    """Seed of the order in which LIBLINEAR visits the images."""

    def __post_init__(self) -> None:
        require(0 < self.positive_weight < math.inf, "machine.positive_weight", self.positive_weight, "above 0")
        require(0 < self.tolerance < math.inf, "machine.tolerance", self.tolerance, "above 0")
        require(self.iterations >= 1, "machine.iterations", self.iterations, "at least 1")
        require(0 <= self.seed < 2**32, "machine.seed", self.seed, f"0 to {2**32 - 1}")


@dataclass(frozen=True, kw_only=True)
class Task:
    """Both sets, scaled, with what every image shows."""

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
    """What the reader of a number should know."""


def task_of(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> Task:
    """Check both sets and turn labels (N,) into one column a class; columns (N, C) stay as they are.

    A column without a positive or a negative in train or in test is left out, and a note says so.

    Raises:
        UserError: shapes that do not fit, features that are not finite, images without a label, or fewer than two
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
    train_targets, test_targets, classes, notes = targets_of(train_labels, test_labels)
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


def costs_of(preset: str, costs: tuple[float, ...]) -> tuple[float, ...]:
    """The costs to try: those given, else the preset's."""
    return costs or PRESETS[preset]


def check_costs(preset: str, costs: tuple[float, ...]) -> None:
    """Refuse an unknown preset or a cost of 0 or less."""
    require(preset in PRESETS, "preset", preset, f"one of {', '.join(PRESETS)}")
    require(all(0 < cost < math.inf for cost in costs), "costs", costs, "above 0")


@dataclass(frozen=True)
class Machine:
    """One trained machine."""

    weight: Rows
    """(D,)."""
    bias: float
    """What is added."""
    converged: bool
    """Whether LIBLINEAR reached its tolerance."""

    def scores(self, rows: Rows) -> Rows:
        """Signed distance to the margin, up to a factor, of rows (M, D): (M,)."""
        return rows @ self.weight + self.bias


def trained(config: MachineConfig, rows: Rows, positive: NDArray[np.bool_], cost: float) -> Machine:
    """Train one machine: ``min 1/2 |w|^2 + cost sum_i weight_i max(0, 1 - y_i w.x_i)^2``, a constant 1 in every x.

    Args:
        config: the machine.
        rows: (N, D).
        positive: (N,); all else is negative.
        cost: C of LIBLINEAR.

    References:
        Fan et al., LIBLINEAR: A Library for Large Linear Classification, 2008; settings of METHODS 8.3.
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
    return Machine(machine.coef_[0], float(machine.intercept_[0]), int(machine.n_iter_) < config.iterations)


def validated(
    config: MachineConfig, rows: Rows, positive: NDArray[np.bool_], costs: tuple[float, ...], folds: int
) -> tuple[Rows, int]:
    """Average precision of every cost on every part left out (costs, folds), and how many machines were stopped.

    Parts are stratified and not shuffled; precision is scikit-learn's, not interpolated.
    """
    parts: Any = _scikit_learn("model_selection").StratifiedKFold(folds)
    score: Any = _scikit_learn("metrics").average_precision_score
    found, stopped = np.zeros((len(costs), folds)), 0
    for fold, (kept, out) in enumerate(parts.split(rows, positive)):
        own, other = rows[kept], rows[out]
        for place, cost in enumerate(costs):
            machine = trained(config, own, positive[kept], cost)
            found[place, fold] = score(positive[out], machine.scores(other))
            stopped += not machine.converged
    return found, stopped


def _scikit_learn(module: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise UserError("this protocol needs scikit-learn: pip install scikit-learn.") from error


@contextmanager
def quiet() -> Generator[None]:
    """Keep scikit-learn from warning of every machine that does not converge: a note counts them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Liblinear failed to converge")
        yield


def unconverged(count: int, fits: int) -> tuple[str, ...]:
    """A note on machines that were stopped."""
    return (f"{count} of {fits} machines were stopped before they converged.",) if count else ()


def precision_of(scores: Rows, targets: NDArray[np.int8]) -> float:
    """Interpolated average precision of scores (M,) on the images (M,) that are not to be ignored."""
    counted = targets >= 0
    return metrics.average_precision(torch.from_numpy(scores[counted]), torch.from_numpy(targets[counted] == 1))


def by_chance(targets: Tensor) -> float:
    """Average precision of scores that know nothing, mean over classes of labels (M,) or columns (M, C)."""
    if targets.ndim == 1:
        targets = (targets[:, None] == targets.unique()).long()
    shares = (targets == 1).sum(0) / (targets >= 0).sum(0).clamp_min(1)
    return float(shares[shares > 0].mean())
