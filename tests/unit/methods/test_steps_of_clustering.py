"""Steps of the learners that cluster: values worked out by loops, chance values, and what settings they refuse."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lawbook import COUNT, METHODS, SIDE, batch_for, build, copied, differing, encode_of, memory_of
from lawcheck import INDEX, pure_forward
from planar import u
from viewkin import losses
from viewkin.memory.cluster_config import ClusterConfig
from viewkin.methods.base import Batch, Method
from viewkin.methods.odc import ODCConfig
from viewkin.runtime.draws import Draw
from viewkin.runtime.errors import SettingError
from viewkin.schedules import Progress

LATER = Progress(step=1, steps=10, epoch=0, epochs=2, round=1, rounds=3)
"""In the second round."""


def batch_of(method: Method, index: Tensor = INDEX) -> Batch:
    return batch_for(method, index, step=9)


def value(loss: Tensor) -> float:
    return float(loss.detach())


class Fixed(nn.Module):
    """Gives the same rows for any images."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = rows
        self.feature_dim = rows.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        return self.rows


def three_images() -> Batch:
    return Batch(views={"view": torch.zeros(3, 3, SIDE, SIDE)}, index=torch.tensor([0, 1, 2]), draw=Draw(0, 0, 3, 0, 3))


def silent_(layer: nn.Module) -> None:
    """Let a classifier give zeros."""
    for weight in layer.parameters():
        nn.init.zeros_(weight)


# ---------------------------------------------------------------- ODC


def test_odc_weighs_images_by_their_clusters_and_divides_by_the_sum_of_weights():
    method = ODCConfig(dim=3, clusters=ClusterConfig(number=3, min_size=1)).build(
        Fixed(torch.eye(3, dtype=torch.float64)), count=525
    )
    logits = torch.tensor([[1, 0, 0], [0, 1, 0], [0.5, 0, 1]], dtype=torch.float64)
    method.encoder = Fixed(torch.eye(3, dtype=torch.float64))
    method.classifier = Fixed(logits)
    method.clusters.labels[:3] = torch.tensor([0, 1, 1])
    method.clusters.counts.copy_(torch.tensor([100, 25, 400]))
    assert value(method(three_images(), LATER).loss) == pytest.approx(1.002975, abs=1e-6)


@pytest.mark.parametrize(
    "clusters", [ClusterConfig(labels="offline"), ClusterConfig(labels="offline", of="start")], ids=["labels", "of"]
)
def test_odc_refuses_labels_that_do_not_change_at_every_step(clusters):
    with pytest.raises(SettingError, match="online"):
        ODCConfig(clusters=clusters)


def test_odc_refuses_to_cluster_what_its_memory_does_not_hold():
    with pytest.raises(SettingError, match="memory"):
        ODCConfig(clusters=ClusterConfig(of="features"))


# ---------------------------------------------------------------- values at chance


@pytest.mark.parametrize(("name", "classes"), [("deepcluster", 3), ("odc", 3), ("sela", 4)])
def test_a_silent_classifier_is_at_chance(name: str, classes: int):
    method = build(METHODS[name])
    silent_(method.classifier if name == "odc" else method.encoder.head)
    assert value(method(batch_of(method), LATER).loss) == pytest.approx(math.log(classes), rel=1e-6)


def all_alike_(method: Method) -> Method:
    """Let a memory hold one vector for all images."""
    method.bank.fill_(u(*[30.0] * COUNT, dtype=torch.float32) @ torch.eye(2, method.dim))
    return method


def test_neighbourhood_discovery_is_at_chance_where_the_memory_holds_one_vector():
    method = all_alike_(build(METHODS["discovery"]))
    loss = method(batch_of(method), LATER).loss
    assert value(loss) == pytest.approx(math.log(COUNT), rel=1e-5)
    method.anchors.neighbour.copy_((torch.arange(COUNT) + 1) % COUNT)
    assert value(method(batch_of(method), LATER).loss) == pytest.approx(math.log(COUNT / 2), rel=1e-5)


