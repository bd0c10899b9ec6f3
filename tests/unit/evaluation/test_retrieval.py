import pytest
import torch
import torch.nn.functional as F

from viewkin.evaluation.retrieval import RetrievalConfig, chance_level, nearest_others, retrieval
from viewkin.runtime.errors import UserError


def blobs(count: int, seed: int, classes: int = 6, dim: int = 5):
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(9))
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return centres[labels] + torch.randn(count, dim, generator=draw), labels


def by_loops(features: torch.Tensor, labels: torch.Tensor, ks: tuple[int, ...]) -> dict[str, float]:
    """The protocol, query by query."""
    rows = F.normalize(features, dim=1)
    hits, precisions = dict.fromkeys(ks, 0), []
    for query in range(len(rows)):
        others = [i for i in range(len(rows)) if i != query]
        others.sort(key=lambda i: (-float(rows[query] @ rows[i]), i))
        right = [bool(labels[i] == labels[query]) for i in others]
        for k in ks:
            hits[k] += any(right[:k])
        mates = sum(right)
        found = [sum(right[: i + 1]) / (i + 1) for i in range(mates) if right[i]]
        precisions.append(sum(found) / mates if mates else 0.0)
    shares = {f"R@{k}": 100 * hits[k] / len(rows) for k in ks}
    return {**shares, "MAP@R": 100 * sum(precisions) / len(rows)}


@pytest.mark.parametrize("seed", range(3))
def test_recall_and_map_at_r_equal_the_loops(seed):
    features, labels = blobs(60, seed)
    found = retrieval(RetrievalConfig(), features.double(), labels)
    assert found.values() == pytest.approx(by_loops(features, labels, (1, 2, 4, 8)), abs=1e-9)


def test_perfect_neighbours_give_a_hundred_of_everything():
    labels = torch.arange(5).repeat_interleave(4)
    found = retrieval(RetrievalConfig(), torch.eye(5)[labels], labels)
    assert set(found.values().values()) == {100.0}


def test_a_query_without_a_mate_counts_as_a_miss_and_the_result_says_so():
    found = retrieval(RetrievalConfig(k=(1,)), torch.eye(3)[[0, 0, 1, 1, 2]], torch.tensor([7, 7, 90, 90, 4]))
    assert found.values() == pytest.approx({"R@1": 80.0, "MAP@R": 80.0})
    assert found.notes == ("1 of 5 queries are alone in their class: they count as misses.",)


def test_a_k_beyond_the_set_looks_at_all_others():
    features, labels = blobs(10, 0, classes=3)
    found = retrieval(RetrievalConfig(k=(9, 50)), features, labels)
    assert found.recall[9] == found.recall[50]
    assert found.notes[-1] == "K = 50 is more than the 9 other images: all are looked at."


def test_labels_may_have_any_values():
    features, labels = blobs(80, 1)
    names = torch.tensor([500, 3, 98, 7, 12, 195])
    assert (
        retrieval(RetrievalConfig(), features, names[labels]).recall
        == retrieval(RetrievalConfig(), features, labels).recall
    )


def test_duplicated_rows_are_found_and_never_the_query_itself():
    features, labels = blobs(30, 2)
    twice = retrieval(RetrievalConfig(k=(1,)), features.repeat(2, 1), labels.repeat(2))
    assert twice.recall[1] == 1.0  # the other copy, which is of the class
    odd = retrieval(RetrievalConfig(k=(1,)), features.repeat(2, 1), torch.cat([labels, labels + 100]))
    assert odd.recall[1] == 0.0  # the other copy, which is not


def test_equally_near_images_come_in_the_order_of_their_index():
    features = torch.ones(6, 2)
    for k in (1, 3):
        near = nearest_others(features, slice(0, 6), k, 10**6)
        assert near.tolist() == [[i for i in range(6) if i != query][:k] for query in range(6)]


def test_a_small_memory_bound_changes_nothing():
    features, labels = blobs(70, 3)
    small = retrieval(RetrievalConfig(memory=5000), features, labels)
    assert small.values() == pytest.approx(retrieval(RetrievalConfig(), features, labels).values(), abs=1e-9)


def test_random_features_measure_what_chance_is_said_to_be():
    draw = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.zeros(30), torch.ones(90), torch.full((280,), 2.0), torch.tensor([3.0])]).long()
    config, found = RetrievalConfig(), []
    for _ in range(20):
        found.append(retrieval(config, torch.randn(len(labels), 400, generator=draw), labels).values())
    for name, expected in chance_level(config, labels).items():
        assert sum(one[name] for one in found) / len(found) == pytest.approx(expected, abs=1.0)


def test_chance_is_exact_for_three_images():
    # Two of one class: the first neighbour is the mate half of the time, the second always; the third has none.
    found = chance_level(RetrievalConfig(k=(1, 2, 3)), torch.tensor([4, 4, 9]))
    assert found == pytest.approx({"R@1": 100 / 3, "R@2": 200 / 3, "R@3": 200 / 3, "MAP@R": 100 / 3})


@pytest.mark.parametrize(
    ("features", "labels", "word"),
    [
        (torch.eye(3), torch.tensor([2, 2, 2]), "two classes"),
        (torch.eye(3), torch.tensor([0, 1, -1]), "no label"),
        (torch.eye(3), torch.tensor([0, 1]), "one each"),
        (torch.eye(3) / 0, torch.tensor([0, 1, 2]), "NaN or infinity"),
        (torch.zeros(0, 3), torch.zeros(0), "at least one row"),
    ],
)
def test_bad_images_are_one_sentence(features, labels, word):
    with pytest.raises(UserError, match=word):
        retrieval(RetrievalConfig(), features, labels)


@pytest.mark.parametrize("setting", [{"k": ()}, {"k": (1, 0)}, {"memory": 0}])
def test_a_bad_setting_is_named(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        RetrievalConfig(**setting)
