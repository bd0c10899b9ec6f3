"""Claims about NPID, beside the laws that every method is under."""

import math

import pytest
import torch
from torch import Tensor

from lawbook import batch_for, build, copied, differing
from viewkin import losses
from viewkin.methods.npid import NPID, NPIDConfig
from viewkin.schedules import Progress

INDEX = torch.tensor([3, 9, 20, 1])
AT = Progress()
COUNT = 24


def npid(**settings: object) -> NPID:
    method = build(NPIDConfig(dim=8, temperature=0.3, **settings)).double()  # type: ignore[arg-type]
    assert isinstance(method, NPID)
    return method


def batch(method: NPID, step: int = 0, rows: slice = slice(None)):
    return batch_for(method, INDEX, step=step, rows=rows, dtype=torch.float64)


def drawing(method: NPID, drawn: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "_draw", lambda batch: drawn)


def embedded(method: NPID, step: int = 0) -> Tensor:
    return losses.unit(method.encoder(batch(method, step).views["view"])).detach()


def close(found: Tensor, expected: float) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_full_softmax_recognises_the_image_among_all():
    method = npid()
    expected = 0.0
    for q, i in zip(embedded(method), INDEX.tolist(), strict=True):
        scores = [math.exp(float(q @ row) / 0.3) for row in method.bank.everything()]
        expected -= math.log(scores[i] / sum(scores)) / len(INDEX)
    close(method(batch(method), AT).loss, expected)


@pytest.mark.parametrize("shared", [True, False])
def test_infonce_leaves_out_the_own_row_when_it_is_drawn(shared, monkeypatch):
    method = npid(loss="infonce", negatives=3, shared_negatives=shared)
    each = torch.tensor([[3, 5, 9], [9, 9, 2], [20, 3, 4], [0, 2, 6]])
    drawn = each[0] if shared else each
    drawing(method, drawn, monkeypatch)
    bank, expected = method.bank.everything(), 0.0
    for row, (q, i) in enumerate(zip(embedded(method), INDEX.tolist(), strict=True)):
        positive = math.exp(float(q @ bank[i]) / 0.3)
        others = [math.exp(float(q @ bank[j]) / 0.3) for j in (drawn if shared else drawn[row]).tolist() if j != i]
        expected -= math.log(positive / (positive + sum(others))) / len(INDEX)
    close(method(batch(method), AT).loss, expected)


DRAWN = torch.tensor([[3, 5, 9], [9, 9, 2], [20, 3, 4], [0, 2, 6]])


def nce_method(monkeypatch):
    method = npid(loss="nce", negatives=3, shared_negatives=False)
    drawing(method, DRAWN, monkeypatch)
    return method


def nce_scores(method, step: int) -> list[list[float]]:
    """e^(s / tau) of the own row and of the noise, per image."""
    bank = method.bank.everything()
    drawn = zip(embedded(method, step), INDEX.tolist(), DRAWN.tolist(), strict=True)
    return [[math.exp(float(q @ bank[j]) / 0.3) for j in (i, *noise)] for q, i, noise in drawn]


def partition_of(scores: list[list[float]]) -> float:
    return COUNT * sum(map(sum, scores)) / 16


def nce(scores: list[list[float]], z: float) -> float:
    base, total = 3 / COUNT, 0.0
    for own, *noise in scores:
        total -= math.log(own / z / (own / z + base + 1e-7))
        total -= sum(math.log(base / (p / z + base + 1e-7)) for p in noise)
    return total / len(scores)


def test_nce_keeps_the_own_row_among_the_noise(monkeypatch):
    method = nce_method(monkeypatch)
    scores = nce_scores(method, 0)
    close(method(batch(method), AT).loss, nce(scores, partition_of(scores)))


