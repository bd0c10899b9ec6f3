"""Claims about what ranks say to each other."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from viewkin.runtime import distributed

TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int16, torch.uint8, torch.bool]


@dataclass
class Pair:
    first: Tensor
    second: Tensor


def _identify() -> tuple[int, int]:
    distributed.barrier()
    return distributed.rank(), distributed.world()


def _rows(rank: int, dtype: torch.dtype) -> Tensor:
    return (torch.arange(6).reshape(3, 2) % 5 + 3 * rank).to(dtype)


def _gather_rows(dtype: torch.dtype) -> Tensor:
    return distributed.gather(_rows(distributed.rank(), dtype))


def _agree_rows(dtype: torch.dtype) -> tuple[Tensor, bool]:
    own = _rows(distributed.rank(), dtype)
    agreed = distributed.agree(own)
    return agreed, torch.equal(own, _rows(distributed.rank(), dtype))


def _mean_rows(dtype: torch.dtype) -> tuple[Tensor, bool]:
    own = _rows(distributed.rank(), dtype)
    mean = distributed.mean(own)
    return mean, torch.equal(own, _rows(distributed.rank(), dtype))


def _gather_odd_shapes() -> list[Tensor]:
    rank = distributed.rank()
    transposed = torch.arange(6.0).reshape(2, 3).t() + rank
    return [
        distributed.gather(transposed),
        distributed.gather(torch.tensor([rank])),
        distributed.gather(torch.ones(0, 4)),
    ]


def _agree_scalar() -> Tensor:
    return distributed.agree(torch.tensor(7 + distributed.rank()))


def _gradient(x: Tensor, weight: Tensor) -> Tensor:
    rows = x.chunk(distributed.world())[distributed.rank()].clone().requires_grad_()
    joined = distributed.gather_with_grad(rows)
    # A different loss on each rank, every one a function of all rows.
    (joined.sin() * weight * (distributed.rank() + 1)).sum().backward()
    assert rows.grad is not None
    return rows.grad


def _double_backward() -> None:
    x = torch.ones(2, requires_grad=True)
    (grad,) = torch.autograd.grad(distributed.gather_with_grad(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def _swap(pair: Pair) -> Pair:
    return Pair(first=pair.second, second=pair.first)


def _fail_on_one() -> None:
    if distributed.rank() == 1:
        raise ValueError("rank one has had enough")
    distributed.barrier()


def _draw() -> Tensor:
    return torch.rand(3)


def test_two_ranks_know_their_places(pool):
    assert pool.run(_identify) == [(0, 2), (1, 2)]


@pytest.mark.parametrize("dtype", TYPES)
def test_gather_joins_rows_in_rank_order_in_every_type(pool, dtype):
    expected = torch.cat([_rows(0, dtype), _rows(1, dtype)])
    for joined in pool.run(_gather_rows, dtype):
        assert joined.dtype == dtype
        assert torch.equal(joined, expected)


def test_gather_takes_views_single_numbers_and_no_rows(pool):
    for transposed, numbers, empty in pool.run(_gather_odd_shapes):
        assert torch.equal(transposed, torch.tensor([[0.0, 3], [1, 4], [2, 5], [1, 4], [2, 5], [3, 6]]))
        assert torch.equal(numbers, torch.tensor([0, 1]))
        assert empty.shape == (0, 4)


@pytest.mark.parametrize("dtype", TYPES)
def test_agree_gives_rank_zeros_copy_and_leaves_the_argument(pool, dtype):
    for agreed, untouched in pool.run(_agree_rows, dtype):
        assert torch.equal(agreed, _rows(0, dtype))
        assert untouched


def test_agree_takes_a_scalar(pool):
    assert pool.run(_agree_scalar) == [torch.tensor(7)] * 2


@pytest.mark.parametrize("dtype", TYPES)
def test_mean_is_over_ranks_and_leaves_the_argument(pool, dtype):
    expected = (_rows(0, dtype).double() + _rows(1, dtype).double()) / 2
    for mean, untouched in pool.run(_mean_rows, dtype):
        assert untouched
        assert mean.dtype == (dtype if dtype.is_floating_point else torch.float32)
        assert torch.equal(mean.double(), expected)


def test_gradient_of_a_row_is_the_sum_of_all_ranks_gradients(pool):
    x, weight = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    gradients = torch.cat(pool.run(_gradient, x, weight))
    torch.testing.assert_close(gradients, x.cos() * weight * (1 + 2))


def test_second_derivatives_through_a_gather_are_refused(pool):
    pool.run(_double_backward)


def test_one_process_needs_no_group():
    x = torch.randn(3, 2, requires_grad=True)
    assert (distributed.rank(), distributed.world()) == (0, 1)
    distributed.barrier()
    assert distributed.gather_with_grad(x) is x
    assert distributed.agree(x) is x
    assert torch.equal(distributed.gather(x), x)
    assert not distributed.gather(x).requires_grad
    assert torch.equal(distributed.mean(x), x)
    assert torch.equal(distributed.mean(torch.tensor([True, False])), torch.tensor([1.0, 0.0]))


def test_pool_carries_classes_of_test_modules(pool):
    for pair in pool.run(_swap, Pair(torch.zeros(1), torch.ones(1))):
        assert isinstance(pair, Pair)
        assert pair.first == 1


def test_pool_tells_which_rank_failed_and_works_again(pool):
    with pytest.raises(RuntimeError, match=r"rank 1: Traceback[\s\S]*rank one has had enough"):
        pool.run(_fail_on_one)
    assert pool.run(_identify) == [(0, 2), (1, 2)]


def test_pool_seeds_every_call(pool):
    first, second = pool.run(_draw), pool.run(_draw)
    assert all(torch.equal(draw, first[0]) for draw in [*first, *second])
