import pytest
import torch
import torch.nn.functional as F

from viewkin.ops.neighbours import merge, top_k


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    return F.normalize(
        torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1
    )


def by_sorting(queries: torch.Tensor, reference: torch.Tensor, k: int, exclude_self: bool = False):
    """Python's own stable sort of every row: falling similarity, then rising index."""
    similarity = (queries @ reference.T).tolist()
    picked = []
    for row, values in enumerate(similarity):
        columns = [j for j in range(len(values)) if not (exclude_self and j == row)]
        picked.append(sorted(columns, key=lambda j: (-values[j], j))[:k])
    value = [[similarity[row][j] for j in columns] for row, columns in enumerate(picked)]
    return torch.tensor(value, dtype=torch.float64), torch.tensor(picked)


@pytest.mark.parametrize(("block", "memory"), [(65536, 2**28), (7, 2**28), (64, 4000), (1, 1)])
def test_blocks_of_any_size_find_the_same_neighbours(block, memory):
    queries, reference = unit(9, 5, 0), unit(53, 5, 1)
    similarity, index = top_k(queries, reference, 6, block=block, memory=memory)
    expected_similarity, expected_index = by_sorting(queries, reference, 6)
    assert torch.equal(index, expected_index)
    torch.testing.assert_close(similarity, expected_similarity)


@pytest.mark.parametrize("rows", [2000, 2011])
def test_long_rows_are_searched_by_groups_exactly(rows):
    queries, reference = unit(20, 8, 2), unit(rows, 8, 3)
    similarity, index = top_k(queries, reference, 10)
    expected_similarity, expected_index = by_sorting(queries, reference, 10)
    assert torch.equal(index, expected_index)
    torch.testing.assert_close(similarity, expected_similarity)


@pytest.mark.parametrize("block", [65536, 100])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_ties_come_in_the_order_of_their_index(k, block):
    # Small integers multiply exactly, so equal products are bitwise equal and ties straddle every border.
    draw = torch.Generator().manual_seed(4)
    queries = torch.randint(-1, 2, (12, 4), generator=draw).float()
    reference = torch.randint(-1, 2, (3000, 4), generator=draw).float()
    similarity, index = top_k(queries, reference, k, block=block)
    expected_similarity, expected_index = by_sorting(queries, reference, k)
    assert torch.equal(index, expected_index)
    assert torch.equal(similarity.double(), expected_similarity)


@pytest.mark.parametrize("block", [65536, 3])
def test_a_row_never_finds_itself_when_excluded(block):
    rows = unit(10, 4, 5)
    _, index = top_k(rows, rows, 4, block=block, memory=1000, exclude_self=True)
    assert torch.equal(index, by_sorting(rows, rows, 4, exclude_self=True)[1])
    assert (index != torch.arange(10)[:, None]).all()


def test_more_neighbours_than_rows_gives_all_of_them():
    rows = unit(4, 3, 6)
    assert top_k(rows, rows, 99)[1].sort(1).values.tolist() == [[0, 1, 2, 3]] * 4
    assert top_k(rows, rows, 99, exclude_self=True)[1].shape == (4, 3)
    assert top_k(rows[:1], rows[:1], 5, exclude_self=True)[1].shape == (1, 0)


def test_half_precision_finds_nearly_all_and_reports_float32():
    queries, reference = unit(50, 64, 7).float(), unit(2000, 64, 8).float()
    similarity, index = top_k(queries, reference, 20, dtype=torch.bfloat16)
    exact = top_k(queries, reference, 20)[1]
    shared = sum(len(set(a) & set(b)) for a, b in zip(index.tolist(), exact.tolist(), strict=True)) / exact.numel()
    assert similarity.dtype == torch.float32
    assert shared > 0.9


def test_merged_shards_equal_one_search():
    queries, reference = unit(6, 4, 9), unit(40, 4, 10)
    parts = []
    for start in range(0, 40, 13):
        similarity, index = top_k(queries, reference[start : start + 13], 8)
        parts.append((similarity, index + start))
    merged = merge(*parts, k=8)
    assert torch.equal(merged[1], top_k(queries, reference, 8)[1])


def test_merge_keeps_the_lower_index_of_a_tie_whatever_the_order_of_the_parts():
    first = (torch.tensor([[0.5, 0.2]]), torch.tensor([[7, 8]]))
    second = (torch.tensor([[0.5, 0.5]]), torch.tensor([[1, 3]]))
    assert merge(first, second, k=2)[1].tolist() == [[1, 3]]


def test_search_leaves_no_graph_behind():
    rows = unit(5, 3, 11).requires_grad_()
    assert not top_k(rows, rows, 2)[0].requires_grad


def test_scaled_products_find_what_scaled_rows_would():
    generator = torch.Generator().manual_seed(0)
    queries, reference = torch.randn(7, 5, generator=generator), torch.randn(90, 5, generator=generator)
    scale = torch.rand(90, generator=generator) + 0.1
    expected = top_k(queries, scale[:, None] * reference, 9)
    for memory in (2**28, 4000):
        found = top_k(queries, reference, 9, memory=memory, scale=scale)
        assert torch.equal(found[1], expected[1])
        torch.testing.assert_close(found[0], expected[0])


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("columns", [40, 160])
def test_parts_joined_on_the_way_lose_nothing(columns, ties):
    # Blocks of 16 rows at 6 neighbours: parts are joined after every second block.
    draw = torch.Generator().manual_seed(3)
    queries = torch.randint(-1, 2, (5, 4), generator=draw).double()
    reference = torch.randint(-1, 2, (columns, 4), generator=draw).double()
    if not ties:
        reference += 1e-3 * torch.randn(columns, 4, generator=draw).double()
        queries += 1e-3 * torch.randn(5, 4, generator=draw).double()
    similarity, index = top_k(queries, reference, 6, block=16, ties=ties)
    expected_similarity, expected_index = by_sorting(queries, reference, 6)
    assert torch.equal(index, expected_index)
    torch.testing.assert_close(similarity, expected_similarity)
