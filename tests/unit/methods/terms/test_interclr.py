"""InterCLR: what it adds to its base, to the letter of its parts."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from lawbook import (
    BATCH,
    CLUSTERED,
    COUNT,
    METHODS,
    SIDE,
    batch_for,
    build,
    copied,
    differing,
    encode_of,
    interclr,
    shake_,
)
from viewkin import losses
from viewkin.data.dataset import Survey
from viewkin.memory.kmeans import kmeans
from viewkin.methods.base import ViewMethod
from viewkin.methods.terms.eir import EIRConfig
from viewkin.methods.terms.interclr import InterCLR, InterCLRConfig
from viewkin.ops.kmeans import cluster_means
from viewkin.recipes.catalogue import RECIPES
from viewkin.runs.resolve import TrainRequest, fit_to_data, resolve
from viewkin.runtime.draws import generator_for
from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress
from viewkin.settings import with_value

AT, INDEX = Progress(steps=10), torch.arange(BATCH)


def around(base: str, **settings: Any) -> InterCLRConfig:
    return interclr(METHODS[base], **{**CLUSTERED, **settings})


def allocate_rows(config: InterCLRConfig) -> InterCLR:
    """In eval mode, so that passes do not move each other's statistics."""
    method = build(config).double().eval()
    assert isinstance(method, InterCLR)
    return method


def batch(method: InterCLR, step: int = 0) -> Any:
    return batch_for(method, INDEX, step=step, dtype=torch.float64)


def started(config: InterCLRConfig) -> InterCLR:
    method = allocate_rows(config)
    method.start(encode_of(method, torch.float64), AT)
    return method


# ---------------------------------------------------------------- the loss


@pytest.mark.parametrize("base", ["npid", "npid-infonce", "moco", "simclr", "byol", "eir"])
def test_with_lambda_one_it_is_its_base_bit_for_bit(base):
    alone, method = build(METHODS[base]), build(around(base, base_weight=1.0))
    assert set(copied(method)) == {f"base.{name}" for name in copied(alone)}
    encode = encode_of(alone, torch.float32)
    for one in (alone, method):
        one.start(encode, AT)
        one.epoch(encode, AT)
    for step in range(2):
        index = (INDEX + step) % COUNT
        first, second = alone(batch_for(alone, index, step=step), AT), method(batch_for(method, index, step=step), AT)
        assert list(first.terms) == list(second.terms)
        assert torch.equal(first.loss, second.loss)
        for one, found in ((alone, first), (method, second)):
            one.update(found.record, AT)
    assert not differing({f"base.{name}": value for name, value in copied(alone).items()}, copied(method))


@pytest.mark.parametrize("base", ["npid-infonce", "moco", "moco-symmetric", "simclr"])
def test_terms_are_the_bases_and_margin_nce_over_its_directions(base):
    method = started(around(base, base_weight=0.6, margin=-0.3))
    intra, step = method.base(batch(method), AT), method(batch(method), AT)
    assert list(step.terms) == [*intra.terms, "interclr"]
    for name, term in intra.terms.items():
        torch.testing.assert_close(step.terms[name], 0.6 * term)
    bank, total, ways = method.bank.everything(), 0.0, len(step.pairs)
    kin, strangers = (step.related[f"interclr/{what}"].chunk(ways, 1) for what in ("positives", "negatives"))
    for (q, _), positive, negative in zip(step.pairs, kin, strangers):
        loss = losses.info_nce(q, bank[positive[:, 0]], bank[negative], method.temperature, -0.3)
        total = total + loss.mean().detach() / ways
    torch.testing.assert_close(step.terms["interclr"].detach(), 0.4 * total)


def test_kin_have_the_anchors_label_and_strangers_another():
    method = started(around("moco"))
    assert method.clusters is not None
    found, labels = method(batch(method), AT).related, method.clusters.labels
    own = labels[INDEX].unsqueeze(1)
    assert (labels[found["interclr/positives"]] == own).all()
    assert (labels[found["interclr/negatives"]] != own).all()


