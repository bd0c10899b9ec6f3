"""Claims about IRaug, SimCLR and BYOL, beside the laws that every method is under."""

import math

import pytest
import torch
from torch import Tensor

from lawbook import batch_for, build, copied
from viewkin import losses
from viewkin.methods.byol import BYOL, BYOLConfig
from viewkin.methods.iraug import IRAug, IRAugConfig
from viewkin.methods.simclr import SimCLR, SimCLRConfig
from viewkin.schedules import Progress

INDEX = torch.tensor([3, 9, 20, 1])


def batch(method, step: int = 0):
    return batch_for(method, INDEX, step=step, dtype=torch.float64)


def both_views(method) -> tuple[Tensor, Tensor]:
    """Embeddings of the two views, normalised by BatchNorm over both together as the methods do."""
    b = batch(method)
    z = losses.unit(method.encoder(torch.cat([b.views["first"], b.views["second"]]))).detach()
    return z[:4], z[4:]


# ---------------------------------------------------------------- IRaug


def iraug(**settings) -> IRAug:
    method = build(IRAugConfig(dim=8, temperature=0.3, **settings)).double()
    assert isinstance(method, IRAug)
    return method


@pytest.mark.parametrize("reading", ["sumce", "mean", "logsum"])
def test_iraug_recognises_both_views(reading):
    method = iraug(reading=reading)
    bank, total = method.bank.everything(), 0.0
    for v, w, i in zip(*both_views(method), INDEX.tolist(), strict=True):
        p, r = (
            math.exp(float(x @ bank[i]) / 0.3) / sum(math.exp(float(x @ row) / 0.3) for row in bank) for x in (v, w)
        )
        total -= {"sumce": math.log(p * r), "mean": math.log(p * r) / 2, "logsum": math.log(p + r)}[reading] / 4
    assert method(batch(method), Progress()).loss.item() == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("view", ["first", "second"])
def test_iraug_writes_the_bank_with_one_view(view):
    method = iraug(bank_view=view)
    before = method.bank.everything().clone()
    written = both_views(method)[view == "second"]
    step = method(batch(method), Progress())
    torch.testing.assert_close(step.record["embedding"], written)
    method.update(step.record, Progress())
    torch.testing.assert_close(method.bank.everything()[INDEX], losses.unit(before[INDEX] + written))


# ---------------------------------------------------------------- SimCLR


def simclr(**settings) -> SimCLR:
    method = build(SimCLRConfig(dim=8, temperature=0.3, **settings)).double()
    assert isinstance(method, SimCLR)
    return method


def test_simclr_finds_the_partner_among_all_others():
    method = simclr()
    first, second = both_views(method)
    everything, total = [*first, *second], 0.0
    for a in range(8):
        scores = [math.exp(float(everything[a] @ everything[c]) / 0.3) for c in range(8)]
        total -= math.log(scores[(a + 4) % 8] / (sum(scores) - scores[a])) / 8
    assert method(batch(method), Progress()).loss.item() == pytest.approx(total, rel=1e-9)


def test_simclr_gives_gradient_through_both_sides():
    # Each view is anchor, partner and negative of others: none of these is constant.
    method = simclr()
    q = method.query(torch.cat(list(batch(method).views.values())))
    (gradient,) = torch.autograd.grad(losses.nt_xent(q[:4], q[4:], 0.3).mean(), q)
    numbers = q.detach().clone()
    step, direction = 1e-6, torch.zeros_like(numbers)
    direction[5, 2] = step
    plus, minus = (losses.nt_xent(x[:4], x[4:], 0.3).mean() for x in (numbers + direction, numbers - direction))
    assert float(gradient[5, 2]) == pytest.approx(float((plus - minus) / (2 * step)), rel=1e-5)


def test_pair_loss_of_simclr_is_cross_entropy_over_the_keys_of_the_batch():
    method = simclr()
    q, k = both_views(method)
    expected = [
        -math.log(math.exp(float(q[i] @ k[i]) / 0.3) / sum(math.exp(float(q[i] @ k[j]) / 0.3) for j in range(4)))
        for i in range(4)
    ]
    torch.testing.assert_close(method.pair_loss(q, k, INDEX), torch.tensor(expected, dtype=torch.float64))


def test_head_of_simclr_takes_its_width_from_the_backbone():
    layers = [m for m in simclr().encoder.head if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in layers] == [(64, 64), (64, 8)]
    assert any(isinstance(m, torch.nn.BatchNorm1d) for m in simclr().encoder.head)
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in simclr(head_norm=False).encoder.head)


# ---------------------------------------------------------------- BYOL


def byol(**settings) -> BYOL:
    method = build(BYOLConfig(dim=8, hidden=16, **settings)).double()
    assert isinstance(method, BYOL)
    return method


def test_byol_predicts_each_views_target_from_the_other():
    method = byol()
    b = batch(method)
    first, second = b.views["first"], b.views["second"]
    total = 0.0
    for x, y in ((first, second), (second, first)):
        prediction, target = method.predictor(method.encoder(x)).detach(), method.target_encoder(y)
        for p, z in zip(prediction, target, strict=True):
            total += (2 - 2 * float(p @ z) / math.sqrt(float(p @ p) * float(z @ z))) / 4
    assert method(b, Progress()).loss.item() == pytest.approx(total, rel=1e-9)


def test_no_gradient_reaches_the_target_of_byol():
    method = byol()
    step = method(batch(method), Progress())
    step.loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in method.target_encoder.parameters())
    assert all(p.grad is not None for p in method.predictor.parameters())


@pytest.mark.parametrize(("fraction", "weight"), [(0, 0.9), (0.5, 0.95), (1, 1.0)])
def test_target_of_byol_follows_along_the_cosine(fraction, weight):
    method = byol(momentum=0.9)
    step = method(batch(method), Progress())
    old = copied(method.target_encoder)
    with torch.no_grad():
        for p in method.encoder.parameters():
            p.add_(1)
    before = copied(method.target_encoder)
    assert all(torch.equal(before[name], old[name]) for name in old)
    method.update(step.record, Progress(step=int(10 * fraction), steps=10))
    online = dict(method.encoder.named_parameters())
    for name, p in method.target_encoder.named_parameters():
        torch.testing.assert_close(p, weight * old[name] + (1 - weight) * online[name])


def test_byol_remembers_the_target_of_the_first_view():
    method = byol()
    method.eval()
    b = batch(method)
    step = method(b, Progress())
    torch.testing.assert_close(step.record["embedding"], method.target(b.views["first"]))
    torch.testing.assert_close(method.key(b), method.target(b.views["second"]))
    assert not method.contrastive
    assert method.bank is None
