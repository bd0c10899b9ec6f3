"""The VOC07 protocol: one linear support vector machine a class, mean average precision."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from viewkin.evaluation.svms.solver import (
    Machine,
    MachineConfig,
    Preset,
    Rows,
    check_costs,
    costs_of,
    precision_of,
    quiet,
    task_of,
    trained,
    unconverged,
    validated,
)
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import LateBar


@dataclass(frozen=True, kw_only=True)
class SvmConfig:
    """VOC07 classification as InterCLR's authors run it; ``preset=goyal`` for the wider search of Goyal et al."""

    preset: Preset = "interclr"
    """Costs tried: ``goyal`` (26, from 1e-7 to 100), ``interclr`` (19) or ``pcl`` (0.5 alone)."""
    costs: tuple[float, ...] = ()
    """Costs tried in the preset's place (C of LIBLINEAR)."""
    folds: int = 3
    """Parts of train in the choice of the cost, class by class, stratified and not shuffled."""
    machine: MachineConfig = field(default_factory=MachineConfig)
    """Settings of every machine."""
    threads: int = 1
    """Classes trained at once; changes no result."""

    def __post_init__(self) -> None:
        check_costs(self.preset, self.costs)
        require(self.folds >= 2, "folds", self.folds, "at least 2")
        require(self.threads >= 1, "threads", self.threads, "at least 1")


@dataclass(frozen=True, kw_only=True)
class SvmResult:
    """What the machines found on test."""

    precision: dict[int, float]
    """Label or column -> interpolated average precision, 0 to 1."""
    cost: dict[int, float]
    """Label or column -> cost used."""
    machines: dict[int, Machine]
    """Label or column -> the machine, for features divided by (L2 norm + 1e-5)."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """What the reader of the number should know."""

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
    """Train one machine a class on frozen features and measure its average precision on test, once.

    The cost is chosen class by class on train: the best mean over folds of scikit-learn's average precision, the first
    of equals. Training takes an ignored class (-1) as absent; the test leaves the image out for that class.

    Args:
        config: the protocol.
        train: (N, D) features, as they are; each row is divided by (its L2 norm + 1e-5).
        train_labels: (N,) classes, any values of 0 or more, one machine against the rest; or (N, C) of 1 present,
            0 absent, -1 ignored.
        test: (M, D).
        test_labels: (M,) or (M, C) likewise.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes that do not fit, features that are not finite, fewer than two classes, a class with fewer
            training images than folds, or no scikit-learn.

    References:
        Goyal et al., Scaling and Benchmarking Self-Supervised Visual Representation Learning, 2019, section 6.1 and
        the released code; METHODS 8.3.
    """
    began = time.perf_counter()
    task = task_of(train, train_labels, test, test_labels)
    positive = task.train_targets == 1
    _check_folds(config, positive, task.classes)
    bar = LateBar("support vector machines", len(task.classes), shown=progress)
    with quiet(), bar, ThreadPoolExecutor(config.threads) as pool:
        found: list[tuple[float, Machine, int, int]] = []
        for one in pool.map(lambda y: _choose_and_train(config, task.train, y), positive.T):
            found.append(one)
            bar.advance()
    notes = unconverged(sum(one[2] for one in found), sum(one[3] for one in found))
    machines = {label: one[1] for label, one in zip(task.classes, found)}
    return SvmResult(
        precision={
            label: precision_of(machine.scores(task.test), task.test_targets[:, column])
            for column, (label, machine) in enumerate(machines.items())
        },
        cost={label: one[0] for label, one in zip(task.classes, found)},
        machines=machines,
        seconds=time.perf_counter() - began,
        notes=task.notes + notes,
    )


def _check_folds(config: SvmConfig, positive: NDArray[np.bool_], classes: tuple[int, ...]) -> None:
    """Refuse a choice of the cost that has not one positive and one negative for every fold."""
    if len(costs_of(config.preset, config.costs)) < 2:
        return
    for column, label in enumerate(classes):
        least = int(min(positive[:, column].sum(), (~positive[:, column]).sum()))
        if least < config.folds:
            raise UserError(
                f"class {label} has {least} training images with or without it, too few for {config.folds} folds; "
                "give a single cost, such as preset=pcl."
            )


def _choose_and_train(config: SvmConfig, rows: Rows, positive: NDArray[np.bool_]) -> tuple[float, Machine, int, int]:
    """Choose the cost of one class and train on all of train: (cost, machine, machines stopped, machines)."""
    costs, stopped, fits = costs_of(config.preset, config.costs), 0, 1
    best = costs[0]
    if len(costs) > 1:
        precision, stopped = validated(config.machine, rows, positive, costs, config.folds)
        best, fits = costs[int(precision.mean(1).argmax())], precision.size + 1
    machine = trained(config.machine, rows, positive, best)
    return best, machine, stopped + (not machine.converged), fits