def test_around_a_base_without_negatives_the_positive_is_the_bases_own_pair():
    method = started(around("byol"))
    step = method(batch(method), AT)
    assert list(step.related) == ["interclr/positives"]
    kin = step.related["interclr/positives"]
    expected = [losses.regression(q, method.bank.read(kin[:, way])).mean() for way, (q, _) in enumerate(step.pairs)]
    torch.testing.assert_close(step.terms["interclr"], 0.25 * torch.stack(expected).mean())


def test_the_bank_of_byol_holds_target_projections_of_the_first_view_not_predictions():
    method = started(around("byol"))
    encode = encode_of(method, torch.float64)
    torch.testing.assert_close(method.bank.everything(), encode("target"))
    assert not torch.allclose(encode("target"), encode("embedding"))
    step = method(batch(method), AT)
    method.update(step.record, AT)
    torch.testing.assert_close(step.record["embedding"], step.pairs[1][1])
    torch.testing.assert_close(method.bank.read(INDEX), step.record["embedding"])


def test_the_bank_of_byol_holds_the_view_that_is_chosen():
    method = started(around("byol"))
    other = started(interclr(replace(METHODS["byol"], bank_view="second"), **CLUSTERED))
    step, record = method(batch(method), AT), other(batch(other), AT).record
    torch.testing.assert_close(record["embedding"], step.pairs[0][1])
    assert not torch.allclose(record["embedding"], step.record["embedding"])


@pytest.mark.parametrize("base", ["simclr", "byol"])
def test_one_direction_alone_may_have_an_inter_term(base):
    both, method = started(around(base)), started(around(base, directions="first"))
    found, step = both(batch(both), AT), method(batch(method), AT)
    for what, images in step.related.items():
        assert torch.equal(images, found.related[what].chunk(2, 1)[0])
    second = torch.autograd.grad(step.terms["interclr"], step.pairs[1][0], allow_unused=True)[0]
    assert second is None
    assert torch.autograd.grad(found.terms["interclr"], found.pairs[1][0], allow_unused=True)[0] is not None
    assert not torch.equal(step.terms["interclr"], found.terms["interclr"])


@pytest.mark.parametrize("base", ["moco", "byol"])
def test_the_query_side_may_be_clustered(base):
    method, other = started(around(base)), started(around(base, clustered="query"))
    torch.testing.assert_close(other.bank.everything(), encode_of(other, torch.float64)("embedding"))
    same = torch.allclose(other.bank.everything(), method.bank.everything())
    assert same == (base == "moco"), "a fresh copy of the network gives what the network gives; a prediction is another"


@pytest.mark.parametrize("labels", ["online", "offline"])
def test_features_may_be_clustered_while_centroids_stay_means_of_the_bank(labels):
    method = started(around("simclr", clustered="features", labels=labels))
    encode, seen = encode_of(method, torch.float64), losses.unit
    features = seen(encode("features"))
    expected, _ = kmeans(features, 3, generator_for(AT.seed, "k-means", AT.total_step), iterations=20)
    assert torch.equal(method.clusters.labels, expected)
    assert not torch.equal(expected, started(around("simclr", labels=labels)).clusters.labels)
    bank = method.bank.everything()
    torch.testing.assert_close(bank, encode("target"))
    torch.testing.assert_close(method.clusters.centroids, torch.stack([bank[expected == c].mean(0) for c in range(3)]))


def test_features_are_clustered_again_as_they_have_become():
    method = started(around("simclr", clustered="features", labels="offline"))
    shake_(method.backbone, seed=5)
    encode, before = encode_of(method, torch.float64), method.clusters.labels.clone()
    at = Progress(steps=10, step=5, epoch=1, epochs=2)
    method.epoch(encode, at)
    again, _ = kmeans(
        losses.unit(encode("features")), 3, generator_for(at.seed, "k-means", at.total_step), iterations=20
    )
    together = method.clusters.labels.unsqueeze(1) == method.clusters.labels
    assert torch.equal(together, again.unsqueeze(1) == again), "the same clusters, under any numbers"
    assert not torch.equal(method.clusters.labels, before)


