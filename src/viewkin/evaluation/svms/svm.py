"""The VOC07 protocol: one linear support vector machine per class, mean average precision."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from viewkin.evaluation.svms.solver import (
    LinearSVM,
    MachineConfig,
    Preset,
    Rows,
    convergence_note,
    costs_to_try,
    cross_validate,
    interpolated_precision,
    no_convergence_warnings,
    prepare_task,
    train_svm,
)
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import progress_bar
from viewkin.settings import Count, Positive, Range, Settings


@dataclass(frozen=True, kw_only=True)
class SvmConfig(Settings):
    """VOC07 classification as InterCLR's authors run it; ``preset=goyal`` for the wider search of Goyal et al."""

    preset: Preset = "interclr"
    """Costs to try: ``goyal`` (26, from 1e-7 to 100), ``interclr`` (19) or ``pcl`` (only 0.5)."""
    costs: tuple[Positive, ...] = ()
    """Costs to try instead of the preset's (C of LIBLINEAR)."""
    folds: Annotated[int, Range(least=2)] = 3
    """Folds of the cross-validation on train that chooses each class's cost; stratified, not shuffled."""
    machine: MachineConfig = field(default_factory=MachineConfig)
    """Settings of every machine."""
    threads: Count = 1
    """Number of classes trained in parallel; it does not change the result."""


@dataclass(frozen=True, kw_only=True)
class SvmResult:
    """Average precision of the machines on test."""

    precision: dict[int, float]
    """Label or column -> interpolated average precision, 0 to 1."""
    cost: dict[int, float]
    """Label or column -> cost used."""
    machines: dict[int, LinearSVM]
    """Label or column -> the machine, for features divided by (L2 norm + 1e-5)."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers."""

    @property
    def mean(self) -> float:
        """Mean average precision, 0 to 1."""
        return sum(self.precision.values()) / len(self.precision)

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them."""
        return {"mAP": 100 * self.mean}


def svm(
    config: SvmConfig,
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    progress: bool = True,
) -> SvmResult:
    """Train one machine per class on frozen features and measure its average precision on test, once.

    Each class's cost is chosen on train: the best mean over folds of scikit-learn's average precision, the first of
    equals. Training treats an ignored class (-1) as absent; the test leaves the image out for that class.

    Args:
        config: the protocol.
        train: (N, D) features before scaling; each row is divided by (its L2 norm + 1e-5).
        train_labels: (N,) non-negative classes, trained one against the rest; or (N, C) of 1 present, 0 absent,
            -1 ignored.
        test: (M, D).
        test_labels: (M,) or (M, C) likewise.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes do not match, features are not finite, there are fewer than two classes, a class has fewer
            training images than folds, or scikit-learn is not installed.

    References:
        Goyal et al., Scaling and Benchmarking Self-Supervised Visual Representation Learning, 2019, section 6.1 and
        the released code.
    """
    began = time.perf_counter()
    task = prepare_task(train, train_labels, test, test_labels)
    positive = task.train_targets == 1
    _check_folds(config, positive, task.classes)
    bar = progress_bar("support vector machines", len(task.classes), shown=progress)
    with no_convergence_warnings(), bar, ThreadPoolExecutor(config.threads) as pool:
        trained: list[_TrainedClass] = []
        for of_class in pool.map(lambda y: _choose_and_train(config, task.train, y), positive.T):
            trained.append(of_class)
            bar.advance()
    notes = convergence_note(sum(one.unconverged for one in trained), sum(one.fits for one in trained))
    machines = {label: one.machine for label, one in zip(task.classes, trained)}
    return SvmResult(
        precision={
            label: interpolated_precision(machine.scores(task.test), task.test_targets[:, column])
            for column, (label, machine) in enumerate(machines.items())
        },
        cost={label: one.cost for label, one in zip(task.classes, trained)},
        machines=machines,
        seconds=time.perf_counter() - began,
        notes=task.notes + notes,
    )


def _check_folds(config: SvmConfig, positive: NDArray[np.bool_], classes: tuple[int, ...]) -> None:
    """Check that every class has a positive and a negative for every fold, if a cost has to be chosen."""
    if len(costs_to_try(config.preset, config.costs)) < 2:
        return
    for column, label in enumerate(classes):
        least = int(min(positive[:, column].sum(), (~positive[:, column]).sum()))
        if least < config.folds:
            raise UserError(
                f"class {label} has {least} training images with or without it, too few for {config.folds} folds; "
                "give a single cost, such as preset=pcl."
            )


class _TrainedClass(NamedTuple):
    """The machine of one class."""

    cost: float
    machine: LinearSVM
    unconverged: int
    """Number of machines that did not converge, of all that were fitted for this class."""
    fits: int
    """Number of machines that were fitted for this class."""


def _choose_and_train(config: SvmConfig, rows: Rows, positive: NDArray[np.bool_]) -> _TrainedClass:
    """Choose the cost of one class and train its machine on all of train."""
    costs, unconverged, fits = costs_to_try(config.preset, config.costs), 0, 1
    best = costs[0]
    if len(costs) > 1:
        precision, unconverged = cross_validate(config.machine, rows, positive, costs, config.folds)
        best, fits = costs[int(precision.mean(1).argmax())], precision.size + 1
    machine = train_svm(config.machine, rows, positive, best)
    return _TrainedClass(best, machine, unconverged + (not machine.converged), fits)
