import math
import sys
from collections import defaultdict

import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

from resident import printed
from viewkin.evaluation.probes.knn import KNN_PRESETS, KnnConfig, knn
from viewkin.runtime.errors import UserError


def blobs(count: int, seed: int, noise: float = 1.5, classes: int = 6, dim: int = 10):
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return centres[labels] + noise * torch.randn(count, dim, generator=draw), labels


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (5, 0.07), (20, 0.5)])
def test_prediction_equals_scikit_learn_with_the_same_weights(k, temperature):
    (train, labels), (test, test_labels) = blobs(400, 0), blobs(150, 1)
    # Of unit vectors, |a - b|^2 = 2 - 2 cos: the Euclidean neighbours are the cosine ones, and cos = 1 - d^2 / 2.
    oracle = KNeighborsClassifier(k, weights=lambda d: torch.tensor(1 - d**2 / 2).div(temperature).exp().numpy())
    oracle.fit(F.normalize(train, dim=1).double().numpy(), labels.numpy())
    expected = torch.from_numpy(oracle.predict(F.normalize(test, dim=1).double().numpy()))
    found = knn(KnnConfig(k=k, temperature=temperature), train, labels, test, test_labels)
    assert torch.equal(found.predicted[k], expected)
    assert found.top1[k] == pytest.approx((expected == test_labels).float().mean().item())


def test_several_k_in_one_pass_equal_one_pass_each():
    (train, labels), (test, test_labels) = blobs(300, 2), blobs(80, 3)
    together = knn(KnnConfig(k=(20, 5, 200)), train, labels, test, test_labels)
    assert list(together.top1) == [20, 5, 200]
    for k in (5, 20, 200):
        alone = knn(KnnConfig(k=k), train, labels, test, test_labels)
        assert torch.equal(together.predicted[k], alone.predicted[k])
    assert list(together.values()) == ["knn@20", "knn@5", "knn@200"]
    assert together.values()["knn@5"] == 100 * together.top1[5]


def test_more_neighbours_than_images_all_vote_and_the_result_says_so():
    (train, labels), (test, test_labels) = blobs(30, 4), blobs(20, 5)
    clamped = knn(KnnConfig(k=200), train, labels, test, test_labels)
    assert torch.equal(clamped.predicted[200], knn(KnnConfig(k=30), train, labels, test, test_labels).predicted[30])
    assert any("200" in note and "30" in note for note in clamped.notes)


def test_labels_may_have_any_values():
    (train, labels), (test, test_labels) = blobs(200, 6), blobs(60, 7)
    plain = knn(KnnConfig(k=10), train, labels, test, test_labels)
    strange = torch.tensor([1000, 3, 70, 8, 9, 500])
    found = knn(KnnConfig(k=10), train, strange[labels], test, strange[test_labels])
    assert torch.equal(found.predicted[10], strange[plain.predicted[10]])
    assert found.top1 == plain.top1


def test_a_class_that_training_lacks_counts_as_an_error():
    train, labels = torch.eye(3), torch.tensor([2, 4, 6])
    found = knn(KnnConfig(k=1), train, labels, torch.eye(3), torch.tensor([2, 5, 99]))
    assert found.top1[1] == pytest.approx(1 / 3)
    assert found.predicted[1].tolist() == [2, 4, 6]
    assert any(note.startswith("2 of 3 test images") for note in found.notes)


def test_equally_near_images_vote_in_the_order_of_their_index():
    train = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    found = knn(KnnConfig(k=(1, 2)), train, torch.tensor([5, 3, 3]), train[:1], torch.tensor([5]))
    assert found.predicted[1].tolist() == [5]
    assert found.predicted[2].tolist() == [3]  # one vote each: the smallest label wins


def test_features_are_normalised_unless_told_otherwise():
    train, labels = torch.tensor([[10.0, 10.0], [1.0, 0.0]]), torch.tensor([0, 1])
    test = torch.tensor([[1.0, 0.1]])
    assert knn(KnnConfig(k=1), train, labels, test, torch.tensor([1])).top1[1] == 1.0
    assert knn(KnnConfig(k=1, normalise=False), train, labels, test, torch.tensor([1])).top1[1] == 0.0


def test_unweighted_neighbours_count_one_each():
    train, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]]), torch.tensor([0, 1, 1])
    test = torch.tensor([[1.0, 0.05]])
    assert knn(KnnConfig(k=3), train, labels, test, torch.tensor([0])).top1[3] == 1.0
    assert knn(KnnConfig(k=3, weighted=False), train, labels, test, torch.tensor([0])).top1[3] == 0.0


def test_a_very_low_temperature_does_not_overflow():
    (train, labels), (test, test_labels) = blobs(100, 8), blobs(50, 9)
    cold = knn(KnnConfig(k=20, temperature=1e-4), train, labels, test, test_labels)
    assert torch.equal(cold.predicted[20], knn(KnnConfig(k=1), train, labels, test, test_labels).predicted[1])