def test_clusters_of_the_start_are_those_of_its_features_less_their_mean_and_stay():
    kept = {"clustered": "start", "labels": "offline"}
    method = started(around("simclr", **kept, start_size=2 * SIDE))
    encode = encode_of(method, torch.float64)
    rows = losses.unit(encode("features", 2 * SIDE))
    expected, _ = kmeans(
        losses.unit(rows - rows.mean(0)), 3, generator_for(AT.seed, "k-means", AT.total_step), iterations=20
    )
    assert torch.equal(method.clusters.labels, expected)
    assert not torch.equal(expected, started(around("simclr", **kept)).clusters.labels), "the side makes a difference"
    shake_(method.backbone, seed=5)
    method.epoch(encode, Progress(steps=10, step=5, epoch=1, epochs=2))
    assert torch.equal(method.clusters.labels, expected)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"clustered": "start"}, r"clusters\.labels is 'online'; it must be offline"),
        ({"start_size": 64}, r"clusters\.start_size is 64; it must be none unless"),
        (
            {"clustered": "start", "labels": "offline", "start_size": 4},
            r"clusters\.start_size is 4; it must be 8 to 1024",
        ),
    ],
)
def test_settings_of_the_start_are_checked(settings, said):
    with pytest.raises(UserError, match=said):
        around("simclr", **settings)


def test_temperature_and_margin_of_the_inter_branch_are_its_own():
    terms = {}
    for name, settings in {
        "plain": {},
        "warm": {"temperature": 1.0},
        "strict": {"margin": 0.3},
        "angular": {"margin_kind": "angular"},
    }.items():
        method = started(around("moco", **settings))
        terms[name] = method(batch(method), AT).terms
    assert len({found["moco"].item() for found in terms.values()}) == 1
    assert len({found["interclr"].item() for found in terms.values()}) == 4
    assert terms["strict"]["interclr"] > terms["plain"]["interclr"]


def test_the_intra_margin_is_the_bases():
    plain, strict = (started(interclr(replace(METHODS["moco"], margin=m), **CLUSTERED)) for m in (0.0, 0.4))
    one, other = (method(batch(method), AT).terms for method in (plain, strict))
    assert one["moco"] < other["moco"]
    assert torch.equal(one["interclr"], other["interclr"])


# ---------------------------------------------------------------- the state


def test_start_fills_the_bank_and_clusters_it():
    for base in ("npid", "moco"):
        method = started(around(base))
        rows, state = method.bank.everything(), method.clusters
        torch.testing.assert_close(rows, encode_of(method, torch.float64)("target"))
        assert state is not None
        assert int(state.counts.min()) >= 1
        torch.testing.assert_close(state.centroids, cluster_means(rows, state.labels, state.centroids))


@pytest.mark.parametrize("base", ["npid", "moco"])
def test_a_label_comes_from_the_updated_row_and_the_loss_uses_the_one_before(base):
    method = started(around(base, clusters=2, min_size=1))
    state, bank = method.clusters, method.bank
    assert state is not None
    step = method(batch(method), AT)
    # A boundary between the rows before and after the update: centroids on either side of it.
    written = copy.deepcopy(bank)
    written.write_(INDEX, step.record["embedding"])
    old, new = bank.read(INDEX), written.read(INDEX)
    state.centroids.copy_(torch.stack([old[0] - new[0], new[0] - old[0]]))
    by_old, by_new = ((rows @ state.centroids.T).argmax(1) for rows in (old, new))
    assert not torch.equal(by_old, by_new)
    before = state.labels.clone()
    assert torch.equal(method(batch(method), AT).loss, step.loss)
    assert torch.equal(state.labels, before)
    method.update(step.record, AT)
    assert not int(state.moved)
    assert torch.equal(state.labels[INDEX], by_new)
    assert method.gauges()["interclr/label_churn"] == pytest.approx(
        float((state.labels != state.epoch_labels).double().mean())
    )


