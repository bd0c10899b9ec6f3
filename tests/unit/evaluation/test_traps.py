"""Traps that every protocol must avoid: labels of any value, classes that train lacks, repeated rows, huge batches.

Protocols by features are judged on heaps of points, those that see images on images whose class is their colour.
"""

from collections.abc import Callable

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, precision_recall_curve, top_k_accuracy_score
from torch import Tensor

from seen import coloured, tiny
from viewkin import metrics
from viewkin.data.source import ResidentSource, SourceInfo
from viewkin.evaluation.finetuning.finetune import finetune, semi
from viewkin.evaluation.network_presets import FinetuneConfig, SemiConfig, StagesConfig
from viewkin.evaluation.probes.knn import KnnConfig, knn
from viewkin.evaluation.probes.linear import LinearConfig, linear
from viewkin.evaluation.probes.mlp import MlpConfig, mlp
from viewkin.evaluation.probes.multilabel import MultilabelConfig, multilabel
from viewkin.evaluation.probes.stages import stages
from viewkin.evaluation.svms.lowshot import LowshotConfig, lowshot
from viewkin.evaluation.svms.svm import SvmConfig, svm

CLASSES = 6
Set = tuple[Tensor, Tensor]
NAMES = torch.tensor([3, 8, 12, 70, 71, 500])
"""Labels in the order of 0, 1, ..., with gaps."""


def heaps(count: int, seed: int) -> Set:
    centres = 2 * torch.randn(CLASSES, 5, generator=torch.Generator().manual_seed(7))
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    return centres[labels] + 1.5 * torch.randn(count, 5, generator=draw), labels


def pictures(count: int, seed: int) -> Set:
    """Rows of pixels, as the protocols by features take them."""
    source = coloured(count, seed, CLASSES)
    assert source.labels is not None
    return source.images(torch.arange(count)).float().flatten(1), source.labels


def source_of(rows: Set) -> ResidentSource:
    pixels, labels = rows
    ids = [f"{row}.png" for row in range(len(labels))]
    known = {"labels": labels} if labels.ndim == 1 else {"targets": labels}
    return ResidentSource(SourceInfo(name="rows", size=16, keys=ids, **known), pixels.byte().view(-1, 3, 16, 16))


def seeing(protocol: Callable, config: object) -> Callable[[Set, Set], dict[str, float]]:
    return lambda train, test: protocol(config, tiny(), source_of(train), source_of(test)).values()


def reading(protocol: Callable, config: object) -> Callable[[Set, Set], dict[str, float]]:
    return lambda train, test: protocol(config, *train, *test).values()


ONE_BATCH = {"epochs": 2, "batch_size": 60}
RATE = {"learning_rates": (0.1,), **ONE_BATCH}
ACCURACIES = {
    "knn": reading(knn, KnnConfig(k=(1, 5))),
    "linear": reading(linear, LinearConfig(**RATE)),
    "mlp": reading(mlp, MlpConfig(hidden=8, learning_rate=0.1, **ONE_BATCH)),
    "finetune": seeing(finetune, FinetuneConfig(**RATE)),
    "semi": seeing(semi, SemiConfig(share=0.5, **RATE)),
    "stages": seeing(stages, StagesConfig(dims=24, **RATE)),
}
PRECISIONS = {
    "svm": reading(svm, SvmConfig(preset="pcl")),
    "lowshot": reading(lowshot, LowshotConfig(shots=(1, 3), samples=2, negatives=4)),
    "multilabel": seeing(multilabel, MultilabelConfig(steps=8, learning_rate=0.5, crops=0, halve_every=4)),
}
PROTOCOLS = ACCURACIES | PRECISIONS


def sets_of(name: str) -> tuple[Set, Set]:
    make = pictures if name in ("finetune", "semi", "stages", "multilabel") else heaps
    return make(60, 0), make(36, 1)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_labels_may_have_any_values(name):
    train, test = sets_of(name)
    plain = PROTOCOLS[name](train, test)
    assert PROTOCOLS[name]((train[0], NAMES[train[1]]), (test[0], NAMES[test[1]])) == plain
    assert max(plain.values()) > 100 / CLASSES  # something was learnt, so that labels mixed up would show


@pytest.mark.parametrize("name", ACCURACIES)
def test_a_class_that_train_lacks_is_never_right(name):
    train, test = sets_of(name)
    plain = ACCURACIES[name](train, test)
    names = NAMES[train[1]]
    for unseen in (0, 9, 10**6):  # below, between and above the labels of train
        found = ACCURACIES[name]((train[0], names), (test[0], torch.full_like(test[1], unseen)))
        assert set(found.values()) == {0.0}
    half = torch.where(torch.arange(36) < 18, NAMES[test[1]], 9)
    first = ACCURACIES[name](train, (test[0][:18], test[1][:18]))
    found = ACCURACIES[name]((train[0], names), (test[0], half))
    assert found == pytest.approx({measure: value / 2 for measure, value in first.items()})
    assert found.keys() == plain.keys()


