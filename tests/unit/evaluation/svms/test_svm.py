import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_score
from sklearn.svm import LinearSVC

from viewkin.evaluation.svms.solver import (
    PRESETS,
    MachineConfig,
    chance_level,
    convergence_note,
    cross_validate,
    interpolated_precision,
    no_convergence_warnings,
    prepare_task,
    scaled,
    train_svm,
)
from viewkin.evaluation.svms.svm import SvmConfig, svm
from viewkin.runtime.errors import UserError

COSTS = (0.01, 0.5, 10.0)


def blobs(count: int, seed: int, classes: int = 4, dim: int = 6, noise: float = 1.5):
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(7)) * 2
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return centres[labels] + noise * torch.randn(count, dim, generator=draw), labels


def columns(labels: torch.Tensor, classes: int = 4) -> torch.Tensor:
    return (labels[:, None] == torch.arange(classes)).to(torch.int8)


TRAIN, TEST = blobs(150, 0), blobs(80, 1)


def objective(weight: torch.Tensor, rows: torch.Tensor, sign: torch.Tensor, cost: float) -> torch.Tensor:
    """The primal problem of the docstring; the constant's weight is punished as the others are."""
    error = (1 - sign * (rows @ weight[:-1] + weight[-1])).clamp_min(0).square()
    return weight.square().sum() / 2 + cost * ((sign > 0).double() + 1) @ error


def test_a_machine_minimises_the_squared_hinge_with_positives_twice():
    rows, positive = scaled(TRAIN[0]), (TRAIN[1] == 1).numpy()
    machine = train_svm(MachineConfig(tolerance=1e-8, iterations=10**5), rows, positive, 2.0)
    x, sign = torch.from_numpy(rows), torch.from_numpy(positive).double() * 2 - 1
    weight = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = objective(weight, x, sign, 2.0)
        loss.backward()
        return loss

    optimiser.step(closure)
    np.testing.assert_allclose([*machine.weight, machine.bias], weight.detach().numpy(), atol=1e-4)
    assert machine.converged


def test_the_choice_of_the_cost_equals_scikit_learn_s_cross_validation():
    rows, positive = scaled(TRAIN[0]), (TRAIN[1] == 2).numpy()
    found, _ = cross_validate(MachineConfig(), rows, positive, COSTS, 3)
    for place, cost in enumerate(COSTS):
        machine = LinearSVC(
            C=cost, class_weight={1: 2, -1: 1}, intercept_scaling=1.0, penalty="l2", loss="squared_hinge",
            tol=1e-4, dual=True, max_iter=2000, random_state=0,
        )  # fmt: skip
        expected = cross_val_score(machine, rows, np.where(positive, 1, -1), cv=3, scoring="average_precision")
        np.testing.assert_allclose(found[place], expected, atol=1e-12)


def test_the_best_cost_on_train_is_used_and_test_is_not_looked_at():
    config = SvmConfig(costs=COSTS)
    found = svm(config, *TRAIN, *TEST)
    mixed = TEST[1][torch.randperm(80, generator=torch.Generator().manual_seed(0))]
    other = svm(config, *TRAIN, TEST[0], mixed)
    assert found.cost == other.cost
    assert found.mean > other.mean
    for label, cost in found.cost.items():
        precision, _ = cross_validate(MachineConfig(), scaled(TRAIN[0]), (TRAIN[1] == label).numpy(), COSTS, 3)
        assert cost == COSTS[int(precision.mean(1).argmax())]


def test_features_are_divided_by_their_norm_and_a_little():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(scaled(rows), [[3 / 5.00001, 4 / 5.00001], [0, 0]], rtol=1e-12)
    lengths = torch.rand(150, 1, generator=torch.Generator().manual_seed(0)) * 50 + 1
    one, other = (
        svm(SvmConfig(preset="pcl"), *TRAIN, *TEST),
        svm(SvmConfig(preset="pcl"), TRAIN[0] * lengths, TRAIN[1], *TEST),
    )
    assert one.mean == pytest.approx(other.mean, abs=2e-3)


def test_classes_and_columns_give_the_same_machines():
    one = svm(SvmConfig(costs=COSTS), *TRAIN, *TEST)
    other = svm(SvmConfig(costs=COSTS), TRAIN[0], columns(TRAIN[1]), TEST[0], columns(TEST[1]))
    assert one.precision == other.precision
    assert one.values() == {"mAP": pytest.approx(100 * sum(one.precision.values()) / 4)}


def test_an_ignored_class_is_absent_in_training_and_left_out_of_the_test():
    train, test = columns(TRAIN[1]), columns(TEST[1])
    config = SvmConfig(preset="pcl")
    plain = svm(config, TRAIN[0], train, TEST[0], test)
    absent = (train[:, 0] == 0).nonzero().squeeze(1)[:20]
    marked = train.clone()
    marked[absent, 0] = -1
    assert svm(config, TRAIN[0], marked, TEST[0], test).precision == plain.precision
    out = test.clone()
    out[:40, 0] = -1
    found = svm(config, TRAIN[0], train, TEST[0], out)
    half = svm(config, TRAIN[0], train, TEST[0][40:], test[40:])
    assert found.precision[0] == half.precision[0]
    assert found.precision[1] == plain.precision[1]