def test_offline_labels_change_between_epochs_only():
    method = started(around("moco", labels="offline", recluster_epochs=2))
    state, encode = method.clusters, encode_of(method, torch.float64)
    assert state is not None
    state.labels.copy_(state.labels.roll(1))
    given = state.labels.clone()
    for epoch, changes in ((0, False), (1, False), (2, True)):
        at = Progress(step=3 * epoch, steps=30, epoch=epoch, epochs=10)
        method.update(method(batch(method, epoch), at).record, at)
        assert torch.equal(state.labels, given)
        list(method.epoch(encode, at))
        assert torch.equal(state.labels, given) != changes


def test_offline_clusters_keep_their_numbers_so_that_churn_counts_images():
    method, other = (started(around("moco", labels="offline", min_size=1)) for _ in range(2))
    one, state = method.clusters, other.clusters
    assert one is not None
    assert state is not None
    state.relabel_((one.labels + 1) % 3, other.memory.everything())
    at = Progress(step=3, steps=30, epoch=1, epochs=10)
    for either in (method, other):
        either.epoch(encode_of(either, torch.float64), at)
    assert torch.equal(state.labels, (one.labels + 1) % 3)
    assert method.gauges()["interclr/label_churn"] == other.gauges()["interclr/label_churn"]


def test_labels_are_kept_up_while_the_base_warms_up_alone():
    method = started(around("moco", warmup_epochs=1, min_size=1))
    state = method.clusters
    assert state is not None
    state.centroids.copy_(losses.unit(torch.randn_like(state.centroids)))
    step, alone = method(batch(method), AT), method.base(batch(method), AT)
    assert torch.equal(step.loss, alone.loss)
    before = state.labels.clone()
    method.update(step.record, AT)
    assert not torch.equal(state.labels, before)
    later = Progress(step=3, steps=30, epoch=1, epochs=10)
    assert list(method(batch(method), later).terms) == ["moco", "interclr"]


@pytest.mark.parametrize(("base", "head"), [("npid", "shared"), ("moco", "shared"), ("moco", "separate")])
def test_sums_lose_the_row_before_the_write_and_gain_the_one_after_it(base, head):
    method = started(around(base, head=head, clusters=2, min_size=1))
    state = method.clusters
    assert state is not None
    for step in range(3):
        before = method.memory.read(INDEX).clone()
        method.update(method(batch(method, step), AT).record, AT)
        assert float((method.memory.read(INDEX) - before).norm()) > 0.1  # so that the two rows tell apart
        rows = method.memory.everything()
        sums = torch.stack([rows[state.labels == label].sum(0) for label in range(2)])
        torch.testing.assert_close(state.sums, sums, rtol=1e-12, atol=1e-12)


def test_a_head_of_its_own_leaves_the_bases_head_to_the_base():
    method = started(around("moco-symmetric", head="separate"))
    assert method.head is not None
    assert method.inter_bank is not None
    step = method(batch(method), AT)
    own, bases = list(method.head.parameters()), list(method.encoder.head.parameters())
    of_own = torch.autograd.grad(step.terms["interclr"], own, retain_graph=True)
    assert all(float(g.abs().sum()) > 0 for g in of_own)
    of_base = torch.autograd.grad(step.terms["interclr"], bases, retain_graph=True, allow_unused=True)
    assert all(g is None for g in of_base)
    assert float(torch.autograd.grad(step.terms["interclr"], method.last_weight)[0].norm()) > 0
    method.update(step.record, AT)
    torch.testing.assert_close(method.inter_bank.read(INDEX), step.record["interclr/embedding"])
    assert not torch.allclose(method.inter_bank.read(INDEX), step.record["embedding"])


