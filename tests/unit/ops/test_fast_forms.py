"""Fast kernels equal the plain forms that stand beside them, in value and gradient."""

import math

import pytest
import torch
from torch import Tensor

from viewkin.losses import unit
from viewkin.ops import pool_sum
from viewkin.ops.bank_rows import bank_similarity
from viewkin.ops.nearest_sums import Positives, nearest_sums, plain_nearest_sums
from viewkin.ops.pool_sum import plain_pool_log_sum, pool_log_sum

B, N, D = 9, 120, 6


def rows(count: int, seed: int) -> Tensor:
    return unit(torch.randn(count, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


BANK, LABELS = rows(N, 1), torch.arange(N) % 7
INDEX = torch.arange(B) * 11
COLUMNS = torch.randperm(N, generator=torch.Generator().manual_seed(2))[:80]


def value_and_slope(values: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.arange(1, values.numel() + 1, dtype=values.dtype).view_as(values)
    return values.detach(), torch.autograd.grad((values * weights).sum(), q, retain_graph=True)[0]


@pytest.mark.parametrize("temperature", [0.02, 0.3])
@pytest.mark.parametrize("block", [7, 4096])
@pytest.mark.parametrize("threshold", [None, "above", "below"])
def test_sums_over_a_pool_equal_the_dense_form(threshold, block, temperature, monkeypatch):
    monkeypatch.setattr(pool_sum, "block_of", lambda bank: block)
    q = rows(B, 3).requires_grad_()
    least = None if threshold is None else torch.linspace(-0.5, 0.5, B, dtype=torch.float64) / temperature
    arguments = (BANK, COLUMNS, LABELS[COLUMNS], LABELS[INDEX], least, temperature)
    far = threshold == "below"
    found, expected = (form(q, *arguments, far=far) for form in (pool_log_sum, plain_pool_log_sum))
    torch.testing.assert_close(value_and_slope(found, q), value_and_slope(expected, q))


@pytest.mark.parametrize("temperature", [0.05, 0.3])
@pytest.mark.parametrize("count", [5, 40, N - 1])
@pytest.mark.parametrize("form", ["code", "paper"])
def test_sums_over_the_nearest_equal_the_sorted_form(form, count, temperature):
    q = unit(BANK[INDEX] + 0.4 * rows(B, 4)).requires_grad_()
    image = torch.randint(-1, N, (B, 12), generator=torch.Generator().manual_seed(5))
    image = image.masked_fill(image == INDEX.unsqueeze(1), -1)
    kin = Positives(image, bank_similarity(q, BANK, image))
    how = {"positives": kin, "denominator": form}
    fast = nearest_sums(q, BANK, INDEX, count, temperature, **how, edge=count)
    plain = plain_nearest_sums(q, BANK, INDEX, count, temperature, **how)
    torch.testing.assert_close(value_and_slope(fast.own, q), value_and_slope(plain.own, q))
    assert torch.equal(fast.inside, plain.inside)
    for found, expected in ((fast.negatives, plain.negatives), (fast.positives, plain.positives)):
        some = expected > 0
        assert torch.equal(found > 0, some)
        if some.any():
            logs = [found[some].log() + fast.level[some], expected[some].log() + plain.level[some]]
            torch.testing.assert_close(value_and_slope(logs[0], q), value_and_slope(logs[1], q))


def test_the_plain_form_of_the_nearest_is_its_definition():
    q = rows(B, 4)
    found = plain_nearest_sums(q, BANK, INDEX, 3, 0.3, denominator="paper")
    for row, own in enumerate(INDEX.tolist()):
        others = sorted((float(q[row] @ BANK[j]) for j in range(N) if j != own), reverse=True)[:3]
        expected = sum(math.exp(s / 0.3 - float(found.level[row])) for s in others)
        assert float(found.negatives[row]) == pytest.approx(expected)


def test_the_plain_form_of_a_pool_is_its_definition():
    q, least = rows(B, 4), torch.zeros(B, dtype=torch.float64)
    found = plain_pool_log_sum(q, BANK, COLUMNS, LABELS[COLUMNS], LABELS[INDEX], least, 0.3)
    for row, own in enumerate(INDEX.tolist()):
        logits = [float(q[row] @ BANK[j]) / 0.3 for j in COLUMNS.tolist() if LABELS[j] != LABELS[own]]
        assert float(found[row]) == pytest.approx(math.log(sum(math.exp(s) for s in logits if s >= 0)))