def test_a_small_memory_bound_changes_nothing():
    (train, labels), (test, test_labels) = blobs(200, 10), blobs(70, 11)
    small = knn(KnnConfig(k=(5, 20), memory=5000), train, labels, test, test_labels)
    large = knn(KnnConfig(k=(5, 20)), train, labels, test, test_labels)
    assert all(torch.equal(small.predicted[k], large.predicted[k]) for k in (5, 20))


def test_votes_equal_a_loop_over_the_formula():
    (train, labels), (test, _) = blobs(50, 12, classes=4), blobs(10, 13, classes=4)
    unit_train, unit_test = F.normalize(train.double(), dim=1).tolist(), F.normalize(test.double(), dim=1).tolist()
    expected = []
    for q in unit_test:
        near = sorted(
            ((sum(a * b for a, b in zip(q, r, strict=True)), j) for j, r in enumerate(unit_train)), reverse=True
        )
        score: dict[int, float] = defaultdict(float)
        for s, j in near[:7]:
            score[int(labels[j])] += math.exp(s / 0.2)
        expected.append(max(score, key=score.__getitem__))
    found = knn(KnnConfig(k=7, temperature=0.2), train, labels, test, torch.zeros(10, dtype=torch.int64))
    assert found.predicted[7].tolist() == expected


@pytest.mark.parametrize(
    ("images", "classes", "k"),
    [(50_000, 10, 200), (4000, 10, 200), (3999, 10, 20), (5864, 100, 58), (70, 4, 17), (24, 12, 2), (3, 5, 1)],
)
def test_k_is_chosen_by_the_size_of_the_set(images, classes, k):
    assert KnnConfig().fitted(images, classes).k == k


def test_a_chosen_k_is_said_and_gives_the_numbers_of_the_same_k_asked_for():
    (train, labels), (test, test_labels) = blobs(100, 0), blobs(30, 1)
    chosen = knn(KnnConfig(), train, labels, test, test_labels)
    (k,) = chosen.top1
    assert chosen.config.k == k == len(train) // len(labels.unique())
    assert any(note.startswith(f"k = {k} was chosen for {len(train)} training images") for note in chosen.notes)
    asked = knn(KnnConfig(k=k), train, labels, test, test_labels)
    assert asked.top1 == chosen.top1
    assert torch.equal(asked.predicted[k], chosen.predicted[k])
    assert not any("chosen" in note for note in asked.notes)


def test_presets_are_the_published_ones():
    assert {name: (one.ks, one.temperature) for name, one in KNN_PRESETS.items()} == {
        "npid": ((200,), 0.1),
        "eir": ((5, 20, 200), 0.1),
        "invp": ((200,), 0.07),
        "simsiam": ((200,), 0.2),
    }


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"k": 0}, "^k is 0; it must be at least 1"),
        ({"k": ()}, "^k is .*; it must be one or more, all at least 1"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"memory": 0}, "memory"),
    ],
)
def test_a_bad_setting_is_one_sentence(setting, word):
    with pytest.raises(UserError, match=word):
        KnnConfig(**setting)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"train": torch.zeros(0, 3)}, "at least one row"),
        ({"train": torch.eye(4)}, "dimensions"),
        ({"train_labels": torch.tensor([0, 1])}, "labels"),
        ({"train_labels": torch.tensor([0, -1, 1])}, "no label"),
        ({"test": torch.full((3, 3), torch.nan)}, "NaN"),
        ({"test_labels": torch.tensor([0.0, 1.0, 2.0])}, "no label"),
    ],
)
def test_bad_input_is_one_sentence(change, word):
    labels = torch.tensor([0, 1, 2])
    given = {"train": torch.eye(3), "train_labels": labels, "test": torch.eye(3), "test_labels": labels} | change
    with pytest.raises(UserError, match=word):
        knn(KnnConfig(k=1), **given)


PEAK = """
import sys
import torch
from resident import forget_peak, resident
from viewkin.evaluation.probes.knn import KnnConfig, knn

torch.set_num_threads(1)
rows, asking = torch.randn(40000, 128), torch.randn(3000, 128)
if sys.argv[1] == "tied":
    rows[:], asking[:] = rows[0], rows[0]
labels, wanted = torch.arange(40000) % 10, torch.arange(3000) % 10
forget_peak()  # that of making the inputs
before = resident("VmRSS")
knn(KnnConfig(k=(5, 200), memory=16 * 2**20), rows, labels, asking, wanted)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("rows", ["various", "tied"])
def test_the_whole_evaluation_stays_within_its_memory_bound_as_the_system_measures_it(rows):
    # Peak resident memory above the loaded inputs; torch's own code, read from disk when first used, is some 10 MiB.
    (peak,) = printed(PEAK, rows)
    assert peak < 16 + 16