def test_offline_labels_of_a_head_of_its_own_are_of_unit_rows():
    method = started(around("moco", head="separate", labels="offline", clusters=COUNT))
    method.epoch(encode_of(method, torch.float64), Progress(step=3, steps=30, epoch=1, epochs=10))
    assert method.clusters is not None
    torch.testing.assert_close(method.clusters.centroids.norm(dim=1), torch.ones(COUNT, dtype=torch.float64))


def test_a_head_of_its_own_has_the_only_bank_and_a_term_around_it_sees_its_gradient():
    method = build(around("simclr", head="separate"))
    assert [name for name, _ in method.named_buffers() if name.endswith("bank.features")] == ["inter_bank.features"]
    assert build(EIRConfig(base=around("simclr", head="separate"))).last_weight.shape == method.last_weight.shape
    head = method.head
    assert head is not None
    assert method.last_weight.shape == [p for p in method.backbone.parameters() if p.ndim > 1][-1].shape


@pytest.mark.parametrize("labels", ["online", "offline"])
def test_small_clusters_that_steps_left_are_dissolved_before_the_next_epoch(labels):
    method = started(around("moco", labels=labels, clusters=4, min_size=3))
    clusters = method.clusters
    assert clusters is not None
    clusters.relabel_(torch.tensor([0] * (COUNT - 2) + [1, 2]), method.memory.everything())
    method.epoch(encode_of(method, torch.float64), AT)
    assert (int(clusters.counts.min()) > 0) == (labels == "online")


def test_a_head_of_its_own_stays_in_the_graph_while_the_base_warms_up():
    method = started(around("moco", head="separate", warmup_epochs=1))
    step = method(batch(method), AT)
    step.loss.backward()
    assert torch.equal(step.loss, step.terms["moco"])
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"base_weight": 1.2}, "base_weight is 1.2; it must be 0 to 1."),
        ({"clusters": 1}, "clusters.number is 1; it must be at least 2, or none."),
        ({"min_size": 0}, "clusters.min_size is 0; it must be at least 1."),
        ({"negatives": 0}, "negatives.number is 0; it must be at least 1, or none."),
        ({"refresh_steps": 0}, "clusters.refresh_steps is 0; it must be at least 1."),
        ({"recluster_epochs": 0}, "clusters.recluster_epochs is 0; it must be at least 1."),
        ({"labels": "never"}, "clusters.labels is 'never'; it must be online or offline."),
        ({"label_rule": "cosine"}, "clusters.rule is 'cosine'; it must be dot or euclidean."),
        ({"sampler": "soft"}, "negatives.sampler is 'soft'; it must be one of semihard, hard, random, semieasy."),
        ({"pool": 0.0}, "negatives.pool is 0.0; it must be above 0 and at most 1."),
        ({"pool_form": "all"}, "negatives.form is 'all'; it must be one of auto, exact, candidates."),
        ({"margin": -2.5}, "margin.value is -2.5; it must be -2 to 2."),
        ({"margin_kind": "arc"}, "margin.kind is 'arc'; it must be cosine or angular."),
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0, or none."),
        ({"temperature": math.inf}, "temperature is inf; it must be a finite number."),
        ({"temperature": math.nan}, "temperature is nan; it must be a finite number."),
        ({"directions": "both"}, "directions is 'both'; it must be all or first."),
        ({"clustered": "both"}, "clusters.of is 'both'; it must be one of key, query, features, start."),
        ({"head": "two"}, "head is 'two'; it must be shared or separate."),
        (
            {"head": "separate", "base_weight": 1.0},
            "head is 'separate'; it must be shared where base_weight is 1, as nothing would train it.",
        ),
        ({"warmup_epochs": -1}, "warmup_epochs is -1; it must be at least 0."),
        ({"bank_momentum": 1.0}, "bank_momentum is 1.0; it must be at least 0 and below 1."),
    ],
)
def test_wrong_settings_are_one_sentence(change, sentence):
    with pytest.raises(UserError) as caught:
        around("moco", **change)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("base", "change", "sentence"),
    [
        ("moco", {"clusters": 25}, "clusters.number is 25; it must be at most the number of images, 24."),
        ("moco", {"negatives": 13}, "negatives.number is 13; it must be at most the pool's 12 images."),
        ("byol", {"head": "separate"}, "head is 'separate'; it must be shared around a base without negatives."),
    ],
)
def test_what_does_not_fit_the_images_or_the_base_is_one_sentence(base, change, sentence):
    with pytest.raises(UserError) as caught:
        build(around(base, **change))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("settings", "count", "negatives"),
    [({}, 60, 3), ({}, 1000, 50), ({}, 50_000, 4096), ({"sampler": "random"}, 60, 59), ({"negatives": 70}, 1000, 70)],
)
def test_defaults_shrink_to_the_images_in_a_method_that_is_built_here_too(settings, count, negatives):
    method = build(interclr(METHODS["moco"], **settings), count=count)
    assert isinstance(method, InterCLR)
    assert method.draw_negatives.negatives == negatives


