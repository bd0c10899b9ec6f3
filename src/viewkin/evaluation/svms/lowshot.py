"""Low-shot classification: the machines of VOC07 from k images a class."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from viewkin.evaluation.svms.solver import (
    MachineConfig,
    Preset,
    Task,
    check_costs,
    costs_of,
    precision_of,
    quiet,
    task_of,
    trained,
    unconverged,
)
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import LateBar


@dataclass(frozen=True, kw_only=True)
class LowshotConfig:
    """Low-shot VOC07, by default at PCL's one cost; ``preset=interclr selection=test`` is the published search."""

    shots: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 96)
    """Positives a class (k)."""
    samples: int = 5
    """Independent draws of the images, over which the precision is averaged."""
    negatives: int = 19
    """Negatives beside each positive."""
    preset: Preset = "pcl"
    """Costs tried: ``goyal`` (26), ``interclr`` (19) or ``pcl`` (0.5 alone)."""
    costs: tuple[float, ...] = ()
    """Costs tried in the preset's place (C of LIBLINEAR)."""
    selection: Literal["fixed", "test"] = "fixed"
    """``fixed``: there is one cost. ``test``, as published: for each k the cost that is best *on test* in the mean over
    the draws, so that the value is too good; a draw of one positive leaves nothing else to choose by."""
    machine: MachineConfig = field(default_factory=MachineConfig)
    """Settings of every machine."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        require(len(self.shots) > 0 and min(self.shots) >= 1, "shots", self.shots, "whole numbers of at least 1")
        require(self.samples >= 1, "samples", self.samples, "at least 1")
        require(self.negatives >= 1, "negatives", self.negatives, "at least 1")
        check_costs(self.preset, self.costs)
        require(self.selection in ("fixed", "test"), "selection", self.selection, "fixed or test")
        count = len(costs_of(self.preset, self.costs))
        if self.selection == "fixed" and count > 1:
            raise UserError(
                f"there are {count} costs, but selection is fixed; give one, such as costs=0.5, or selection=test, "
                "which chooses on the test images as published."
            )


@dataclass(frozen=True, kw_only=True)
class LowshotResult:
    """What few images a class gave on the whole test set."""

    precision: dict[int, tuple[float, ...]]
    """k -> mean average precision of each draw, 0 to 1, at the cost used."""
    cost: dict[int, float]
    """k -> cost used."""
    selection: str
    """How the cost was chosen; ``test`` marks every value."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """What the reader of the number should know."""

    @property
    def mean(self) -> float:
        """Mean over draws, then over k, 0 to 1."""
        return float(np.mean([np.mean(draws) for draws in self.precision.values()]))

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them; ``on test`` marks a cost that was chosen there."""
        mark = " on test" if self.selection == "test" else ""
        shares = {f"mAP@{k}{mark}": 100 * float(np.mean(draws)) for k, draws in self.precision.items()}
        return {**shares, f"mAP{mark}": 100 * self.mean}


def lowshot(
    config: LowshotConfig,
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    progress: bool = True,
) -> LowshotResult:
    """Train one machine a class, cost and draw from k positives and 19 k negatives, and measure it on all of test.

    Only images that certainly show a class or certainly do not are drawn for it; ignored ones (-1) take no part.

    Args:
        config: the protocol.
        train: (N, D) features, as they are; each row is divided by (its L2 norm + 1e-5).
        train_labels: (N,) classes, any values of 0 or more; or (N, C) of 1 present, 0 absent, -1 ignored.
        test: (M, D).
        test_labels: (M,) or (M, C) likewise.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes that do not fit, features that are not finite, fewer than two classes, a class with too few
            images for a k, or no scikit-learn.

    References:
        Goyal et al., Scaling and Benchmarking Self-Supervised Visual Representation Learning, 2019, section 6.2 and
        the released code; Li et al., Prototypical Contrastive Learning, 2021, section 4.1 (one cost); METHODS 8.4.
    """
    began = time.perf_counter()
    task = task_of(train, train_labels, test, test_labels)
    _check_shots(config, task)
    costs = costs_of(config.preset, config.costs)
    precision: dict[int, tuple[float, ...]] = {}
    cost: dict[int, float] = {}
    stopped = 0
    with quiet(), LateBar("low-shot", len(config.shots) * config.samples, shown=progress) as bar:
        for k in config.shots:
            table = np.zeros((config.samples, len(costs)))
            for sample in range(config.samples):
                table[sample], more = _one_draw(config, task, k, sample, costs)
                stopped += more
                bar.advance()
            best = int(table.mean(0).argmax())
            precision[k], cost[k] = tuple(table[:, best].tolist()), costs[best]
    fits = len(config.shots) * config.samples * len(costs) * len(task.classes)
    return LowshotResult(
        precision=precision,
        cost=cost,
        selection=config.selection,
        seconds=time.perf_counter() - began,
        notes=(*task.notes, *unconverged(stopped, fits), *_selected_on_test(config)),
    )


def drawn(config: LowshotConfig, targets: NDArray[np.int8], k: int, sample: int, column: int) -> NDArray[np.int64]:
    """Draw k positives and ``negatives * k`` negatives of one class, targets (N,): rows in rising order."""
    generator = np.random.default_rng(seed_for(config.seed, "lowshot", k, sample, column))
    present, absent = np.flatnonzero(targets == 1), np.flatnonzero(targets == 0)
    positives = generator.choice(present, k, replace=False)
    return np.sort(np.concatenate([positives, generator.choice(absent, config.negatives * k, replace=False)]))


def _one_draw(
    config: LowshotConfig, task: Task, k: int, sample: int, costs: tuple[float, ...]
) -> tuple[NDArray[np.float64], int]:
    """Mean average precision of every cost (costs,), and how many machines were stopped."""
    found, stopped = np.zeros((len(task.classes), len(costs))), 0
    for column in range(len(task.classes)):  # by place: other names of the classes draw the same images
        targets = task.train_targets[:, column]
        rows = drawn(config, targets, k, sample, column)
        for place, cost in enumerate(costs):
            machine = trained(config.machine, task.train[rows], targets[rows] == 1, cost)
            found[column, place] = precision_of(machine.scores(task.test), task.test_targets[:, column])
            stopped += not machine.converged
    return found.mean(0), stopped


def _check_shots(config: LowshotConfig, task: Task) -> None:
    """Refuse a k that a class has too few images for."""
    k = max(config.shots)
    for column, label in enumerate(task.classes):
        present, absent = ((task.train_targets[:, column] == value).sum() for value in (1, 0))
        if present < k or absent < config.negatives * k:
            raise UserError(
                f"class {label} has {present} training images with it and {absent} without, too few for {k} and "
                f"{config.negatives * k}; give smaller shots, such as shots=1,2,4."
            )


def _selected_on_test(config: LowshotConfig) -> tuple[str, ...]:
    if config.selection != "test":
        return ()
    return ("The cost was chosen on the test images, as published: these values are too good.",)