@pytest.mark.parametrize("name", PRECISIONS)
def test_images_of_a_class_that_train_lacks_are_negatives_of_the_others(name):
    (x, y), (test, wanted) = sets_of(name)
    classes = torch.arange(CLASSES)
    columns = (y[:, None] == classes).to(torch.int8)
    shown = (wanted[:, None] == classes).to(torch.int8)
    shown[:12] = 0
    missing = torch.where(torch.arange(36) < 12, 99, wanted)
    found = PRECISIONS[name]((x, y), (test, missing))
    assert found == PRECISIONS[name]((x, columns), (test, shown))
    assert found != PRECISIONS[name]((x, y), (test[12:], wanted[12:]))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_test_set_with_every_row_twice_measures_the_same(name):
    train, test = sets_of(name)
    plain = PROTOCOLS[name](train, test)
    twice = PROTOCOLS[name](train, (test[0].repeat(2, 1), test[1].repeat(2)))
    assert twice == pytest.approx(plain)
    mixed = torch.randperm(72, generator=torch.Generator().manual_seed(0))
    assert PROTOCOLS[name](train, (test[0].repeat(2, 1)[mixed], test[1].repeat(2)[mixed])) == pytest.approx(plain)


def test_every_reference_twice_with_twice_the_neighbours_votes_the_same():
    (x, y), test = sets_of("knn")
    one = knn(KnnConfig(k=5, temperature=0.3), x, y, *test)
    two = knn(KnnConfig(k=10, temperature=0.3), x.repeat(2, 1), y.repeat(2), *test)
    assert torch.equal(one.predicted[5], two.predicted[10])


@pytest.mark.parametrize(
    ("name", "huge"),
    [
        ("finetune", seeing(finetune, FinetuneConfig(**RATE | {"batch_size": 10**6}))),
        ("stages", seeing(stages, StagesConfig(dims=24, **RATE | {"batch_size": 10**6}))),
        ("mlp", reading(mlp, MlpConfig(hidden=8, learning_rate=0.1, epochs=2, batch_size=10**6))),
        ("semi", seeing(semi, SemiConfig(share=0.5, **RATE | {"batch_size": 10**6}))),
    ],
)
def test_a_batch_of_more_images_than_there_are_takes_all(name, huge):
    train, test = sets_of(name)
    assert huge(train, test) == PROTOCOLS[name](train, test)


@pytest.mark.parametrize("seed", range(4))
def test_precision_is_scikit_learn_s_and_interpolated_its_curve_s_envelope_also_with_ties(seed):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 12, (50,), generator=draw).double()
    positive = torch.rand(50, generator=draw) < 0.3
    precision, recall, _ = precision_recall_curve(positive.numpy(), scores.numpy())  # recall falls
    expected = sum((recall[i] - recall[i + 1]) * max(precision[: i + 1]) for i in range(len(recall) - 1))
    assert metrics.average_precision(scores, positive) == pytest.approx(expected, abs=1e-12)
    plain = average_precision_score(positive.numpy(), scores.numpy())
    assert metrics.average_precision(scores, positive, interpolated=False) == pytest.approx(plain, abs=1e-12)
    assert plain < expected


def test_the_linear_probe_is_scikit_learn_s_logistic_regression_where_both_converge():
    (x, y), (test, wanted) = heaps(300, 0), heaps(200, 1)
    found = linear(
        LinearConfig(learning_rates=(0.5,), epochs=400, batch_size=512, weight_decay=1e-2), x, y, test, wanted
    )
    ones = torch.ones(300, 1)  # biases are decayed like the weight of a constant
    oracle = LogisticRegression(C=1 / (1e-2 * 300), fit_intercept=False, tol=1e-8, max_iter=5000)
    oracle.fit(torch.cat([x, ones], 1).numpy(), y.numpy())
    ours = torch.cat([found.weight, found.bias[:, None]], 1)
    torch.testing.assert_close(ours.double(), torch.from_numpy(oracle.coef_).double(), rtol=1e-2, atol=1e-3)
    logits = (test @ found.weight.T + found.bias).numpy()
    assert found.top5 == pytest.approx(top_k_accuracy_score(wanted.numpy(), logits, k=5), abs=1e-9)
    assert found.top1 > 0.8
