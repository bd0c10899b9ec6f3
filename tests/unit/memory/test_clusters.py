"""Claims about pseudo-labels: the rule that keeps clusters in use above all."""

from unittest import mock

import pytest
import torch
from torch import Tensor

from viewkin import losses
from viewkin.memory.clusters import DISSOLVE_EVERY, DISSOLVED_AT_ONCE, Clusters
from viewkin.memory.kmeans import renumber_like
from viewkin.ops.kmeans import cluster_means
from viewkin.schedules import Progress


def after(step: int) -> Progress:
    """After so many steps."""
    return Progress(step=step, steps=1000)


def rows(count: int, dim: int = 4, seed: int = 0) -> Tensor:
    return losses.unit(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))).double()


def at(degrees: list[float]) -> Tensor:
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], 1)


def labelled(features: Tensor, labels: list[int], clusters: int, **settings) -> Clusters:
    """A state with given labels, its centroids the means."""
    found = Clusters(features, clusters, **settings)
    found.relabel_(torch.tensor(labels), features)
    return found


def check(state: Clusters) -> None:
    """What always holds."""
    assert torch.equal(state.counts, torch.bincount(state.labels, minlength=len(state)))
    assert int(state.counts.sum()) == len(state.labels)
    assert 0 <= int(state.labels.min()) <= int(state.labels.max()) < len(state)
    assert state.centroids.isfinite().all()


# ---------------------------------------------------------------- small clusters


@pytest.mark.parametrize("seed", range(25))
def test_after_the_rule_no_cluster_is_empty_and_every_image_has_one(seed):
    generator = torch.Generator().manual_seed(seed)
    n, c = int(torch.randint(8, 60, (1,), generator=generator)), int(torch.randint(2, 9, (1,), generator=generator))
    weights = torch.rand(c, generator=generator) ** 4 + 1e-6
    labels = weights.multinomial(n, replacement=True, generator=generator)
    features = rows(n, seed=seed)
    if seed % 5 == 0:
        features = features[:1].repeat(n, 1)  # collapsed: nothing tells the images apart
    state = labelled(features, labels.tolist(), c, min_size=1 + seed % 6)
    state.dissolve_small_(features, after(3))
    check(state)
    assert int(state.counts.min()) >= 1


def test_where_nothing_is_small_nothing_changes():
    features = rows(30)
    state = labelled(features, [i % 3 for i in range(30)], 3, min_size=10)
    before = {name: value.clone() for name, value in state.state_dict().items()}
    state.dissolve_small_(features, after(0))
    assert all(torch.equal(value, before[name]) for name, value in state.state_dict().items())


def test_a_lone_member_moves_to_the_closer_cluster_and_the_largest_is_halved():
    # Counts 7, 1, 4, at least 2. Cluster 0 lies at 0 and 20 degrees, cluster 2 at 90, the lone one at 60.
    features = at([0, 1, 2, 3, 20, 21, 22, 60, 90, 91, 92, 93])
    state = labelled(features, [0] * 7 + [1] + [2] * 4, 3, min_size=2)
    assert state.counts.tolist() == [7, 1, 4]
    state.dissolve_small_(features, after(0))
    assert state.labels[7] == 2
    first, second = set(state.labels[:4].tolist()), set(state.labels[4:7].tolist())
    assert {*first, *second} == {0, 1}
    assert len(first) == len(second) == 1
    assert sorted(state.counts.tolist()) == [3, 4, 5]
    for cluster in (0, 1):
        torch.testing.assert_close(state.centroids[cluster], features[state.labels == cluster].mean(0))
    assert int(state.moved) == 1 + int(state.counts[1])


def test_moved_members_go_to_no_small_cluster():
    # Both lone images are nearest to each other's cluster, which is small too.
    features = at([0, 0, 0, 0, 120, 125])
    state = labelled(features, [0, 0, 0, 0, 1, 2], 3, min_size=2)
    assert state.nearest(features[4:], state.counts >= 2).tolist() == [0, 0]
    state.dissolve_small_(features, after(0))
    check(state)
    assert int(state.counts.min()) >= 1


def test_images_that_nothing_tells_apart_are_halved_at_random_by_step():
    features = at([30] * 12)
    found = []
    for step in (0, 0, 1):
        state = labelled(features, [0] * 12, 2, min_size=1)
        state.dissolve_small_(features, after(step))
        assert state.counts.tolist() == [6, 6]
        found.append(state.labels.tolist())
    assert found[0] == found[1] != found[2]


def test_clusters_of_images_a_rounding_apart_stay_finite_and_none_is_empty():
    for seed in range(200):
        features = losses.unit(rows(1, 8, seed) + 1e-7 * rows(30, 8, seed + 1000))
        state = labelled(features, [0, *[1] * 9, *[2] * 20], 3, min_size=3)
        state.dissolve_small_(features, after(seed))
        assert state.centroids.isfinite().all()
        assert int(state.counts.min()) > 0


