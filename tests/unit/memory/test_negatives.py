"""Claims about kin and strangers: who may be drawn, and how often."""

import math

import pytest
import torch
from torch import Tensor

from viewkin import losses
from viewkin.draws import Draw
from viewkin.memory import negatives as module
from viewkin.memory.members import Members
from viewkin.memory.negatives import NegativeSampler, drawn_of_pool

N, C, B = 60, 5, 6


def rows(count: int, dim: int = 6, seed: int = 0) -> Tensor:
    return losses.unit(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))).double()


BANK = rows(N)
LABELS = torch.randint(C, (N,), generator=torch.Generator().manual_seed(5))
MEMBERS = Members.of(LABELS, torch.bincount(LABELS, minlength=C))
INDEX = torch.tensor([0, 7, 13, 59, 30, 31])
Q = rows(B, seed=1)


def draw_of(step: int = 0, rows: slice = slice(None), total: int = B) -> Draw:
    start, stop, _ = rows.indices(total)
    return Draw(0, step, total, start, stop)


def sampler(name: str, *, negatives: int = 8, pool: float = 0.4, form: str = "exact", shared: bool = True):
    return NegativeSampler(name, negatives, pool, form, shared)  # type: ignore[arg-type]


def chi_square(counts: Tensor) -> float:
    """Deviation from uniform in standard deviations of a chi-square of these degrees of freedom."""
    expected, free = float(counts.double().mean()), len(counts) - 1
    return (float(((counts.double() - expected) ** 2 / expected).sum()) - free) / math.sqrt(2 * free)


def similarity_of(q: Tensor = Q) -> Tensor:
    return q @ BANK.T


# ---------------------------------------------------------------- kin


def test_members_list_every_cluster_once():
    assert sorted(MEMBERS.order.tolist()) == list(range(N))
    for cluster in range(C):
        first = int(MEMBERS.first[cluster])
        part = MEMBERS.order[first : first + int(MEMBERS.counts[cluster])]
        assert part.tolist() == (MEMBERS.labels == cluster).nonzero().squeeze(1).tolist()
    assert torch.equal(MEMBERS.order[MEMBERS.place], torch.arange(N))


@pytest.mark.parametrize("itself", [True, False])
def test_a_positive_is_uniform_over_the_cluster_with_or_without_the_anchor(itself):
    anchor = torch.tensor([7])
    found = MEMBERS.kin(anchor, torch.rand(1, 8000, dtype=torch.float64), itself=itself)[0]
    counts = torch.bincount(found, minlength=N)
    allowed = MEMBERS.labels == LABELS[7]
    allowed[7] = itself
    assert torch.equal(counts > 0, allowed)
    assert abs(chi_square(counts[allowed])) < 4


def test_an_image_alone_in_its_cluster_is_its_own_positive():
    labels = torch.tensor([0, 1, 1])
    members = Members.of(labels, torch.tensor([1, 2]))
    chance = torch.rand(3, 50, dtype=torch.float64)
    found = members.kin(torch.arange(3), chance, itself=False)
    assert set(found[0].tolist()) == {0}
    assert set(found[1].tolist()) == {2}
    assert set(found[2].tolist()) == {1}


@pytest.mark.parametrize("chance", [0.0, 1 - 2**-53])
def test_kin_and_strangers_stay_in_range_at_the_ends_of_chance(chance):
    ends = torch.full((N, 1), chance, dtype=torch.float64)
    everyone = torch.arange(N)
    for itself in (True, False):
        assert torch.equal(LABELS[MEMBERS.kin(everyone, ends, itself=itself)[:, 0]], LABELS)
    assert (LABELS[MEMBERS.strangers(everyone, ends)[:, 0]] != LABELS).all()


# ---------------------------------------------------------------- negatives, exact