def test_around_a_base_without_negatives_their_number_is_not_checked():
    assert not build(around("byol", negatives=5000)).contrastive


@pytest.mark.parametrize("name", [name for name, config in METHODS.items() if config.kind not in ("amdim", "interclr")])
def test_settings_say_whether_their_method_takes_negatives(name):
    config = METHODS[name]
    if not isinstance(build(config), ViewMethod):
        pytest.skip("compares no views, so no term goes around it")
    assert config.has_negatives() == build(config).contrastive
    assert EIRConfig(base=around(name)).has_negatives() == build(config).contrastive


def fitted(count: int, *settings: str, recipe: str = "interclr_moco_cifar10", **options: Any) -> tuple[Any, list[str]]:
    found = Survey(count=count, shorter_side=32, uniform=True, labelled=True, splits=())
    request = TrainRequest(data="generated", recipe=recipe, settings=settings, **options)
    resolved = fit_to_data(resolve(request, found), count)
    return resolved.recipe.method, list(resolved.notes)


def test_defaults_shrink_to_the_images_and_a_run_says_so():
    method, notes = fitted(1000)
    assert (method.clusters.number, method.clusters.min_size, method.negatives.number, method.negatives.form) == (
        20,
        20,
        50,
        "exact",
    )
    assert (
        "method.clusters.number is 20 instead of 100, more than 1000 images, 50 to a cluster of at least 20, allow."
        in notes
    )
    assert "method.negatives.number is 50, as the 100 images of the pool, less a large cluster, allow no more." in notes
    assert "method.negatives.form is exact, as there are no more than 10,000 images." in notes


@pytest.mark.parametrize("count", [10_000, 10_001])
def test_hard_negatives_are_sought_among_all_images_and_a_run_says_so(count):
    method, notes = fitted(count, "method.sampler=hard")
    assert method.negatives.form == "exact"
    assert "method.negatives.form is exact, as the nearest are sought among all images." in notes


@pytest.mark.parametrize("method", ["interclr(byol)", "interclr(eir(byol))"])
def test_around_a_base_without_negatives_nothing_is_said_of_them(method):
    found, notes = fitted(20_000, "method.clusters=none", method=method)
    assert (found.clusters.number, found.negatives.number, found.negatives.form) == (156, None, "auto")  # 20,000 / 128
    assert "method.clusters.number is 156, as one for 128 images." in notes
    assert not any("negatives" in note for note in notes)


def test_cifar_keeps_its_hundred_clusters_and_imagenet_its_paper_settings():
    method, _ = fitted(50_000)
    assert (method.clusters.number, method.clusters.min_size, method.negatives.number, method.negatives.form) == (
        100,
        20,
        4000,
        "candidates",
    )
    method, notes = fitted(60_000)
    assert method.negatives.number == 4096
    assert "method.negatives.number is 4096, as in the paper's ablations." in notes
    method, notes = fitted(1_281_167, recipe="interclr_moco_imagenet")
    assert (method.clusters.number, method.clusters.min_size, method.negatives.number, method.negatives.form) == (
        10_000,
        20,
        16_384,
        "candidates",
    )
    assert "method.negatives.form is candidates, as there are more than 10,000 images." in notes
    config = RECIPES["interclr_moco_cifar10"]().method
    assert [config.choices(count)["negatives.form"].value for count in (10_000, 10_001)] == ["exact", "candidates"]


