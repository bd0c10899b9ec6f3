"""The relation losses against transcriptions of their formulas, one number at a time."""

import math

import pytest
import torch
from torch import Tensor

from viewkin import losses

N, D, B = 23, 5, 4


def rows(count: int, dim: int = D, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return losses.unit(torch.randn(count, dim, dtype=torch.float64, generator=generator)).to(dtype)


def probability(v: Tensor, bank: Tensor, temperature: float) -> list[float]:
    weights = [math.exp(float(v @ row) / temperature) for row in bank]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("block", [7, 1000])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_divergence_is_the_sum_of_the_paper(block, temperature):
    v, v_hat, bank = rows(B), rows(B, seed=1), rows(N, seed=2)
    found = losses.relation_divergence(v, v_hat, bank, temperature, block)
    for i in range(B):
        p, p_hat = probability(v[i], bank, temperature), probability(v_hat[i], bank, temperature)
        expected = sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, p_hat))
        assert float(found[i]) == pytest.approx(expected, rel=1e-10)


def test_cross_entropy_is_the_sum_of_the_released_code():
    v, v_hat, bank = rows(B), rows(B, seed=1), rows(N, seed=2)
    found = losses.relation_cross_entropy(v, v_hat, bank, (0.2, 0.5), 6)
    for i in range(B):
        p, p_hat = probability(v[i], bank, 0.2), probability(v_hat[i], bank, 0.5)
        assert float(found[i]) == pytest.approx(-sum(a * math.log(b) for a, b in zip(p, p_hat)), rel=1e-10)


def test_gradients_agree_with_finite_differences():
    v, v_hat, bank = rows(B).requires_grad_(), rows(B, seed=1).requires_grad_(), rows(N, seed=2)
    assert torch.autograd.gradcheck(lambda p, q: losses.relation_divergence(p, q, bank, 0.3, 6), (v, v_hat))
    assert torch.autograd.gradcheck(lambda q: losses.relation_cross_entropy(v, q, bank, (0.2, 0.4), 6), (v_hat,))
    assert torch.autograd.gradcheck(lambda m: losses.interpolation(m, v_hat.detach(), 0.3), (v,))


def test_a_detached_side_gets_no_gradient_and_leaves_the_other_its_own():
    v, v_hat, bank = rows(B).requires_grad_(), rows(B, seed=1).requires_grad_(), rows(N, seed=2)
    both = torch.autograd.grad(losses.relation_divergence(v, v_hat, bank, 0.3).sum(), (v, v_hat))
    (one,) = torch.autograd.grad(losses.relation_divergence(v.detach(), v_hat, bank, 0.3).sum(), v_hat)
    torch.testing.assert_close(one, both[1])
    (other,) = torch.autograd.grad(losses.relation_divergence(v, v_hat.detach(), bank, 0.3).sum(), v)
    torch.testing.assert_close(other, both[0])
    loss = losses.relation_cross_entropy(v, v_hat, bank, (0.3, 0.3)).sum()
    assert torch.autograd.grad(loss, (v, v_hat), allow_unused=True)[0] is None


def test_cross_entropy_is_divergence_and_entropy():
    v, v_hat, bank = rows(B), rows(B, seed=1), rows(N, seed=2)
    divergence = losses.relation_divergence(v, v_hat, bank, 0.3)
    entropy = losses.relation_cross_entropy(v, v, bank, (0.3, 0.3))
    torch.testing.assert_close(losses.relation_cross_entropy(v, v_hat, bank, (0.3, 0.3)), divergence + entropy)


@pytest.mark.parametrize("distance", [10.0, 0.08, 0.01])  # of the views from each other: unrelated, learnt, equal
def test_bfloat16_autocast_moves_divergence_and_gradient_by_little(distance):
    bank = rows(1000, 128, seed=2, dtype=torch.float32)
    v = rows(64, 128, dtype=torch.float32)
    v_hat = losses.unit(v + distance * rows(64, 128, seed=1, dtype=torch.float32))

    def run() -> tuple[Tensor, Tensor]:
        q = v_hat.clone().requires_grad_()
        value = losses.relation_divergence(v, q, bank, 0.1, 300)
        return value.detach(), torch.autograd.grad(value.sum(), q)[0]

    value, gradient = run()
    with torch.autocast("cpu", torch.bfloat16):
        cast, cast_gradient = run()
    assert cast.dtype == torch.float32
    assert not torch.equal(cast, value)  # it is the cheaper product that was run
    torch.testing.assert_close(cast, value, rtol=0.02, atol=0.002)
    bound = 0.02 * gradient.norm(dim=1) + 0.02
    assert ((cast_gradient - gradient).norm(dim=1) < bound).all()


def test_interpolation_compares_a_target_with_every_mixture():
    mixed, target = rows(B), rows(B, seed=1)
    found = losses.interpolation(mixed, target, 0.2, slice(1, 3))
    for place, k in enumerate((1, 2)):
        weights = [math.exp(float(mixed[j] @ target[k]) / 0.2) for j in range(B)]
        assert float(found[place]) == pytest.approx(-math.log(weights[k] / sum(weights)), rel=1e-10)


def test_mixed_target_of_share_one_is_the_image_itself():
    v, other = rows(B), rows(B, seed=1)
    torch.testing.assert_close(losses.mixed_target(v, other, 1.0), v)
    torch.testing.assert_close(losses.mixed_target(v, other, 0.0), other)
    torch.testing.assert_close(losses.mixed_target(v, other, 0.3).norm(dim=1), torch.ones(B).double())
