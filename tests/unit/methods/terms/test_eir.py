"""EIR: what it adds to its base, to the letter of its parts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lawbook import BATCH, COUNT, METHODS, SIDE, batch_for, build, copied, differing, encode_of
from viewkin import losses
from viewkin.augment.mix import beta, cutmix
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.terms.eir import EIR, EIRConfig
from viewkin.recipes.eir import eir_moco
from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress

AT, INDEX = Progress(steps=10), torch.arange(BATCH)


def stepped(config: EIRConfig, norm: str = "batch") -> tuple[Any, Any, Any]:
    """A method, a batch and its step in eval mode, so that passes do not move each other's statistics."""
    method = build(config, norm=norm).eval()
    batch = batch_for(method, INDEX)
    return method, batch, method(batch, AT)


@pytest.mark.parametrize("base", ["iraug", "moco", "simclr", "byol"])
def test_without_its_terms_it_is_its_base_bit_for_bit(base):
    alone = build(METHODS[base])
    method = build(EIRConfig(base=METHODS[base], relation_weight=0, mixture_weight=0))
    assert set(copied(method)) == {f"base.{name}" for name in copied(alone)}
    for step in range(2):
        batch = batch_for(alone, (INDEX + step) % COUNT, step=step)
        first, second = alone(batch, AT), method(batch_for(method, (INDEX + step) % COUNT, step=step), AT)
        assert torch.equal(first.loss, second.loss)
        for one, found in ((alone, first), (method, second)):
            one.update(found.record, AT)
    assert not differing({f"base.{name}": value for name, value in copied(alone).items()}, copied(method))


def of_start(base: str) -> EIRConfig:
    return EIRConfig(
        base=METHODS[base],
        relation="start",
        relation_weight=0.5,
        mixture_weight=0,
        temperature=0.2,
        teacher_temperature=0.1,
    )


@pytest.mark.parametrize(("base", "views"), [("simclr", 2), ("npid", 1), ("moco", 1)])
def test_features_of_every_view_are_compared_with_the_start(base, views):
    method = build(of_start(base)).double().eval()
    encode = encode_of(method, torch.float64)
    method.start(encode, AT)
    kept = losses.unit(encode("features"))
    torch.manual_seed(3)
    with torch.no_grad():  # as after some training; the start stays what it was
        for weight in method.backbone.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.02)
    batch = batch_for(method, INDEX, dtype=torch.float64)
    step = method(batch, AT)
    expected = torch.zeros((), dtype=torch.float64)
    for i in INDEX.tolist():
        target = (kept @ kept[i] / 0.1).softmax(0)
        for view in list(method.base.view_spec)[:views]:
            seen = losses.unit(method.backbone(batch.views[view]))[i]
            expected -= (target * (kept @ seen / 0.2).log_softmax(0)).sum() / (len(INDEX) * views)
    torch.testing.assert_close(step.terms["eir/relation"], 0.5 * expected, rtol=2e-3, atol=0)  # the start is in float16
    grads = torch.autograd.grad(step.terms["eir/relation"], [*method.backbone.parameters()], allow_unused=True)
    assert all(grad is not None and bool(grad.any()) for grad in grads)
    head = torch.autograd.grad(
        method(batch, AT).terms["eir/relation"], [*method.encoder.head.parameters()], allow_unused=True
    )
    assert head == (None,) * len(head), "the relation is one of features, before the head"


def test_the_start_is_kept_for_a_resume_and_steps_do_not_move_it():
    method = build(of_start("simclr")).double()
    method.start(encode_of(method, torch.float64), AT)
    before = method.state_dict()["start_features"].clone()
    assert before.any()
    step = method(batch_for(method, INDEX, dtype=torch.float64), AT)
    method.update(step.record, AT)
    assert torch.equal(method.state_dict()["start_features"], before)
    assert "start_features" not in build(METHODS["eir"]).state_dict()


