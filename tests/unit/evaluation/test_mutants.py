"""Each way in which such protocols are known to be broken changes their number on a set made to show it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from viewkin import metrics
from viewkin.evaluation import retrieval
from viewkin.evaluation.svms import lowshot, svm
from viewkin.evaluation.svms.solver import MachineConfig, Task, train_svm
from viewkin.ops.neighbours import top_k

ANGLES = torch.tensor([0.0, 5, 90, 95, 7, 200]).deg2rad()
ROWS, LABELS = torch.stack([ANGLES.cos(), ANGLES.sin()], 1), torch.tensor([0, 0, 1, 1, 1, 2])


def recall() -> float:
    return retrieval.retrieval(retrieval.RetrievalConfig(k=(1,)), ROWS, LABELS).recall[1]


def test_a_query_that_finds_itself_would_be_seen(monkeypatch):
    assert recall() == pytest.approx(0.5)

    def with_itself(features: Tensor, part: slice, k: int, memory: int) -> Tensor:
        return top_k(features[part], features, k, memory=memory)[1]

    monkeypatch.setattr(retrieval, "nearest_others", with_itself)
    assert recall() == 1.0


def test_queries_without_a_mate_left_out_would_be_seen():
    with_mate = LABELS != 2
    found = retrieval.retrieval(retrieval.RetrievalConfig(k=(1,)), ROWS[with_mate], LABELS[with_mate])
    assert found.recall[1] == pytest.approx(0.6)  # and 0.5 with the miss


def several(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features, and what each image shows of three classes, with some to be ignored."""
    draw = torch.Generator().manual_seed(seed)
    shown = (torch.rand(count, 3, generator=draw) < 0.4).long()
    features = shown.float() @ torch.eye(3, 5) + 0.7 * torch.randn(count, 5, generator=draw)
    ignored = torch.rand(count, 3, generator=draw) < 0.2
    return features, torch.where(ignored, -1, shown)


def mean_precision() -> float:
    return svm.svm(svm.SvmConfig(preset="pcl"), *several(120, 0), *several(80, 1)).mean


def test_ignored_images_counted_as_absent_in_the_test_would_be_seen(monkeypatch):
    right = mean_precision()
    monkeypatch.setattr(
        svm,
        "interpolated_precision",
        lambda scores, targets: metrics.average_precision(torch.from_numpy(scores), torch.from_numpy(targets == 1)),
    )
    assert mean_precision() < right - 0.01


def test_precision_without_interpolation_would_be_seen():
    scores, positive = torch.tensor([5.0, 4, 3, 2, 1]), torch.tensor([True, False, False, True, True])
    hits = positive.cumsum(0) / torch.arange(1, 6)
    assert metrics.average_precision(scores, positive) > hits[positive].mean().item() + 0.03


def test_positives_that_weigh_as_negatives_do_would_be_seen():
    features, shown = several(120, 0)
    rows, positive = features.double().numpy(), (shown[:, 0] == 1).numpy()
    twice, once = (train_svm(MachineConfig(positive_weight=w), rows, positive, 0.5) for w in (2.0, 1.0))
    assert twice.bias > once.bias + 0.05


def test_a_draw_that_takes_ignored_images_as_negatives_would_be_seen(monkeypatch):
    features, shown = several(300, 2)
    seen: list[np.ndarray] = []
    real = lowshot.draw_shots

    def spy(config: lowshot.LowshotConfig, targets: np.ndarray, k: int, sample: int, label: int) -> np.ndarray:
        rows = real(config, targets, k, sample, label)
        seen.append(targets[rows])
        return rows

    monkeypatch.setattr(lowshot, "draw_shots", spy)
    config = lowshot.LowshotConfig(shots=(4,), samples=2, negatives=19)
    lowshot.lowshot(config, features, shown, *several(80, 1))
    assert len(seen) == 6
    assert all((one == 1).sum() == 4 and (one == 0).sum() == 76 for one in seen)


def test_a_task_that_scales_all_rows_alike_would_be_seen(monkeypatch):
    right = mean_precision()
    real = svm.prepare_task

    def unscaled(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> Task:
        task = real(train, train_labels, test, test_labels)
        parts = {name: getattr(task, name) for name in ("train_targets", "test_targets", "classes", "notes")}
        return Task(train=train.double().numpy(), test=test.double().numpy(), **parts)

    monkeypatch.setattr(svm, "prepare_task", unscaled)
    assert abs(mean_precision() - right) > 1e-3