def test_where_all_clusters_are_small_only_the_empty_ones_are_filled():
    features = rows(9)
    state = labelled(features, [0, 0, 0, 0, 1, 1, 1, 1, 1], 3, min_size=20)
    state.dissolve_small_(features, after(0))
    check(state)
    assert state.counts[0] == 4
    assert int(state.counts.min()) >= 1


# ---------------------------------------------------------------- labels and centroids


@pytest.mark.parametrize(("settings", "steps"), [({}, 10), ({"refresh": 3}, 3)])
def test_centroids_wait_for_their_step(settings, steps):
    features = rows(40)
    state = Clusters(features, 4, min_size=1, **settings)
    state.refresh_(features)
    index = torch.arange(8)
    for step in range(steps):
        old, features[index] = features[index], rows(8, seed=step + 1)
        before = state.centroids.clone()
        state.update_(index, old, features, after(step))
        check(state)
        if step + 1 < steps and not int(state.moved):
            assert torch.equal(state.centroids, before)
    torch.testing.assert_close(state.centroids, cluster_means(features, state.labels, before))
    assert not torch.equal(state.centroids, before)


def test_means_are_not_normalised_again():
    features = at([0, 90, 180, 180])
    state = labelled(features, [0, 0, 1, 1], 2)
    torch.testing.assert_close(state.centroids[0].norm().item(), 0.5**0.5)
    torch.testing.assert_close(state.centroids[1].norm().item(), 1.0)


def test_only_the_batch_gets_new_labels():
    features = rows(40)
    state = Clusters(features, 4, min_size=1)
    before = state.labels.clone()
    index = torch.tensor([3, 17, 30])
    state.assign_(index, torch.tensor([1, 1, 0]))
    check(state)
    rest = torch.ones(40, dtype=torch.bool).index_fill(0, index, False)
    assert torch.equal(state.labels[rest], before[rest])
    assert state.labels[index].tolist() == [1, 1, 0]


def test_churn_and_moves_count_from_the_beginning_of_the_epoch():
    features = rows(40)
    state = Clusters(features, 4, min_size=1)
    state.assign_(torch.arange(4), (state.labels[:4] + 1) % 4)
    assert state.gauges() == {
        "clusters_min": 10.0,
        "clusters_median": 10.0,
        "clusters_max": 10.0,
        "label_churn": 0.1,
        "small_cluster_moves": 0.0,
    }
    state.begin_epoch_()
    assert state.gauges()["label_churn"] == 0.0


def test_fitting_labels_every_image_and_uses_every_cluster():
    features = rows(50)
    state = Clusters(features, 5)
    state.fit_(features, after(0))
    check(state)
    assert int(state.counts.min()) >= 1
    torch.testing.assert_close(state.centroids, cluster_means(features, state.labels, state.centroids))


def blobs(clusters: int, per: int) -> tuple[Tensor, Tensor]:
    """Unit rows in tight heaps around orthogonal directions, and the heap of each."""
    owner = torch.arange(clusters * per) % clusters
    noise = 0.05 * torch.randn(len(owner), clusters, generator=torch.Generator().manual_seed(0))
    return losses.unit(torch.eye(clusters)[owner] + noise).double(), owner


@pytest.mark.parametrize("step", range(4))
def test_fitting_finds_heaps_that_lie_apart(step):
    features, owner = blobs(3, 20)
    state = Clusters(features, 3)
    state.fit_(features, after(step))
    assert torch.equal(renumber_like(state.labels, owner, 3), owner)


@pytest.mark.parametrize("seed", range(4))
def test_images_clustered_again_keep_the_numbers_of_their_clusters(seed):
    features = rows(200, seed=seed)
    state, other = Clusters(features, 8), Clusters(features, 8)
    state.fit_(features, after(0))
    state.begin_epoch_()
    other.relabel_(state.labels, features)
    state.fit_(features, after(1), again=True)
    other.fit_(features, after(1))
    check(state)
    table = torch.zeros(8, 8, dtype=torch.int64).index_put_(
        (state.labels, other.labels), torch.tensor(1), accumulate=True
    )
    assert ((table > 0).sum(0) == 1).all(), "the same clusters by other numbers"
    assert ((table > 0).sum(1) == 1).all()
    same = float((state.labels == state.epoch_labels).double().mean())
    assert same > 0.4 > 1.5 * float((other.labels == state.epoch_labels).double().mean())