def test_the_start_sees_images_of_the_side_that_is_set():
    method = build(replace(of_start("simclr"), start_size=2 * SIDE)).double()
    encode = encode_of(method, torch.float64)
    method.start(encode, AT)
    assert torch.equal(method.start_features, losses.unit(encode("features", 2 * SIDE)))
    assert not torch.equal(method.start_features, losses.unit(encode("features")))
    with pytest.raises(UserError, match=r"^start_size is 32; it must be none unless"):
        EIRConfig(base=METHODS["simclr"], start_size=32)


@pytest.mark.parametrize("partners", ["first", "second"])
def test_terms_are_the_papers_on_iraug(partners):
    config = EIRConfig(base=METHODS["iraug"], partner_view=partners)
    method, batch, step = stepped(config)
    first, second = method.query(batch.views["first"]), method.query(batch.views["second"])
    bank = method.bank.everything()
    relation = 15 * losses.relation_divergence(first, second, bank, 0.1).mean()
    torch.testing.assert_close(step.terms["eir/relation"], relation)
    generator = batch.draw.generator("eir/mix")
    partner = torch.randperm(BATCH, generator=generator)
    ratio = float(beta(1.0, 1, generator))
    mixed, share = cutmix(batch.views["first"], batch.views[partners][partner], ratio, generator)
    target = losses.unit(share * first + (1 - share) * {"first": first, "second": second}[partners][partner]).detach()
    mixture = 2 * losses.interpolation(method.query(mixed), target, 0.1).mean()
    torch.testing.assert_close(step.terms["eir/mixture"], mixture)
    assert list(step.terms) == ["iraug", "eir/relation", "eir/mixture"]


@pytest.mark.parametrize("base", ["iraug", "npid"])
def test_negatives_of_a_base_with_a_bank_are_its_rows_and_the_target_stands_in_the_own_rows_place(base):
    method = build(EIRConfig(base=METHODS[base], negatives="base")).double().eval()
    batch = batch_for(method, INDEX, dtype=torch.float64)
    step = method(batch, AT)
    names = ("first", "second") if base == "iraug" else ("view", "eir_second")
    first, second = (embedded(method.base.encoder, batch.views[name]) for name in names)
    mixed, partner, r = mixed_of(batch, *names)
    bank, tau, mixture = method.bank.everything().tolist(), METHODS[base].temperature, 0.0
    for row, v in enumerate(embedded(method.base.encoder, mixed)):
        target = [r * a + (1 - r) * b for a, b in zip(first[row], second[partner[row]], strict=True)]
        length = math.sqrt(dot(target, target))
        others = [other for i, other in enumerate(bank) if i != row]
        mixture -= 2 * math.log(softmax(v, [[a / length for a in target], *others], tau)[0]) / BATCH
    assert step.terms["eir/mixture"].item() == pytest.approx(mixture, rel=1e-9)


# ---------------------------------------------------------------- around MoCo, as loops


def around_moco(config: EIRConfig, base: MoCoConfig) -> tuple[Any, Any, Any]:
    """A method in float64 and eval mode whose key network is another than the online one; a batch; its step."""
    method = build(replace(config, base=replace(base, dim=8, queue_size=20))).double().eval()
    generator = torch.Generator().manual_seed(1)
    for p in method.base.key_encoder.parameters():
        p.data += 0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype) * p.abs().mean()
    batch = batch_for(method, INDEX, dtype=torch.float64)
    return method, batch, method(batch, AT)


def embedded(network: Any, images: Tensor) -> list[list[float]]:
    return losses.unit(network(images)).tolist()


def dot(u: list[float], v: list[float]) -> float:
    return sum(a * b for a, b in zip(u, v, strict=True))


def softmax(v: list[float], rows: list[list[float]], tau: float) -> list[float]:
    e = [math.exp(dot(v, row) / tau) for row in rows]
    return [each / sum(e) for each in e]


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def mixed_of(batch: Any, first: str = "query", second: str = "key") -> tuple[Tensor, Tensor, float]:
    """Mixtures of first views with their partners' second views, the partners, and r."""
    generator = batch.draw.generator("eir/mix")
    partner = torch.randperm(BATCH, generator=generator)
    ratio = float(beta(1.0, 1, generator))
    mixed, share = cutmix(batch.views[first], batch.views[second][partner], ratio, generator)
    return mixed, partner, share


