"""Claims about the neighbour graph."""

import pytest
import torch

from viewkin.memory.graph import GraphConfig, NeighbourGraph, name_hops
from viewkin.runtime.errors import UserError

COUNT = 40


def random_graph(k: int = 3, count: int = COUNT, seed: int = 0) -> NeighbourGraph:
    made = NeighbourGraph(count, k)
    generator = torch.Generator().manual_seed(seed)
    made.neighbours.copy_(torch.stack([torch.randperm(count, generator=generator)[:k] for _ in range(count)]))
    return made


def walked(edges: list[list[int]], anchor: int, hops: int) -> list[list[int]]:
    """The walk, path by path."""
    found, ends = [], [anchor]
    for _ in range(hops):
        ends = [after for end in ends for after in edges[end]]
        found.append(ends)
    return found


def searched(edges: list[list[int]], anchor: int, hops: int) -> list[list[int]]:
    """Breadth-first search with a queue and a set, as a textbook has it."""
    seen, border, found = {anchor}, [anchor], []
    for _ in range(hops):
        following = []
        for node in border:
            for after in edges[node]:
                if after not in seen:
                    seen.add(after)
                    following.append(after)
        found.append(following)
        border = following
    return found


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_walk_and_search_are_those_of_a_textbook(hops, k):
    graph, index = random_graph(k), torch.tensor([0, 7, 39, 12, 7])
    edges = graph.neighbours.tolist()
    for hop, reached in enumerate(graph.walk(index, hops)):
        assert reached.tolist() == [walked(edges, i, hops)[hop] for i in index.tolist()]
    for hop, reached in enumerate(graph.bfs(index, hops)):
        assert reached.shape == (5, k ** (hop + 1))
        found = [[i for i in row if i >= 0] for row in reached.tolist()]
        assert found == [searched(edges, i, hops)[hop] for i in index.tolist()]


def test_search_stops_at_what_is_not_connected():
    graph = NeighbourGraph(4, 1)
    graph.neighbours.copy_(torch.tensor([[1], [0], [3], [2]]))
    assert [hop.tolist() for hop in graph.bfs(torch.tensor([0]), 3)] == [[[1]], [[-1]], [[-1]]]
    assert [hop.tolist() for hop in graph.walk(torch.tensor([0]), 3)] == [[[1]], [[0]], [[1]]]


def test_a_row_that_was_never_written_leads_nowhere():
    graph = NeighbourGraph(5, 2)
    index = torch.tensor([0, 3])
    for reached in (graph.walk(index, 2), graph.bfs(index, 2)):
        assert [hop.tolist() for hop in reached] == [[[-1] * 2] * 2, [[-1] * 4] * 2]
    graph.update_(torch.tensor([3]), torch.tensor([[3, 1, 4]]))  # rows 1 and 4 are not written
    assert [hop.tolist() for hop in graph.walk(index, 2)] == [[[-1, -1], [4, 1]], [[-1] * 4] * 2]
    assert [hop.tolist() for hop in graph.bfs(index, 2)] == [[[-1, -1], [4, 1]], [[-1] * 4] * 2]
    graph.update_(torch.tensor([4]), torch.tensor([[4, 3, 2]]))
    assert [hop.tolist() for hop in graph.walk(torch.tensor([3]), 2)] == [[[4, 1]], [[2, 3, -1, -1]]]
    assert [hop.tolist() for hop in graph.bfs(torch.tensor([3]), 2)] == [[[4, 1]], [[2, -1, -1, -1]]]
    graph.update_(torch.tensor([0]), torch.tensor([[0, 2, 3]]))  # which no path from 3 leads to
    assert graph.walk(torch.tensor([3]), 3)[2].tolist() == [[-1, -1, 4, 1, -1, -1, -1, -1]]


def test_reading_changes_nothing():
    graph = random_graph()
    before = graph.neighbours.clone()
    for search in ("walk", "bfs"):
        hops = graph.related_by_hop(torch.arange(COUNT), GraphConfig(neighbours=3, hops=2, search=search))
        assert [hop.shape[1] for hop in hops] == [3, 9]
    hops[0].fill_(5)
    assert torch.equal(graph.neighbours, before)


def test_row_is_the_list_with_the_own_image_replaced_in_place_by_its_last():
    graph = random_graph()
    before = graph.neighbours.clone()
    index = torch.tensor([4, 9, 20])
    graph.update_(index, torch.tensor([[1, 4, 2, 3], [1, 2, 3, 9], [20, 8, 7, 6]]))
    assert graph.neighbours[index].tolist() == [[1, 3, 2], [1, 2, 3], [6, 8, 7]]
    others = [i for i in range(COUNT) if i not in index.tolist()]
    assert torch.equal(graph.neighbours[others], before[others])


def test_churn_is_the_share_of_new_neighbours_in_the_rows_last_written():
    graph = random_graph()
    graph.neighbours[:2] = torch.tensor([[10, 11, 12], [13, 14, 15]])
    graph.update_(torch.tensor([0, 1]), torch.tensor([[12, 10, 30, 31], [16, 17, 18, 19]]))
    assert float(graph.churn) == pytest.approx(4 / 6)
    graph.update_(torch.tensor([0]), torch.tensor([[30, 12, 10, 31]]))
    assert float(graph.churn) == 0


def test_graph_and_churn_are_in_the_state():
    assert set(random_graph().state_dict()) == {"neighbours", "churn"}
    assert random_graph().neighbours.dtype == torch.int64


def test_found_holds_no_more_than_256_images_of_a_hop():
    hops = random_graph(4).walk(torch.tensor([0, 1]), 5)
    found = name_hops("invp", hops)
    assert list(found) == [f"invp/hop{n}" for n in range(1, 6)]
    assert [images.shape[1] for images in found.values()] == [4, 16, 64, 256, 256]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"neighbours": 0}, "neighbours is 0; it must be at least 1"),
        ({"hops": 0}, "hops is 0; it must be at least 1"),
        ({"positives": 0}, "positives is 0; it must be at least 1"),
        ({"search": "dfs"}, "search is 'dfs'; it must be walk or bfs"),
        ({"neighbours": 10, "hops": 4}, "hops is 4; it must be fewer: 10 neighbours give 11110 images"),
    ],
)
def test_bad_settings_are_one_sentence(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        GraphConfig(**settings)