def test_open_settings_follow_from_the_number_of_images_also_within_a_wrapper():
    config = with_value(RECIPES["interclr_moco_cifar10"]().method, "clusters", None)
    assert config.choices(6400)["clusters.number"].value == 50
    assert config.choices(100)["clusters.number"].value == 2
    method, notes = fitted(6400, "method.clusters=none")
    assert method.clusters.number == 50
    assert "method.clusters.number is 50, as one for 128 images." in notes


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            "method.clusters=300",
            "method.clusters.number is 300, more than 1000 images, 50 to a cluster of at least 20, allow",
        ),
        ("method.negatives=101", "method.negatives.number is 101, more than the 100 images of the pool"),
        ("method.margin=3", "method.margin.value is 3.0; it must be -2 to 2."),
    ],
)
def test_explicit_settings_that_do_not_fit_are_refused(setting, sentence):
    with pytest.raises(UserError) as caught:
        fitted(1000, setting)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("method", "settings", "sentence"),
    [
        (
            "interclr(moco)",
            ("method.warmup_epochs=4",),
            "method.warmup_epochs is 4, more than 4 epochs, one of them with the inter term, allow; use at most 3.",
        ),
        (
            "eir(interclr(byol))",
            ("method.base.warmup_epochs=9",),
            "method.base.warmup_epochs is 9, more than 4 epochs, one of them with the inter term, allow; "
            "use at most 3.",
        ),
        (
            "interclr(moco)",
            ("method.labels=offline", "method.recluster_epochs=4"),
            "method.clusters.recluster_epochs is 4, more than 4 epochs, with one clustering between them, allow; "
            "use at most 3.",
        ),
    ],
)
def test_what_would_never_act_in_a_run_is_refused(method, settings, sentence):
    with pytest.raises(UserError) as caught:
        fitted(1000, *settings, method=method, epochs=4)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "settings",
    [
        ("method.warmup_epochs=3",),
        ("method.labels=offline", "method.recluster_epochs=3"),
        ("method.recluster_epochs=9",),
        ("method.labels=offline", "method.recluster_epochs=7", "method.warmup_epochs=4", "schedule.rounds=2"),
    ],
)
def test_what_acts_at_least_once_in_a_run_is_kept(settings):
    _, notes = fitted(1000, *settings, epochs=4)
    assert not any("_epochs is" in note for note in notes)


def test_a_smoke_test_shortens_what_its_run_would_have_room_for():
    method, notes = fitted(1000, "method.warmup_epochs=10", smoke=True)
    assert method.warmup_epochs == 1
    assert (
        "method.warmup_epochs is 1 instead of 10, more than 2 epochs, one of them with the inter term, allow." in notes
    )


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
@pytest.mark.parametrize("rounds", [1, 2])
def test_the_longest_settings_allowed_are_the_longest_that_act(epochs, rounds):
    limits = around("moco", labels="offline").lasting(epochs, rounds)
    everything = [(r, e) for r in range(rounds) for e in range(epochs)]
    method = started(around("moco"))

    def acts(warmup: int) -> bool:
        method.config = around("moco", warmup_epochs=warmup)
        at = [Progress(steps=10, epoch=e, epochs=epochs, round=r, rounds=rounds) for r, e in everything]
        return any("interclr" in method(batch(method), one).terms for one in at)

    longest = max(warmup for warmup in range(epochs) if acts(warmup))
    assert acts(epochs) == (rounds > 1)
    if rounds == 1:
        assert limits["warmup_epochs"].largest == longest
    assert limits["clusters.recluster_epochs"].largest == max(epochs * rounds - 1, 1)