@pytest.mark.parametrize("symmetric", [False, True])
def test_released_form_is_its_loops(symmetric):
    released: Any = eir_moco().method
    method, batch, step = around_moco(replace(released, queue_size=20), replace(released.base, symmetric=symmetric))
    online, slow, views = method.base.encoder, method.base.key_encoder, batch.views
    weak, others = embedded(slow, views["eir_weak"]), method.queue.everything().tolist()
    queries = [embedded(online, views[name]) for name in (("query", "key") if symmetric else ("query",))]
    relation = mean(
        -sum(p * math.log(s) for p, s in zip(softmax(t, others, 0.04), softmax(v, others, 0.1), strict=True))
        for q in queries
        for t, v in zip(weak, q, strict=True)
    )
    assert step.terms["eir/relation"].item() == pytest.approx(relation, rel=1e-9)
    mixed, partner, r = mixed_of(batch)
    first = embedded(slow, views["query"]) if symmetric else queries[0]
    second, negatives = embedded(slow, views["key"]), method.base.queue.everything().tolist()
    mixture = 0.0
    for row, v in enumerate(embedded(online, mixed)):
        target = [r * a + (1 - r) * b for a, b in zip(first[row], second[partner[row]], strict=True)]
        length = math.sqrt(dot(target, target))
        target = [a / length for a in target]
        mixture -= 2 * math.log(softmax(v, [target, *negatives], 0.2)[0]) / BATCH
    assert step.terms["eir/mixture"].item() == pytest.approx(mixture, rel=1e-9)
    method.update(step.record, AT)
    assert method.queue.everything()[:BATCH].tolist() == [pytest.approx(row, rel=1e-9) for row in weak]


@pytest.mark.parametrize("relation", ["views", "symmetric"])
def test_a_single_query_is_aimed_at_the_relation_of_its_key(relation):
    method, batch, step = around_moco(EIRConfig(base=METHODS["moco"], relation=relation), MoCoConfig())
    q = embedded(method.base.encoder, batch.views["query"])
    k, bank = embedded(method.base.key_encoder, batch.views["key"]), method.bank.everything().tolist()

    def divergence(first: list[list[float]], second: list[list[float]]) -> float:
        return mean(
            sum(p * math.log(p / s) for p, s in zip(softmax(u, bank, 0.1), softmax(v, bank, 0.1), strict=True))
            for u, v in zip(first, second, strict=True)
        )

    expected = divergence(k, q)
    assert abs(expected - divergence(q, k)) > 1e-6
    if relation == "symmetric":
        expected = (expected + divergence(q, k)) / 2
    assert step.terms["eir/relation"].item() == pytest.approx(15 * expected, rel=1e-9)
    mixed, partner, r = mixed_of(batch)
    target = losses.unit(
        r * torch.tensor(q, dtype=torch.float64) + (1 - r) * torch.tensor(k, dtype=torch.float64)[partner]
    )
    embeddings = embedded(method.base.encoder, mixed)
    mixture = mean(-math.log(softmax(t, embeddings, 0.1)[row]) for row, t in enumerate(target.tolist()))
    assert step.terms["eir/mixture"].item() == pytest.approx(2 * mixture, rel=1e-9)


@pytest.mark.parametrize("base", ["iraug", "npid", "simclr", "moco", "byol"])
@pytest.mark.parametrize("relation", ["views", "symmetric", "teacher"])
def test_every_term_teaches_the_network_on_every_base(base, relation):
    method = build(EIRConfig(base=METHODS[base], relation=relation, temperature=0.5, teacher_temperature=0.3))
    step = method(batch_for(method, INDEX), AT)
    for name, term in step.terms.items():
        gradient = torch.autograd.grad(term, method.last_weight, retain_graph=True)[0]
        assert float(gradient.norm()) > 1e-6, name
    assert ("eir_second" in method.view_spec) == (base == "npid")
    assert ("eir_weak" in method.view_spec) == (relation == "teacher")


