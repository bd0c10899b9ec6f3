"""Claims about the queue of keys."""

from collections import deque

import pytest
import torch

from viewkin.memory.queue import KeyQueue


def numbered(start: int, count: int, dim: int = 3) -> torch.Tensor:
    return torch.arange(start, start + count, dtype=torch.float32)[:, None].expand(count, dim).clone()


def test_starts_from_random_unit_keys():
    queue = KeyQueue(500, 16)
    torch.testing.assert_close(queue.everything().norm(dim=1), torch.ones(500))
    assert queue.everything().mean(0).abs().max() < 5 / (500 * 16) ** 0.5
    assert int(queue.pointer) == 0


@pytest.mark.parametrize(("size", "batch"), [(8, 4), (8, 8), (7, 3), (5, 4), (6, 1)])
def test_holds_the_newest_keys_in_order_even_where_batches_do_not_divide_it(size, batch):
    queue = KeyQueue(size, 3)
    kept: deque[float] = deque(queue.everything()[:, 0].tolist(), maxlen=size)
    for step in range(9):
        keys = numbered(100 + step * batch, batch)
        queue.push_(keys)
        kept.extend(keys[:, 0].tolist())
        oldest_first = queue.everything()[:, 0].roll(-int(queue.pointer))
        torch.testing.assert_close(oldest_first, torch.tensor(list(kept)))


def test_keeps_the_last_keys_of_a_batch_larger_than_itself():
    queue = KeyQueue(3, 3)
    queue.push_(numbered(0, 1))
    queue.push_(numbered(10, 8))
    oldest_first = queue.everything()[:, 0].roll(-int(queue.pointer))
    assert oldest_first.tolist() == [15, 16, 17]


def test_a_push_keeps_no_graph_and_the_precision():
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        queue = KeyQueue(4, 3).to(dtype)
        queue.push_(numbered(1, 2).requires_grad_())
        assert queue.everything().dtype == dtype
        assert queue.pointer.dtype == torch.int64
        assert not queue.everything().requires_grad


def test_reading_changes_nothing():
    queue = KeyQueue(4, 3)
    before = {name: value.clone() for name, value in queue.state_dict().items()}
    q = torch.randn(2, 3, requires_grad=True)
    (q @ queue.everything().T).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in queue.state_dict().items())
    assert len(queue) == 4


def test_state_round_trip_goes_on_where_it_stopped():
    queue, other = KeyQueue(5, 3), KeyQueue(5, 3)
    queue.push_(numbered(0, 3))
    other.load_state_dict(queue.state_dict())
    for either in (queue, other):
        either.push_(numbered(10, 4))
    assert torch.equal(queue.everything(), other.everything())
    assert int(queue.pointer) == int(other.pointer) == 2