def test_local_aggregation_is_at_chance_where_the_memory_holds_one_vector():
    method = all_alike_(build(METHODS["local_aggregation"]))
    method.clusterings.labels.copy_(torch.arange(COUNT).expand(2, -1) // 6)  # clusters of 6; 18 of 20 are in whole ones
    batch = batch_of(method, torch.arange(8))
    background = method.bank.nearest(torch.randn(1, method.dim), 20)[1][0]
    size = [int((background // 6 == image // 6).sum()) for image in range(8)]
    expected = sum(math.log(20 / close) for close in size) / 8
    assert value(method(batch, LATER).loss) == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------- PCL


def pcl_by_loops(
    q: Tensor, prototypes: Tensor, phi: Tensor, batch: list[int], others: list[int], *, dedup: bool
) -> float:
    """ProtoNCE, written out: the batch's clusters once or as often as they occur, and clusters of no image of it."""
    columns = list(dict.fromkeys(batch)) if dedup else batch
    columns = columns + [one for one in others if one not in batch]
    total = 0.0
    for row, own in zip(q, batch):
        powers = {c: math.exp(float(row @ prototypes[c]) / float(phi[c])) for c in set(columns)}
        total -= math.log(powers[own] / sum(powers[c] for c in columns))
    return total / len(batch)


@pytest.mark.parametrize("dedup", [False, True])
def test_the_term_of_pcl_by_loops(dedup: bool):
    config = replace(METHODS["pcl"], dedup=dedup, negatives=5, weight=0.5)
    method = build(config).double()
    at = Progress(step=3, steps=10, epoch=1, epochs=3)
    method.epoch(encode_of(method, torch.float64), at)
    batch = batch_for(method, INDEX, step=9, dtype=torch.float64)
    step = method(batch, at)
    q = step.pairs[0][0].detach()
    each = [
        pcl_by_loops(
            q, held.centroids, held.temperature, held.labels[INDEX].tolist(), list(range(len(held))), dedup=dedup
        )
        for held in method.prototypes
    ]
    assert value(step.terms["pcl"]) == pytest.approx(0.5 * sum(each) / 2, rel=1e-9)


def test_pcl_draws_so_many_prototypes_of_no_image_of_the_batch():
    method = build(replace(METHODS["pcl"], clusters=(12,), negatives=2)).double()
    held = method.prototypes[0]
    held.labels.copy_(torch.arange(COUNT) % 12)
    held.labels[INDEX] = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    found = []
    original = losses.prototype_nce

    def spy(*args, **named):
        found.append(args[5].tolist())
        return original(*args, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "prototype_nce", spy)
        for step in range(30):
            batch = batch_for(method, INDEX, step=step, dtype=torch.float64)
            method(batch, Progress(step=step, steps=40))
    assert all(len(set(drawn)) == 2 and not set(drawn) & {0, 1, 2} for drawn in found)
    assert set().union(*found) == set(range(3, 12))


def test_pcl_leaves_the_terms_of_its_base_alone():
    method = build(METHODS["pcl"])
    batch = batch_of(method)
    step, base = method(batch, LATER), method.base(batch, LATER)
    assert torch.equal(step.terms["moco"], base.terms["moco"])
    assert not differing(step.record, base.record)


def test_the_warmup_of_pcl_is_its_base():
    method = build(replace(METHODS["pcl"], warmup_epochs=2))
    batch, at = batch_of(method), Progress(step=1, steps=9, epoch=1, epochs=3)
    before = memory_of(copied(method))
    method.epoch(encode_of(method, torch.float32), at)
    assert not differing(before, memory_of(copied(method)))
    assert value(method(batch, at).terms["pcl"]) == 0
    assert torch.equal(method(batch, at).loss, method.base(batch, at).loss)
    assert value(method(batch, replace(at, epoch=2)).terms["pcl"]) > 0


# ---------------------------------------------------------------- AND and Local Aggregation after their first epochs


def with_anchors() -> Method:
    method = build(METHODS["discovery"])
    method.bank.fill_(torch.randn(COUNT, method.dim, generator=torch.Generator().manual_seed(3)))
    method.epoch(encode_of(method, torch.float32), replace(LATER, round=2))
    assert 0 < int((method.anchors.neighbour[INDEX] >= 0).sum()) < len(INDEX)
    return method


def test_neighbourhood_discovery_with_anchors_by_loops():
    method = with_anchors().double()
    batch = batch_for(method, INDEX, step=9, dtype=torch.float64)
    q = method(batch, LATER).pairs[0][0].detach()
    rows, expected = method.bank.read(torch.arange(COUNT)), []
    for row, image in zip(q, INDEX.tolist()):
        p = (rows @ row / method.temperature).softmax(0)
        neighbour = int(method.anchors.neighbour[image])
        expected.append(-math.log(p[image] + (p[neighbour] if neighbour >= 0 else 0)))
    assert value(method(batch, LATER).loss) == pytest.approx(sum(expected) / len(expected), rel=1e-9)


def test_a_pass_with_anchors_changes_nothing():
    method = with_anchors()
    pure_forward(method, batch_of(method))


def test_the_anchors_of_a_round_stay():
    method = with_anchors()
    before = method.anchors.neighbour.clone()
    batch = batch_of(method)
    method.update(method(batch, LATER).record, LATER)
    method.epoch(encode_of(method, torch.float32), replace(LATER, round=2, epoch=1))
    assert torch.equal(method.anchors.neighbour, before)


def test_local_aggregation_by_loops():
    method = build(METHODS["local_aggregation"]).double()
    method.bank.fill_(torch.randn(COUNT, method.dim, generator=torch.Generator().manual_seed(3)).double())
    method.epoch(encode_of(method, torch.float64), LATER)
    batch = batch_for(method, INDEX, step=9, dtype=torch.float64)
    step = method(batch, LATER)
    rows, expected = method.bank.read(torch.arange(COUNT)), []
    for row, image in zip(step.pairs[0][0].detach(), INDEX.tolist()):
        power = (rows @ row / method.temperature).exp()
        background = power.argsort(descending=True)[:20].tolist()
        close = [j for j in background if any(labels[j] == labels[image] for labels in method.clusterings.labels)]
        expected.append(-math.log(float(power[close].sum() / power[background].sum()) + 1e-7))
    assert value(step.loss) == pytest.approx(sum(expected) / len(expected), rel=1e-9)


@pytest.mark.parametrize("name", ["local_aggregation", "discovery"])
def test_a_step_is_compared_with_the_memory_before_its_own_rows_enter(name: str):
    method = build(METHODS[name])
    batch, before = batch_of(method), None
    before = method.bank.read(INDEX).clone()
    step = method(batch, Progress())
    assert torch.equal(step.pairs[0][1], before)
    assert not torch.allclose(step.pairs[0][0].detach(), before, atol=0.1)
    method.update(step.record, Progress())
    expected = functional.normalize(0.5 * before + 0.5 * step.record["embedding"])
    torch.testing.assert_close(method.bank.read(INDEX), expected)


# ---------------------------------------------------------------- DeepCluster and SeLa


def test_deepcluster_weighs_every_cluster_alike_over_an_epoch():
    method = build(METHODS["deepcluster"]).eval().double()
    method.labels.copy_((torch.arange(COUNT) >= 15).long() + (torch.arange(COUNT) >= 22).long())
    method.counts.copy_(torch.tensor([15, 7, 2]))
    everyone = torch.arange(COUNT)
    batch = batch_for(method, everyone, dtype=torch.float64)
    logits = method.encoder(batch.views["view"]).detach()
    nll = functional.cross_entropy(logits, method.labels, reduction="none")
    expected = sum(float(nll[method.labels == cluster].mean()) for cluster in range(3)) / 3
    assert value(method(batch, LATER).loss) == pytest.approx(expected, rel=1e-9)


def sinkhorn_by_loops(logits: Tensor, strength: float, rounds: int) -> Tensor:
    """Scaling of rows and columns in the log domain, a round at a time."""
    scores = strength * logits.double()
    for _ in range(rounds):
        scores = scores - scores.logsumexp(0) - math.log(logits.shape[1])
        scores = scores - scores.logsumexp(1, keepdim=True) - math.log(len(logits))
    return scores


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_balanced_labels_where_powers_underflow(scale: float):
    logits = scale * torch.randn(60, 5, generator=torch.Generator().manual_seed(1))
    logits[:, 0] += 3 * scale  # a class that all images prefer
    assert logits.argmax(1).bincount(minlength=5)[0] > 45
    found = losses.balanced_assignment(logits, 25.0, tolerance=1e-9, rounds=4000)
    assert not found.isnan().any()
    torch.testing.assert_close(found.exp().sum(1), torch.full((60,), 1 / 60, dtype=torch.float64))
    torch.testing.assert_close(found.exp().sum(0), torch.full((5,), 0.2, dtype=torch.float64), rtol=0.02, atol=0)
    assert torch.equal(found.argmax(1), sinkhorn_by_loops(logits, 25.0, 4000).argmax(1))
