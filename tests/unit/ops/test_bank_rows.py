"""Claims about similarities to chosen rows and about the angular margin."""

import pytest
import torch
from torch.autograd import gradcheck

from viewkin import losses


def rows(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return losses.unit(torch.randn(count, 4, generator=generator, dtype=torch.float64))


def test_bank_similarity_has_the_gradient_of_gathered_rows():
    q, bank = rows(3).requires_grad_(), rows(9, seed=1)
    index = torch.tensor([[0, 8, 8, 2], [5, 5, 1, 0], [3, 4, 7, 6]])
    weight = torch.randn(3, 4, dtype=torch.float64)
    dense = torch.einsum("bd,bkd->bk", q, bank[index])
    found = losses.bank_similarity(q, bank, index, dense.detach())
    assert torch.equal(found, dense)
    (expected,) = torch.autograd.grad((dense * weight).sum(), q)
    (mine,) = torch.autograd.grad((found * weight).sum(), q)
    torch.testing.assert_close(mine, expected)


def test_places_left_empty_have_no_gradient():
    q, bank = rows(2).requires_grad_(), rows(5, seed=1)
    index = torch.tensor([[1, -1], [-1, -1]])
    known = torch.where(index >= 0, torch.einsum("bd,bkd->bk", q.detach(), bank[index.clamp_min(0)]), -torch.inf)
    found = losses.bank_similarity(q, bank, index, known)
    loss = losses.info_nce_of((q * bank[0]).sum(1), found, 0.5)
    (mine,) = torch.autograd.grad(loss.sum(), q)
    (expected,) = torch.autograd.grad(losses.info_nce(q[:1], bank[:1], bank[1:2], 0.5).sum(), q)
    torch.testing.assert_close(mine, expected)
    assert torch.equal(mine[1], torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("margin", [-0.5, 0.4])
def test_gradient_of_the_angular_margin(margin):
    c = torch.tensor([-0.95, -0.3, 0.2, 0.7, 0.95], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: losses.angular_margin(x, margin), c)


def test_the_angular_margin_has_a_finite_slope_at_both_ends():
    c = torch.tensor([-1.0, 1.0], requires_grad=True)
    losses.angular_margin(c, -0.5).sum().backward()
    assert c.grad is not None
    assert c.grad.isfinite().all()
