"""Claims about InvP and its propagation term, beside the laws that every method is under."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lawbook import COUNT, METHODS, batch_for, build, copied, differing
from viewkin import losses
from viewkin.augment.mix import beta
from viewkin.memory.graph import GraphConfig
from viewkin.methods.base import Batch, MethodConfig
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.invp import InvP, InvPConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.methods.terms.propagation import Propagation, PropagationConfig
from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress, RampConfig
from viewkin.training.monitors import kinship

INDEX = torch.tensor([3, 9, 20, 1])
AT = Progress(step=5, steps=10, epoch=5, epochs=10)
GRAPH = GraphConfig(neighbours=2, hops=2, positives=3)
NOW, NEVER = RampConfig(share=0.0), RampConfig(share=1.0)


def settled(method: Any) -> Any:
    """In float64, and with a graph whose edges lead somewhere."""
    method.double()
    generator = torch.Generator().manual_seed(0)
    edges = [torch.randperm(COUNT, generator=generator)[:2] for _ in range(COUNT)]
    method.graph.neighbours.copy_(torch.stack(edges))
    return method


def invp(**settings: Any) -> InvP:
    given = {"dim": 8, "temperature": 0.3, "candidates": 10, "graph": GRAPH, "ramp": NOW, **settings}
    return settled(build(InvPConfig(**given)))


def around(base: MethodConfig, **settings: Any) -> Propagation:
    given = {"candidates": 10, "graph": GRAPH, "ramp": NOW, **settings}
    return settled(build(PropagationConfig(base=base, **given)))


def batch(method: Any, step: int = 0, rows: slice = slice(None)):
    return batch_for(method, INDEX, step=step, rows=rows, dtype=torch.float64)


def embedded(method: InvP) -> Tensor:
    return losses.unit(method.encoder(batch(method).views["view"])).detach()


def walked(method: Any, anchor: int) -> list[int]:
    edges = method.graph.neighbours.tolist()
    return edges[anchor] + [after for one in edges[anchor] for after in edges[one]]


def there(images: Tensor) -> list[list[int]]:
    """Those of (B, n) images that are not -1."""
    return [[image for image in row if image >= 0] for row in images.tolist()]


def strangers(method: Any, q: Tensor) -> list[list[int]]:
    """Of the 10 bank rows nearest to each query, its own left out, those that are no kin."""
    nearest = (q.detach() @ method.bank.everything().T).argsort(1, descending=True).tolist()
    others = [[j for j in row if j != i][:10] for row, i in zip(nearest, INDEX.tolist(), strict=True)]
    return [[j for j in row if j not in walked(method, i)] for row, i in zip(others, INDEX.tolist(), strict=True)]


def loop_pull(method: Any, v: Tensor, i: int, tau: float, m: int = 10, p: int = 3) -> float:
    """L_inv of the code form, row by row."""
    e = [math.exp(float(v @ row) / tau) for row in method.bank.everything()]
    hard = sorted(e[j] for j in walked(method, i))[:p]
    return -math.log(sum(hard) / (sum(sorted(e)[-m:]) - e[i]) + 1e-7)


# ---------------------------------------------------------------- InvP


def test_loss_is_recognition_plus_the_pull():
    method = invp()
    step = method(batch(method), AT)
    instance = pull = 0.0
    for v, i in zip(embedded(method), INDEX.tolist(), strict=True):
        e = [math.exp(float(v @ row) / 0.3) for row in method.bank.everything()]
        instance -= math.log(e[i] / sum(sorted(e)[-10:]) + 1e-7) / 4
        pull += 0.6 * loop_pull(method, v, i, 0.3) / 4
    assert set(step.terms) == {"invp/instance", "invp/propagation"}
    assert step.terms["invp/instance"].item() == pytest.approx(instance, rel=1e-9)
    assert step.terms["invp/propagation"].item() == pytest.approx(pull, rel=1e-9)


def test_no_kin_and_all_candidates_are_instance_recognition():
    method = invp(weight=0.0, candidates=COUNT - 1, denominator="paper")
    step = method(batch(method), AT)
    log_p = method.bank.log_probability(embedded(method), INDEX, 0.3)
    assert list(step.terms) == ["invp/instance"]
    torch.testing.assert_close(step.loss.detach(), -log_p.mean(), rtol=1e-12, atol=0)
    released = invp(weight=0.0, candidates=COUNT)
    floored = -(log_p.exp() + 1e-7).log().mean()
    torch.testing.assert_close(released(batch(released), AT).loss.detach(), floored, rtol=1e-12, atol=0)


@pytest.mark.parametrize("search", ["walk", "bfs"])
def test_images_that_were_not_seen_when_the_ramp_ends_are_nobodys_kin(search):
    method = invp(graph=GraphConfig(neighbours=2, hops=2, positives=3, search=search))
    method.graph.neighbours.fill_(-1)  # an epoch leaves out the end of its order
    seen = torch.tensor([1, 2])
    method.graph.update_(seen, torch.tensor([[1, 5, 6], [2, 1, 7]]))
    step = method(batch(method), AT)
    reached = torch.cat([step.related[f"invp/hop{hop}"] for hop in (1, 2)], 1)
    assert not (reached == 0).any()
    assert (reached[~torch.isin(INDEX, seen)] == -1).all()
    assert step.loss.isfinite()
    pulled = step.terms["invp/propagation"]
    (gradient,) = torch.autograd.grad(pulled, next(p for p in method.parameters() if p.requires_grad))
    assert gradient.isfinite().all()


@pytest.mark.parametrize("ramp", [NEVER, RampConfig(epochs=6), RampConfig(share=0.6)])
def test_pull_is_left_out_before_the_ramp_ends_and_the_graph_still_learns(ramp, monkeypatch):
    method = invp(ramp=ramp)
    monkeypatch.setattr(losses, "propagation_loss", None)  # calling it would fail
    step = method(batch(method), AT)
    assert step.terms["invp/propagation"] == 0
    assert "invp/positives" not in step.related
    before = method.graph.neighbours.clone()
    method.update(step.record, AT)
    changed = (method.graph.neighbours != before).any(1).nonzero().squeeze(1)
    assert set(changed.tolist()) <= set(INDEX.tolist())
    assert len(changed)


def test_graph_row_is_what_the_view_finds_in_the_bank_before_its_update():
    method = invp()
    similarity = embedded(method) @ method.bank.everything().T
    method.update(method(batch(method), AT).record, AT)
    for row, i in zip(similarity, INDEX.tolist(), strict=True):
        first = row.argsort(descending=True).tolist()[:3]
        expected = [first[2] if j == i else j for j in first[:2]]
        assert method.graph.neighbours[i].tolist() == expected


def test_found_names_hard_positives_and_hops():
    method = invp()
    step = method(batch(method), AT)
    assert {name: images.shape[1] for name, images in step.related.items()} == {
        "invp/hop1": 2,
        "invp/hop2": 4,
        "invp/positives": 3,
        "invp/negatives": 10,
    }
    v, bank = embedded(method), method.bank.everything()
    for row, i in enumerate(INDEX.tolist()):
        kin = walked(method, i)
        assert torch.cat([step.related["invp/hop1"], step.related["invp/hop2"]], 1)[row].tolist() == kin
        hard = sorted(kin, key=lambda j: float(v[row] @ bank[j]))[:3]
        assert sorted(step.related["invp/positives"][row].tolist()) == sorted(hard)
    found = there(step.related["invp/negatives"])
    assert found == strangers(method, v)
    assert all(0 < len(images) < 10 for images in found)


def test_found_strangers_are_no_kin_before_the_ramp_ends_either():
    now, later = (invp(ramp=ramp)(batch(invp()), AT).related["invp/negatives"] for ramp in (NOW, NEVER))
    assert torch.equal(now, later)
    assert (now == -1).any()


def test_monitors_see_64_of_the_nearest_and_judge_them_as_negatives():
    method, labels = invp(), torch.arange(COUNT) % 3
    step = method(batch(method), AT)
    images = torch.arange(300).expand(4, -1)
    seen = method.config.monitored_negatives(
        losses.Nearest(*[torch.zeros(4)] * 5, images), torch.tensor([[4, -1]] * 4), INDEX
    )
    assert seen[0].tolist() == [-1 if image == 4 else image for image in range(0, 256, 4)]
    report = kinship(step.related, INDEX, labels)
    own = labels[INDEX, None] == labels[step.related["invp/negatives"].clamp(min=0)]
    there = step.related["invp/negatives"] >= 0
    assert report["invp/negatives_false"] == pytest.approx(float(own[there].double().mean()))


def test_paper_form_takes_no_anchor_for_its_own_kin():
    method = invp(denominator="paper", graph=replace(GRAPH, positives=50))
    method.graph.neighbours[INDEX, 0] = INDEX
    positives = method(batch(method), AT).related["invp/positives"]
    assert (positives != INDEX[:, None]).all()


def mixing(b: Batch) -> tuple[Tensor, Tensor]:
    """Partners (B,) and shares (B,) of Beta(0.75, 0.75), drawn as MixContrast is to draw them."""
    order = torch.randperm(4, generator=b.draw.generator("mix partner"))
    return order, b.draw.rows("mix share", lambda total, generator: beta(0.75, total, generator))


def test_mixing_takes_partners_and_shares_of_the_global_batch():
    method = invp(mix_weight=0.5)
    b = batch(method)
    order, share = mixing(b)
    whole = method._mixed(b).detach()
    seen: list[Tensor] = []
    forward = method.encoder.forward
    method.encoder.forward = lambda x: seen.append(x) or forward(x)  # type: ignore[method-assign]
    step = method(b, AT)
    assert step.terms["invp/mix"].item() == pytest.approx(0.5 * float(whole.mean()), rel=1e-9)
    x, a = b.views["view"], share.view(-1, 1, 1, 1)
    assert len(set(share.tolist())) == 4
    torch.testing.assert_close(seen[1], a * x + (1 - a) * x[order], rtol=1e-12, atol=1e-12)
    assert set(invp().forward(b, AT).terms) == {"invp/instance", "invp/propagation"}


def test_mixed_image_is_recognised_as_both():
    method = invp(mix_weight=1.0)
    method.eval()
    b = batch(method)
    order, share = mixing(b)
    method.encoder.forward = lambda x: torch.eye(8, dtype=x.dtype)[: len(x)]  # type: ignore[method-assign]
    bank, found = method.bank.everything(), method._mixed(b)
    for row in range(4):
        e = [math.exp(float(bank[j][row]) / 0.3) for j in range(COUNT)]
        a, p, r = float(share[row]), e[INDEX[row]] / sum(e), e[INDEX[order[row]]] / sum(e)
        assert math.exp(-float(found[row].detach())) == pytest.approx(a * p + (1 - a) * r + 1e-7, rel=1e-12)


def test_shares_of_mixtures_are_spread_as_the_releases_beta_is(monkeypatch):
    method, shares = invp(mix_weight=1.0), list[Tensor]()
    monkeypatch.setattr(losses, "mixed_instance_loss", lambda p, r, share: shares.append(share) or p)
    method.encoder.forward = lambda x: torch.ones(len(x), 8, dtype=x.dtype)  # type: ignore[method-assign]
    for step in range(300):
        method._mixed(batch(method, step))
    drawn = torch.cat(shares)
    # Beta(a, a) has variance 1 / (8 a + 4) and is as likely below 1/2 as above; a below 1 leaves the middle empty.
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(drawn.var()) == pytest.approx(0.1, abs=0.01)
    assert float(((drawn - 0.5).abs() > 0.4).double().mean()) == pytest.approx(0.2830, abs=0.04)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
        ({"dim": 1}, "dim is 1; it must be at least 2"),
        ({"head": "deep"}, "head is 'deep'; it must be linear or mlp"),
        ({"head_init": "zero"}, "head_init is 'zero'; it must be default or kaiming"),
        ({"bank_init": "zero"}, "bank_init is 'zero'; it must be normal or uniform"),
        ({"denominator": "both"}, "denominator is 'both'; it must be code or paper"),
        ({"weight": -1.0}, "weight is -1.0; it must be at least 0"),
        ({"mix_weight": -1.0}, "mix_weight is -1.0; it must be at least 0"),
        ({"mix_alpha": 0.0}, "mix_alpha is 0.0; it must be above 0"),
        ({"bank_momentum": 1.0}, "bank_momentum is 1.0; it must be at least 0 and below 1"),
        ({"candidates": 4}, "candidates is 4; it must be at least 5"),
        ({"candidates": 3, "denominator": "paper"}, "candidates is 3; it must be at least 4"),
        ({"exclusive": False, "denominator": "paper"}, "exclusive is False; it must be true with denominator"),
    ],
)
def test_bad_settings_are_one_sentence(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        InvPConfig(**settings)


def test_bad_settings_of_the_term_are_one_sentence():
    for settings, sentence in (
        ({"weight": 0.0}, "weight is 0.0; it must be above 0"),
        ({"candidates": 4}, "candidates is 4; it must be at least 5"),
        ({"denominator": "both"}, "denominator is 'both'"),
        ({"bank_momentum": 1.0}, "bank_momentum is 1.0"),
        ({"exclusive": False, "denominator": "paper"}, "exclusive is False"),
    ):
        with pytest.raises(UserError, match=sentence):
            PropagationConfig(base=NPIDConfig(), **settings)


def test_neighbours_and_candidates_are_limited_by_the_images():
    limits = InvPConfig().limits(100, 8)
    assert {name: limit.largest for name, limit in limits.items()} == {"graph.neighbours": 99, "candidates": 100}
    assert InvPConfig(denominator="paper").limits(100, 8)["candidates"].largest == 99
    wrapped = PropagationConfig(base=METHODS["moco"]).limits(100, 10)
    assert set(wrapped) == {"graph.neighbours", "candidates", "base.queue_size"}


# ---------------------------------------------------------------- the term around other methods


def test_term_pulls_the_queries_of_its_base_at_the_temperature_of_its_base():
    method = around(NPIDConfig(dim=8, temperature=0.3))
    alone = build(NPIDConfig(dim=8, temperature=0.3)).double()
    step, of_base = method(batch(method), AT), alone(batch(alone), AT)
    v = of_base.record["embedding"]
    assert there(step.related["propagation/negatives"]) == strangers(method, v)
    expected = sum(0.6 * loop_pull(method, v[row], i, 0.3) / 4 for row, i in enumerate(INDEX.tolist()))
    assert step.terms["npid"].item() == pytest.approx(of_base.loss.item(), rel=1e-9)
    assert step.terms["propagation"].item() == pytest.approx(expected, rel=1e-9)


def test_term_around_instance_recognition_is_invp():
    # the same network, bank and graph; all images are candidates, so both recognise among all
    settings = {"temperature": 0.3, "dim": 8, "head": "mlp"}
    wrapped = around(NPIDConfig(**settings), candidates=COUNT)
    whole = invp(head_init="default", candidates=COUNT)
    whole.load_state_dict(
        {name.removeprefix("base."): value for name, value in wrapped.state_dict().items() if "partition" not in name}
    )
    one, other = wrapped(batch(wrapped), AT), whole(batch(whole), AT)
    torch.testing.assert_close(one.loss, other.loss, rtol=0, atol=1e-5)
    torch.testing.assert_close(one.terms["propagation"], other.terms["invp/propagation"])
    for method, step in ((wrapped, one), (whole, other)):
        method.update(step.record, AT)
    assert torch.equal(wrapped.graph.neighbours, whole.graph.neighbours)
    assert not differing(copied(wrapped.bank), copied(whole.bank))


def test_both_directions_of_a_symmetric_base_are_pulled():
    method = around(SimCLRConfig(dim=8, temperature=0.3))
    step = method(batch(method), AT)
    expected = sum(
        0.6 * loop_pull(method, q[row].detach(), i, 0.3) / 8
        for q, _ in step.pairs
        for row, i in enumerate(INDEX.tolist())
    )
    assert step.terms["propagation"].item() == pytest.approx(expected, rel=1e-9)
    assert all(len(images) == 4 for images in step.related.values())
    assert there(step.related["propagation/negatives"]) == strangers(method, step.pairs[0][0])
    assert step.record["propagation/nearest"].shape == (4, 3)


def test_base_without_negatives_is_drawn_to_its_hard_positives_by_its_own_loss():
    method = around(BYOLConfig(dim=8, hidden=16))
    method.graph.neighbours[3] = torch.tensor([3, 5])
    step = method(batch(method), AT)
    bank, total = method.bank.everything(), 0.0
    for q, _ in step.pairs:
        for row, i in enumerate(INDEX.tolist()):
            similarity = sorted(float(q[row].detach() @ bank[j]) for j in walked(method, i) if j != i)
            hard = similarity[:3]
            total += sum(2 - 2 * s for s in hard) / len(hard) / 8
    assert step.terms["propagation"].item() == pytest.approx(0.6 * total, rel=1e-9)
    assert (step.related["propagation/positives"] != INDEX[:, None]).all()
    assert "propagation/negatives" not in step.related


def test_term_that_finds_no_kin_adds_nothing():
    method = around(BYOLConfig(dim=8, hidden=16))
    method.graph.neighbours.copy_(torch.arange(COUNT)[:, None].expand(-1, 2))
    step = method(batch(method), AT)
    assert step.terms["propagation"] == 0
    step.loss.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


def test_term_of_weight_0_only_needs_the_graphs_neighbours(monkeypatch):
    method = around(SimCLRConfig(dim=8), ramp=NEVER)
    nearest, asked = method.bank.nearest, []
    monkeypatch.setattr(method.bank, "nearest", lambda q, k: asked.append(k) or nearest(q, k))
    step = method(batch(method), AT)
    assert asked == [3]
    assert step.terms["propagation"] == 0
    assert step.terms["propagation"].requires_grad
    assert method.gauges().keys() == {"propagation/churn"}