@pytest.mark.parametrize("base", ["iraug", "npid", "simclr", "moco"])
@pytest.mark.parametrize("detached", [True, False])
def test_target_of_a_mixture_is_constant_unless_asked(base, detached, monkeypatch):
    seen: list[Tensor] = []

    def spy(mixed: Tensor, target: Tensor, temperature: float, rows: slice) -> Tensor:
        seen.extend((mixed, target))
        return interpolation(mixed, target, temperature, rows)

    interpolation = losses.interpolation
    monkeypatch.setattr(losses, "interpolation", spy)
    constant = stepped(EIRConfig(base=METHODS[base], relation_weight=0))[2]
    step = stepped(EIRConfig(base=METHODS[base], relation_weight=0, detach_mixture=detached))[2]
    assert [tensor.requires_grad for tensor in seen[2:]] == [True, not detached]
    torch.testing.assert_close(step.loss, constant.loss)


@pytest.mark.parametrize("base", ["iraug", "npid", "moco"])
@pytest.mark.parametrize("detached", [True, False])
def test_gradient_of_the_bases_own_loss_treats_the_target_as_constant_unless_asked(base, detached):
    config = EIRConfig(base=METHODS[base], relation_weight=0, negatives="base", detach_mixture=detached)
    method = build(config).double().eval()
    batch = batch_for(method, INDEX, dtype=torch.float64)
    names = {"npid": ("view", "eir_second"), "moco": ("query", "key")}.get(base, ("first", "second"))
    mixed, partner, r = mixed_of(batch, *names)
    first = method.query(batch.views[names[0]])
    second = (method.target if base == "moco" else method.query)(batch.views[names[1]])
    target = losses.unit(r * first + (1 - r) * second[partner])
    weight = method.last_weight

    def gradient(target: Tensor) -> Tensor:
        loss = 2 * method.base.pair_loss(method.query(mixed), target, INDEX).mean()
        return torch.autograd.grad(loss, weight, retain_graph=True)[0]

    constant, through = gradient(target.detach()), gradient(target)
    assert float((through - constant).norm()) > 0.05 * float(constant.norm())
    (found,) = torch.autograd.grad(method(batch, AT).terms["eir/mixture"], weight)
    torch.testing.assert_close(found, constant if detached else through, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reading", ["sumlog", "logsum"])
def test_relation_and_mixtures_have_temperatures_of_their_own(reading):
    config = EIRConfig(base=METHODS["iraug"], temperature=0.5, mixture_temperature=0.2, mixture_reading=reading)
    method, batch, step = stepped(config)
    first, second = (method.query(batch.views[name]) for name in ("first", "second"))
    relation = losses.relation_divergence(first, second, method.bank.everything(), 0.5).mean()
    torch.testing.assert_close(step.terms["eir/relation"], 15 * relation)
    mixed, partner, r = mixed_of(batch, "first", "second")
    loss = losses.interpolation(method.query(mixed), losses.unit(r * first + (1 - r) * second[partner]), 0.2)
    expected = {"sumlog": loss.mean(), "logsum": -(-loss).exp().sum().log()}[reading]
    torch.testing.assert_close(step.terms["eir/mixture"], 2 * expected)


@pytest.mark.parametrize("base", ["interclr", "npid"])
def test_partners_of_mixtures_are_found_while_training(base):
    method = build(EIRConfig(base=METHODS[base]))
    index = torch.arange(COUNT - BATCH, COUNT)
    batch = batch_for(method, index)
    found = method(batch, AT).related
    partner = torch.randperm(BATCH, generator=batch.draw.generator("eir/mix"))
    assert torch.equal(found.pop("eir/partners"), index[partner][:, None])
    assert set(found) == set(build(METHODS[base])(batch, AT).related)
    assert "eir/partners" not in method.eval()(batch, AT).related


def test_equation_9_as_printed_is_a_switch():
    config = EIRConfig(base=METHODS["simclr"], relation_weight=0)
    shares = []
    for reading in ("sumlog", "logsum"):
        method, batch, step = stepped(replace(config, mixture_reading=reading))
        mixed, partner, r = mixed_of(batch, "first", "second")
        first, second = (method.query(batch.views[name]) for name in ("first", "second"))
        loss = losses.interpolation(method.query(mixed), losses.unit(r * first + (1 - r) * second[partner]), 0.1)
        expected = {"sumlog": loss.mean(), "logsum": -(-loss).exp().sum().log()}[reading]
        torch.testing.assert_close(step.terms["eir/mixture"], 2 * expected)
        shares.append(float(expected.detach()))
    assert shares[1] < shares[0] - 1


def test_mixing_one_whole_image_recognises_it_in_the_batch():
    method, batch, step = stepped(EIRConfig(base=METHODS["iraug"], relation_weight=0, mix="mixup", mix_ratio=1.0))
    v = method.query(batch.views["first"])
    torch.testing.assert_close(step.terms["eir/mixture"], 2 * losses.interpolation(v, v.detach(), 0.1).mean())


def test_a_base_with_a_bank_shares_it_and_others_get_one_of_its_momentum():
    shared, own = build(METHODS["eir"]), build(EIRConfig(base=METHODS["simclr"], bank_momentum=0.25))
    assert isinstance(shared, EIR)
    assert isinstance(own, EIR)
    assert shared.bank is shared.base.bank
    old = own.bank.read(INDEX)
    step = own(batch_for(own, INDEX), AT)
    own.update(step.record, AT)
    torch.testing.assert_close(own.bank.read(INDEX), losses.unit(0.25 * old + 0.75 * step.record["embedding"]))


def test_teacher_fills_its_queue_with_weak_keys_after_the_step():
    method = build(METHODS["eir-teacher"])
    assert isinstance(method, EIR)
    assert method.queue is not None
    assert method.bank is None
    step = method(batch_for(method, INDEX), AT)
    assert not step.record["eir/weak"].requires_grad
    method.update(step.record, AT)
    assert torch.equal(method.queue.everything()[:BATCH], step.record["eir/weak"])


def test_without_a_relation_there_is_no_memory():
    method = build(EIRConfig(base=METHODS["simclr"], relation_weight=0, relation="teacher", queue_size=16))
    assert isinstance(method, EIR)
    assert method.bank is None
    assert method.queue is None
    assert "eir_weak" not in method.view_spec


def test_relation_over_the_bank_makes_no_matrix_of_all_images():
    bank, v = losses.unit(torch.randn(40_000, 16)), losses.unit(torch.randn(8, 16)).requires_grad_()
    sizes: list[int] = []

    def hook(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hook, lambda tensor: tensor):
        losses.relation_divergence(v, v.detach().roll(1, 0), bank, 0.1).sum().backward()
    assert max(sizes) <= bank.numel() // 16


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"relation": "both"}, "relation is 'both'; it must be one of views, symmetric, teacher, start"),
        ({"mix": "blend"}, "mix is 'blend'; it must be cutmix or mixup"),
        ({"negatives": "queue"}, "negatives is 'queue'; it must be batch or base"),
        ({"mixture_reading": "sum"}, "mixture_reading is 'sum'; it must be sumlog or logsum"),
        ({"mixture_reading": "logsum", "negatives": "base"}, "mixture_reading is 'logsum'; it must be sumlog"),
        ({"partner_view": "third"}, "partner_view is 'third'; it must be second or first"),
        ({"relation_weight": -1.0}, "relation_weight is -1.0; it must be at least 0"),
        ({"mixture_weight": -1.0}, "mixture_weight is -1.0; it must be at least 0"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
        ({"teacher_temperature": 0.0}, "teacher_temperature is 0.0; it must be above 0"),
        ({"mixture_temperature": -0.1}, "mixture_temperature is -0.1; it must be above 0"),
        ({"mix_alpha": 0.0}, "mix_alpha is 0.0; it must be above 0"),
        ({"mix_ratio": 1.5}, "mix_ratio is 1.5; it must be 0 to 1"),
        ({"queue_size": 0}, "queue_size is 0; it must be at least 1"),
        ({"bank_momentum": 1.0}, "bank_momentum is 1.0; it must be at least 0 and below 1"),
    ],
)
def test_wrong_settings_are_one_sentence(change, sentence):
    with pytest.raises(UserError, match=sentence.replace(".", r"\.")):
        replace(EIRConfig(base=METHODS["iraug"]), **change)