def test_labels_may_have_any_values_and_a_class_without_training_images_is_left_out():
    names = torch.tensor([30, 5, 800, 12])
    plain = svm(SvmConfig(preset="pcl"), *TRAIN, *TEST)
    labels = names[TEST[1]].clone()
    labels[:7] = 77
    found = svm(SvmConfig(preset="pcl"), TRAIN[0], names[TRAIN[1]], TEST[0], labels)
    assert list(found.precision) == [5, 12, 30, 800]
    assert found.notes[0].startswith("1 of 5 classes lack images")
    same = svm(SvmConfig(preset="pcl"), TRAIN[0], names[TRAIN[1]], TEST[0], names[TEST[1]])
    assert same.mean == pytest.approx(plain.mean)


def test_machines_that_are_stopped_are_counted_and_not_warned_of():
    found = svm(SvmConfig(costs=(1.0, 1e4), machine=MachineConfig(iterations=2)), *TRAIN, *TEST)
    assert found.notes[-1] == convergence_note(28, 28)[0]  # four classes: two costs in three folds, and the last fit


def test_threads_change_nothing():
    one, two = (svm(SvmConfig(costs=COSTS, threads=threads), *TRAIN, *TEST) for threads in (1, 2))
    assert (one.precision, one.cost) == (two.precision, two.cost)


def test_duplicated_rows_tie_and_enter_the_precision_together():
    scores, targets = np.array([2.0, 1.0, 1.0, 1.0]), np.array([1, 0, 1, 0], dtype=np.int8)
    assert (
        interpolated_precision(scores, targets)
        == interpolated_precision(scores, targets[[0, 2, 1, 3]])
        == pytest.approx(0.5 + 0.5 * 0.5)
    )


def test_published_searches_have_their_number_of_costs():
    assert {name: len(costs) for name, costs in PRESETS.items()} == {"goyal": 26, "interclr": 19, "pcl": 1}
    assert (min(PRESETS["goyal"]), max(PRESETS["goyal"])) == pytest.approx((1e-7, 100.0))
    assert PRESETS["interclr"][:3] == (1.0, 10.0, 100.0)
    assert PRESETS["interclr"][-1] == 0.5**19


def test_chance_is_the_share_of_positives():
    assert chance_level(torch.tensor([4, 4, 9, 9, 9])) == pytest.approx((0.4 + 0.6) / 2)
    assert chance_level(torch.tensor([[1, 0], [-1, 1], [0, 1], [0, 1]])) == pytest.approx((1 / 3 + 3 / 4) / 2)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"train_labels": torch.zeros(150).long(), "test_labels": torch.zeros(80).long()}, "two classes"),
        ({"train_labels": TRAIN[1].clamp(max=0)}, "two classes"),
        ({"train_labels": TRAIN[1] - 1}, "no label"),
        ({"train_labels": TRAIN[1].double()}, "one class each"),
        ({"test_labels": TEST[1][:3]}, "80 test features"),
        ({"train_labels": columns(TRAIN[1])}, "training labels are of shape"),
        ({"train_labels": columns(TRAIN[1]) * 2, "test_labels": columns(TEST[1])}, "1 .present., 0 .absent. or -1"),
        ({"test": TEST[0][:, :5]}, "dimensions"),
        ({"train": TRAIN[0] / 0}, "NaN or infinity"),
        ({"train_labels": torch.where(torch.arange(150) < 2, 3, TRAIN[1].clamp(max=2))}, "class 3 has 2 training"),
    ],
)
def test_bad_images_are_one_sentence(change, word):
    given = {"train": TRAIN[0], "train_labels": TRAIN[1], "test": TEST[0], "test_labels": TEST[1]} | change
    with pytest.raises(UserError, match=word):
        svm(SvmConfig(), **given)


def test_without_scikit_learn_the_command_that_brings_it_is_named(monkeypatch):
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(UserError, match="pip install scikit-learn"):
        svm(SvmConfig(), *TRAIN, *TEST)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"preset": "voc"}, "goyal, interclr, pcl"),
        ({"costs": (0.0, 1.0)}, "costs"),
        ({"costs": (1.0, math.nan)}, "costs"),
        ({"costs": (math.inf,)}, "costs"),
        ({"folds": 1}, "folds"),
        ({"threads": 0}, "threads"),
    ],
)
def test_a_bad_setting_is_named(setting, word):
    with pytest.raises(UserError, match=word):
        SvmConfig(**setting)


BAD = [
    {"positive_weight": 0},
    {"tolerance": 0},
    {"tolerance": math.inf},
    {"iterations": 0},
    {"seed": -1},
    {"seed": 2**32},
]


@pytest.mark.parametrize("setting", BAD)
def test_a_bad_setting_of_a_machine_is_named(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        MachineConfig(**setting)


def test_the_interpolated_precision_is_no_less_than_scikit_learn_s():
    for seed in range(5):
        draw = np.random.default_rng(seed)
        scores, targets = draw.random(40), draw.integers(0, 2, 40).astype(np.int8)
        assert interpolated_precision(scores, targets) >= average_precision_score(targets, scores) - 1e-12


def test_a_task_keeps_what_each_image_shows():
    with no_convergence_warnings():
        task = prepare_task(TRAIN[0], columns(TRAIN[1]), TEST[0], columns(TEST[1]))
    assert task.classes == (0, 1, 2, 3)
    assert task.train.dtype == np.float64
    assert task.test_targets.tolist() == columns(TEST[1]).tolist()
