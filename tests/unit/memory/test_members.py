"""Claims about lists of members that are kept up move by move: at every time what sorting the labels gives."""

import pytest
import torch
from torch import Tensor

from viewkin.memory import members as module
from viewkin.memory.members import MemberLists, Members


def check(lists: MemberLists, labels: Tensor, counts: Tensor) -> None:
    """Every listed image stands once, among those of its label, where its place says."""
    found = lists.members(labels)
    unlisted = (found.place < 0).nonzero().squeeze(1).tolist()
    assert len(unlisted) == int(lists.lost)
    assert int(found.counts.sum()) == len(labels) - len(unlisted)
    for cluster in range(len(counts)):
        first, count = int(found.first[cluster]), int(found.counts[cluster])
        listed = found.order[first : first + count].tolist()
        assert (
            sorted([*listed, *(i for i in unlisted if labels[i] == cluster)])
            == (labels == cluster).nonzero().squeeze(1).tolist()
        )
        assert found.place[listed].tolist() == list(range(first, first + count))


@pytest.mark.parametrize("room", [32, 0])
@pytest.mark.parametrize("seed", range(5))
def test_after_any_moves_the_lists_hold_what_sorting_gives(seed, room, monkeypatch):
    monkeypatch.setattr(module, "ROOM", room)
    generator = torch.Generator().manual_seed(seed)
    n, c = 200, 9
    labels = torch.randint(c, (n,), generator=generator)
    lists = MemberLists(labels, torch.bincount(labels, minlength=c))
    lost = 0
    for step in range(30):
        index = torch.randperm(n, generator=generator)[:40]
        # Clusters that swell and empty, images that stay, and whole clusters that leave.
        new = torch.randint(c, (40,), generator=generator).where(torch.rand(40, generator=generator) < 0.7, step % c)
        old = labels[index]
        lists.move_(index, old, new)
        labels = labels.index_copy(0, index, new)
        check(lists, labels, torch.bincount(labels, minlength=c))
        lost = max(lost, int(lists.lost))
        if int(lists.lost):
            lists.build_(labels, torch.bincount(labels, minlength=c))
            assert int(lists.lost) == 0
            check(lists, labels, torch.bincount(labels, minlength=c))
    assert (lost > 0) == (room == 0), "the test means to meet full clusters, and only where there is no room"


@pytest.mark.parametrize("itself", [True, False])
def test_kin_are_the_listed_of_the_cluster_and_an_unlisted_anchor_may_be_anything_but_lost(itself):
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2])
    lists = MemberLists(labels, torch.tensor([3, 4, 1]))
    lists.place[1], lists.listed[0], lists.lost = -1, 2, torch.tensor(1)
    lists.order[:2] = torch.tensor([0, 2])
    lists.place[2] = 1
    chance = torch.rand(8, 400, dtype=torch.float64)
    found = lists.members(labels).draw_positives(torch.arange(8), chance, itself=itself)
    kin = [set(row) for row in found.tolist()]
    assert kin[1] == {0, 2}
    assert kin[0] == ({0, 2} if itself else {2})
    assert kin[3] == ({3, 4, 5, 6} if itself else {4, 5, 6})
    assert kin[7] == {7}


def test_strangers_are_uniform_over_lists_with_empty_places():
    labels = torch.randint(4, (30,), generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(labels, minlength=4)
    chance = ((torch.arange(3000, dtype=torch.float64) + 0.5) / 3000).expand(30, -1)
    everyone = torch.arange(30)
    found = MemberLists(labels, counts).members(labels).draw_negatives(everyone, chance)
    assert torch.equal(found, Members.of(labels, counts).draw_negatives(everyone, chance))
    for anchor in everyone.tolist():
        drawn = torch.bincount(found[anchor], minlength=30)
        others = labels != labels[anchor]
        assert int(drawn[~others].sum()) == 0
        assert (drawn[others] - 3000 / int(others.sum())).abs().max() <= 1