def test_clusters_are_numbered_by_the_largest_overlap_first():
    before = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
    labels = torch.tensor([2, 2, 2, 0, 0, 0, 1, 1, 3, 3])
    # 2 shares three images with 0 and 0 two with 1; then 1 shares one with 1, which is taken, and one with 2.
    assert renumber_like(labels, before, 4).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    # A cluster that shares none with a free one takes what is left.
    assert renumber_like(torch.tensor([1, 1, 0, 2]), torch.tensor([0, 0, 0, 0]), 3).tolist() == [0, 0, 1, 2]


# ---------------------------------------------------------------- what a step keeps up instead of computing anew


def test_centroids_by_sums_are_the_means_to_rounding_after_many_steps():
    features = losses.unit(torch.randn(400, 16, generator=torch.Generator().manual_seed(0)))
    state = Clusters(features, 8, min_size=38)
    generator = torch.Generator().manual_seed(1)
    for step in range(200):
        index = torch.randperm(400, generator=generator)[:32]
        before = features[index]
        features[index] = losses.unit(before + 0.5 * torch.randn(32, 16, generator=generator))
        state.update_(index, before, features, after(step))
        check(state)
    assert int(state.moved) > 0, "the test means to meet small clusters"
    exact = cluster_means(features.double(), state.labels, state.centroids.double())
    assert (state.sums / state.counts.unsqueeze(1) - exact).abs().max() < 1e-13
    assert (state.centroids - exact).abs().max() < 1e-6  # the last step was one of refreshing


def compare_forms(features: Tensor, labels: list[int], clusters: int, **settings) -> tuple[Clusters, Clusters]:
    exact, few = (labelled(features, labels, clusters, **settings) for _ in range(2))
    exact.dissolve_small_(features, after(0))
    few.dissolve_few_(features, after(0))
    return exact, few


@pytest.mark.parametrize("seed", range(12))
def test_dissolving_in_fixed_shapes_does_what_the_exact_form_does(seed):
    features, generator = rows(90, seed=seed), torch.Generator().manual_seed(seed)
    weights = torch.tensor([1.0, 1.0, 1.0, 0.06, 0.03 * (seed % 3)])
    labels = (weights + 1e-9).multinomial(90, replacement=True, generator=generator)
    exact, few = compare_forms(features, labels.tolist(), 5, min_size=9)
    assert int(exact.moved) > 0, "the test means to meet small clusters"
    check(few)
    assert torch.equal(few.labels, exact.labels)
    assert torch.equal(few.counts, exact.counts)
    assert torch.equal(few.moved, exact.moved)
    torch.testing.assert_close(few.centroids, exact.centroids)
    torch.testing.assert_close(few.sums, exact.sums)


def test_where_nothing_is_small_the_fixed_shapes_change_nothing():
    features = rows(30)
    state = labelled(features, [i % 3 for i in range(30)], 3, min_size=10)
    before = {name: value.clone() for name, value in state.state_dict().items()}
    state.dissolve_few_(features, after(0))
    assert all(torch.equal(value, before[name]) for name, value in state.state_dict().items())


def test_what_is_too_much_for_one_step_is_done_in_the_next():
    features = rows(200, seed=3)
    state = labelled(features, [0] * 190 + [1] * 4 + [2] * 3 + [3] * 3, 6, min_size=10)
    for step in range(4):
        state.dissolve_few_(features, after(step))
        check(state)
    assert int(state.counts.min()) >= 1
    collapsed = labelled(features[:1].repeat(40, 1), [0] * 40, 2, min_size=2)
    collapsed.dissolve_few_(features[:1].repeat(40, 1), after(0))
    assert collapsed.counts.tolist() == [20, 20]


def followed(state: Clusters, features: Tensor, step: int) -> Clusters:
    """After a step without a batch, which leaves the rule alone."""
    nothing = torch.arange(0)
    state.update_(nothing, features[nothing], features, after(step))
    check(state)
    return state


@pytest.mark.parametrize("first", [0, 3, DISSOLVE_EVERY - 1])
def test_on_a_gpu_few_small_clusters_go_at_steps_that_their_number_alone_decides(first):
    features, small = rows(200, seed=3), 5
    state = labelled(features, [0] * 190 + [1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 1 + small, min_size=10)
    with mock.patch.object(Clusters, "fixed_shapes", True):
        for step in range(first, first + DISSOLVE_EVERY * -(-small // DISSOLVED_AT_ONCE)):
            before, labels = int((state.counts < 10).sum()), state.labels.clone()
            followed(state, features, step)
            if (step + 1) % DISSOLVE_EVERY:
                assert torch.equal(state.labels, labels)
            else:
                assert int((state.counts < 10).sum()) == max(before - DISSOLVED_AT_ONCE, 0)
    assert int(state.counts.min()) >= 10


def test_on_a_cpu_all_small_clusters_go_in_every_step():
    features = rows(200, seed=3)
    for step in range(2):
        state = labelled(features, [0] * 190 + [1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 6, min_size=10)
        assert int(followed(state, features, step).counts.min()) >= 10