def test_the_first_update_fixes_the_constant_of_nce_and_forward_does_not(monkeypatch):
    method = nce_method(monkeypatch)
    z = partition_of(nce_scores(method, 0))
    step = method(batch(method), AT)
    assert method.partition == 0
    method.update(step.record, AT)
    close(method.partition, z)
    assert "partition" in method.state_dict()


def test_later_steps_of_nce_use_the_constant_of_the_first(monkeypatch):
    method = nce_method(monkeypatch)
    z = partition_of(nce_scores(method, 0))
    step = method(batch(method), AT)
    method.update({**step.record, "embedding": method.bank.everything()[INDEX]}, AT)
    second = nce_scores(method, 1)
    assert z != pytest.approx(partition_of(second), rel=1e-6)
    step = method(batch(method, 1), AT)
    close(step.loss, nce(second, z))
    method.update(step.record, AT)
    close(method.partition, z)


def test_noise_of_its_own_for_every_query_is_a_slice_of_the_global_draw():
    method = npid(loss="infonce", negatives=50, shared_negatives=False)
    whole = method._draw(batch(method))
    assert whole.shape == (4, 50)
    assert len({tuple(row) for row in whole.tolist()}) == 4
    halves = [method._draw(batch(method, rows=rows)) for rows in (slice(0, 2), slice(2, 4))]
    assert torch.equal(torch.cat(halves), whole)
    assert not torch.equal(method._draw(batch(method, step=1)), whole)


def test_shared_noise_is_the_same_for_every_rank_and_new_in_every_step():
    method = npid(loss="infonce", negatives=50)
    whole = method._draw(batch(method))
    assert whole.shape == (50,)
    assert torch.equal(method._draw(batch(method, rows=slice(2, 4))), whole)
    assert not torch.equal(method._draw(batch(method, step=1)), whole)
    assert set(whole.tolist()) <= set(range(COUNT))


def test_noise_is_uniform_over_the_bank():
    method = npid(loss="infonce", negatives=24_000)
    counts = method._draw(batch(method)).bincount(minlength=COUNT)
    chi2 = ((counts - 1000.0) ** 2 / 1000).sum()
    assert chi2 < 50  # 23 degrees of freedom: p < 0.001 beyond 49.7


def test_loss_is_taken_against_the_memory_before_the_update():
    method = npid()
    before = method.bank.everything().clone()
    step = method(batch(method), AT)
    assert torch.equal(method.bank.everything(), before)
    method.update(step.record, AT)
    for q, i in zip(step.record["embedding"], INDEX.tolist(), strict=True):
        torch.testing.assert_close(method.bank.everything()[i], losses.unit(before[i] + q))
    rest = [i for i in range(COUNT) if i not in INDEX.tolist()]
    assert torch.equal(method.bank.everything()[rest], before[rest])


def test_no_gradient_reaches_memory_or_key():
    method = npid()
    step = method(batch(method), AT)
    ((_, k),) = step.pairs
    assert torch.equal(k, method.bank.everything()[INDEX])
    assert torch.equal(method.key(batch(method)), k)
    assert not k.requires_grad
    step.loss.backward()
    assert method.bank.everything().grad is None


def test_pair_loss_with_the_own_row_is_the_loss():
    method = npid()
    b = batch(method)
    loss = method.pair_loss(method.query(b.views["view"]), method.key(b), b.index)
    torch.testing.assert_close(loss.mean(), method(b, AT).loss)


def test_negatives_are_limited_by_the_other_images():
    assert NPIDConfig(loss="softmax").limits(100, 8) == {}
    for loss in ("infonce", "nce"):
        assert NPIDConfig(loss=loss).limits(100, 8)["negatives"].largest == 99


def test_a_head_is_one_layer_or_two():
    assert [type(m).__name__ for m in npid(head="linear").encoder.head] == ["Linear"]
    assert [type(m).__name__ for m in npid(head="mlp").encoder.head] == ["Linear", "ReLU", "Linear"]


def test_two_methods_of_one_seed_are_equal():
    assert not differing(copied(npid()), copied(npid()))
