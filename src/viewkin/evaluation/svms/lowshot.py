"""Low-shot classification: the support vector machines of VOC07, trained on k images per class."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from viewkin.evaluation.svms.solver import (
    MachineConfig,
    Preset,
    Task,
    convergence_note,
    costs_to_try,
    interpolated_precision,
    no_convergence_warnings,
    prepare_task,
    train_svm,
)
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.progress import progress_bar
from viewkin.settings import Count, Filled, Positive, Settings


@dataclass(frozen=True, kw_only=True)
class LowshotConfig(Settings):
    """Low-shot VOC07, by default at PCL's one cost; ``preset=interclr selection=test`` is the published search."""

    shots: Annotated[tuple[Count, ...], Filled()] = (1, 2, 4, 8, 16, 32, 64, 96)
    """Positives per class (k)."""
    samples: Count = 5
    """Independent draws of the images; their precision is averaged."""
    negatives: Count = 19
    """Negatives per positive."""
    preset: Preset = "pcl"
    """Costs to try: ``goyal`` (26), ``interclr`` (19) or ``pcl`` (only 0.5)."""
    costs: tuple[Positive, ...] = ()
    """Costs to try instead of the preset's (C of LIBLINEAR)."""
    selection: Literal["fixed", "test"] = "fixed"
    """``fixed``: there is one cost. ``test``, as published: for each k the cost with the best mean *on test*, so the
    value is too high; with one positive per class there is no held-out image to choose by."""
    machine: MachineConfig = field(default_factory=MachineConfig)
    """Settings of every machine."""
    seed: int = 0
    """Seed of the draws."""

    def _check(self) -> None:
        count = len(costs_to_try(self.preset, self.costs))
        if self.selection == "fixed" and count > 1:
            raise UserError(
                f"there are {count} costs, but selection is fixed; give one, such as costs=0.5, or selection=test, "
                "which chooses on the test images as published."
            )


@dataclass(frozen=True, kw_only=True)
class LowshotResult:
    """Average precision on the whole test set of machines trained on few images."""

    precision: dict[int, tuple[float, ...]]
    """k -> mean average precision of each draw, 0 to 1, at the cost used."""
    cost: dict[int, float]
    """k -> cost used."""
    selection: str
    """How the cost was chosen; ``test`` marks every value."""
    seconds: float
    """Wall-clock time."""
    notes: tuple[str, ...] = ()
    """Remarks that belong to the numbers."""

    @property
    def mean(self) -> float:
        """Mean over draws, then over k, 0 to 1."""
        return float(np.mean([np.mean(draws) for draws in self.precision.values()]))

    def values(self) -> dict[str, float]:
        """Name to percent, as the papers print them; ``on test`` marks a cost that was chosen there."""
        mark = " on test" if self.selection == "test" else ""
        by_shots = {f"mAP@{k}{mark}": 100 * float(np.mean(draws)) for k, draws in self.precision.items()}
        return {**by_shots, f"mAP{mark}": 100 * self.mean}


def lowshot(
    config: LowshotConfig,
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    progress: bool = True,
) -> LowshotResult:
    """Train one machine for each class, cost and draw on k positives and 19 k negatives, and measure it on all of test.

    Images whose label for a class is to be ignored (-1) are not drawn for it.

    Args:
        config: the protocol.
        train: (N, D) features before scaling; each row is divided by (its L2 norm + 1e-5).
        train_labels: (N,) non-negative classes; or (N, C) of 1 present, 0 absent, -1 ignored.
        test: (M, D).
        test_labels: (M,) or (M, C) likewise.
        progress: show a bar after two seconds.

    Raises:
        UserError: shapes do not match, features are not finite, there are fewer than two classes, a class has too few
            images for a k, or scikit-learn is not installed.

    References:
        Goyal et al., Scaling and Benchmarking Self-Supervised Visual Representation Learning, 2019, section 6.2 and
        the released code; Li et al., Prototypical Contrastive Learning, 2021, section 4.1 (one cost).
    """
    began = time.perf_counter()
    task = prepare_task(train, train_labels, test, test_labels)
    _check_shots(config, task)
    costs = costs_to_try(config.preset, config.costs)
    precision: dict[int, tuple[float, ...]] = {}
    cost: dict[int, float] = {}
    unconverged = 0
    with no_convergence_warnings(), progress_bar("low-shot", len(config.shots) * config.samples, shown=progress) as bar:
        for k in config.shots:
            table = np.zeros((config.samples, len(costs)))
            for sample in range(config.samples):
                table[sample], count = _precision_of_draw(config, task, k, sample, costs)
                unconverged += count
                bar.advance()
            best = int(table.mean(0).argmax())
            precision[k], cost[k] = tuple(table[:, best].tolist()), costs[best]
    fits = len(config.shots) * config.samples * len(costs) * len(task.classes)
    return LowshotResult(
        precision=precision,
        cost=cost,
        selection=config.selection,
        seconds=time.perf_counter() - began,
        notes=(*task.notes, *convergence_note(unconverged, fits), *_selected_on_test(config)),
    )


def draw_shots(config: LowshotConfig, targets: NDArray[np.int8], k: int, sample: int, column: int) -> NDArray[np.int64]:
    """Draw k positives and ``negatives * k`` negatives of one class, targets (N,): rows in rising order."""
    generator = np.random.default_rng(seed_for(config.seed, "lowshot", k, sample, column))
    present, absent = np.flatnonzero(targets == 1), np.flatnonzero(targets == 0)
    positives = generator.choice(present, k, replace=False)
    return np.sort(np.concatenate([positives, generator.choice(absent, config.negatives * k, replace=False)]))


def _precision_of_draw(
    config: LowshotConfig, task: Task, k: int, sample: int, costs: tuple[float, ...]
) -> tuple[NDArray[np.float64], int]:
    """Mean average precision of every cost (costs,), and how many machines did not converge."""
    precision, unconverged = np.zeros((len(task.classes), len(costs))), 0
    for column in range(len(task.classes)):  # seeded by column, so that renamed classes draw the same images
        targets = task.train_targets[:, column]
        rows = draw_shots(config, targets, k, sample, column)
        for place, cost in enumerate(costs):
            machine = train_svm(config.machine, task.train[rows], targets[rows] == 1, cost)
            precision[column, place] = interpolated_precision(machine.scores(task.test), task.test_targets[:, column])
            unconverged += not machine.converged
    return precision.mean(0), unconverged


def _check_shots(config: LowshotConfig, task: Task) -> None:
    """Check that every class has enough images for the largest k."""
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