@pytest.mark.parametrize("form", ["exact", "candidates"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", ["semihard", "hard", "random", "semieasy"])
def test_no_negative_has_the_anchors_label_and_its_similarity_is_its_own(name, form, shared):
    found = sampler(name, form=form, shared=shared)(Q, INDEX, BANK, MEMBERS, draw_of(), "negatives")
    images, used = found.images, found.images >= 0
    assert used.any(1).all()
    own = LABELS[INDEX].unsqueeze(1).expand_as(images)
    assert (LABELS[images[used]] != own[used]).all()
    for row in range(B):
        values = found.similarity[row][found.similarity[row].isfinite()]
        mine = similarity_of()[row, images[row][used[row]]]
        torch.testing.assert_close(values.sort().values, mine.sort().values)


def test_hard_negatives_are_the_nearest_of_other_labels():
    found = sampler("hard")(Q, INDEX, BANK, MEMBERS, draw_of(), "negatives").images
    for row, i in enumerate(INDEX.tolist()):
        order = similarity_of()[row].argsort(descending=True).tolist()
        assert found[row].tolist() == [j for j in order if LABELS[j] != LABELS[i]][:8]


def counted(name: str, steps: int, **settings) -> Tensor:
    """How often the query of image 7 drew each image, over steps."""
    counts, one = torch.zeros(N), slice(1, 2)
    for step in range(steps):
        drawing = sampler(name, **settings)
        found = drawing(Q[one], INDEX[one], BANK, MEMBERS, draw_of(step, one), "negatives").images
        counts += torch.bincount(found[found >= 0], minlength=N)
    return counts


@pytest.mark.parametrize("name", ["semihard", "semieasy"])
def test_pooled_negatives_are_uniform_over_the_strangers_of_the_pool(name):
    counts = counted(name, 1500)
    pool = similarity_of()[1].topk(24, largest=name == "semihard").indices
    allowed = torch.zeros(N, dtype=torch.bool).index_fill(0, pool, True) & (MEMBERS.labels != LABELS[7])
    assert torch.equal(counts > 0, allowed)
    # Eight of the pool without replacement vary less than independent draws would.
    assert chi_square(counts[allowed]) < 4


def test_random_negatives_are_uniform_over_all_strangers():
    counts = counted("random", 1500)
    allowed = MEMBERS.labels != LABELS[7]
    assert torch.equal(counts > 0, allowed)
    assert abs(chi_square(counts[allowed])) < 4


def test_a_pool_is_drawn_without_replacement_and_only_own_labels_are_drawn_again():
    same = torch.tensor([[False, True, False, False, True, False]] * 400)
    again = torch.rand(400, 5)
    place, bad = drawn_of_pool(same, torch.rand(400, 6), again)
    assert not bad.any()
    assert not same.gather(1, place).any()
    none_own = torch.zeros_like(same)
    place, _ = drawn_of_pool(none_own, torch.rand(400, 6), again)
    assert all(len(set(row)) == 5 for row in place.tolist())


@pytest.mark.parametrize("form", ["exact", "candidates"])
@pytest.mark.parametrize("name", ["semihard", "hard", "random", "semieasy"])
def test_where_all_images_have_one_label_there_is_no_negative_and_no_nan(name, form):
    members = Members.of(torch.zeros(N, dtype=torch.int64), torch.tensor([N]))
    q = Q.clone().requires_grad_()
    found = sampler(name, form=form)(q, INDEX, BANK, members, draw_of(), "negatives")
    assert (found.images == -1).all()
    loss = losses.info_nce_of((q * BANK[INDEX]).sum(1), found.similarity, 0.1)
    assert torch.equal(loss, torch.zeros_like(loss))
    loss.sum().backward()
    assert torch.equal(q.grad, torch.zeros_like(q))


# ---------------------------------------------------------------- queries at a time, ranks, gradients


@pytest.mark.parametrize(("form", "shared"), [("exact", True), ("candidates", True), ("candidates", False)])
@pytest.mark.parametrize("name", ["semihard", "hard", "random", "semieasy"])
def test_ranks_draw_what_one_process_would_for_any_block(name, form, shared, monkeypatch):
    drawing = sampler(name, form=form, shared=shared)
    whole = drawing(Q, INDEX, BANK, MEMBERS, draw_of(), "negatives")
    monkeypatch.setattr(module, "SCORES", 2 * N)
    for part in (slice(0, 3), slice(3, 6)):
        mine = drawing(Q[part], INDEX[part], BANK, MEMBERS, draw_of(0, part), "negatives")
        assert torch.equal(mine.images, whole.images[part])
        torch.testing.assert_close(mine.similarity, whole.similarity[part])


@pytest.mark.parametrize(("form", "shared"), [("exact", True), ("candidates", True), ("candidates", False)])
@pytest.mark.parametrize("name", ["semihard", "hard", "random", "semieasy"])
def test_the_gradient_is_that_of_the_gathered_rows(name, form, shared):
    drawing = sampler(name, form=form, shared=shared, negatives=6)
    q = Q.clone().requires_grad_()
    found = drawing(q, INDEX, BANK, MEMBERS, draw_of(), "negatives")
    positive = (q * BANK[INDEX]).sum(1)
    (mine,) = torch.autograd.grad(losses.info_nce_of(positive, found.similarity, 0.3).sum(), q)
    p = Q.clone().requires_grad_()
    total = p.new_zeros(())
    for row, i in enumerate(INDEX.tolist()):
        kept = found.images[row][found.images[row] >= 0]
        total = total + losses.info_nce(p[row : row + 1], BANK[i : i + 1], BANK[kept], 0.3).sum()
    (expected,) = torch.autograd.grad(total, p)
    torch.testing.assert_close(mine, expected)


# ---------------------------------------------------------------- candidates against the exact pool


def inclusion(form: str, shared: bool, n: int = 2000, k: int = 60, pool: float = 0.1, steps: int = 60) -> Tensor:
    """How often the row at each rank of similarity (among strangers) is used, a query and step: (N,)."""
    bank, q, index = rows(n, seed=3), rows(32, seed=4), torch.arange(32)
    labels = torch.arange(n) % 1000  # small clusters: the pool is hardly the query's own
    members = Members.of(labels, torch.bincount(labels))
    rank = (q @ bank.T).argsort(1, descending=True).argsort(1)
    used = torch.zeros(n)
    for step in range(steps):
        draw = Draw(0, step, 32, 0, 32)
        found = NegativeSampler("semihard", k, pool, form, shared)(q, index, bank, members, draw, "n")  # type: ignore[arg-type]
        images = found.images
        used += torch.bincount(rank.gather(1, images.clamp_min(0))[images >= 0], minlength=n)
    return used / (steps * 32)


@pytest.mark.parametrize("shared", [True, False])
def test_candidates_use_a_row_by_its_rank_as_the_exact_pool_does(shared):
    exact, candidates = inclusion("exact", True), inclusion("candidates", shared)
    pool, share = 200, 60 / 200
    # Candidates have sqrt(K) noise at the pool's edge: all of the difference lies within a few of its widths.
    edge = round(3 * pool / math.sqrt(60))
    assert float(exact[:pool].mean()) == pytest.approx(share, rel=0.02)
    assert float(exact[pool:].sum()) < 0.2
    assert float(candidates[: pool - edge].mean()) == pytest.approx(share, rel=0.05)
    assert float(candidates[pool + edge :].sum()) < 0.02 * 60
    assert float((candidates - exact).abs().sum() / 60) < 0.25
    assert float(candidates.sum()) == pytest.approx(60, rel=0.01)
