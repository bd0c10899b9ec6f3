"""Claims about kin and strangers: who may be drawn, and how often."""

import math

import pytest
import torch
from torch import Tensor

from viewkin import losses
from viewkin.memory import negatives as module
from viewkin.memory.members import Members
from viewkin.memory.negatives import NegativeSampler, draw_from_pool
from viewkin.runtime.draws import Draw

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
    found = MEMBERS.draw_positives(anchor, torch.rand(1, 8000, dtype=torch.float64), itself=itself)[0]
    counts = torch.bincount(found, minlength=N)
    allowed = MEMBERS.labels == LABELS[7]
    allowed[7] = itself
    assert torch.equal(counts > 0, allowed)
    assert abs(chi_square(counts[allowed])) < 4


def test_an_image_alone_in_its_cluster_is_its_own_positive():
    labels = torch.tensor([0, 1, 1])
    members = Members.of(labels, torch.tensor([1, 2]))
    chance = torch.rand(3, 50, dtype=torch.float64)
    found = members.draw_positives(torch.arange(3), chance, itself=False)
    assert set(found[0].tolist()) == {0}
    assert set(found[1].tolist()) == {2}
    assert set(found[2].tolist()) == {1}


@pytest.mark.parametrize("chance", [0.0, 1 - 2**-53])
def test_kin_and_strangers_stay_in_range_at_the_ends_of_chance(chance):
    ends = torch.full((N, 1), chance, dtype=torch.float64)
    everyone = torch.arange(N)
    for itself in (True, False):
        assert torch.equal(LABELS[MEMBERS.draw_positives(everyone, ends, itself=itself)[:, 0]], LABELS)
    assert (LABELS[MEMBERS.draw_negatives(everyone, ends)[:, 0]] != LABELS).all()


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
    place, bad = draw_from_pool(same, torch.rand(400, 6), again)
    assert not bad.any()
    assert not same.gather(1, place).any()
    none_own = torch.zeros_like(same)
    place, _ = draw_from_pool(none_own, torch.rand(400, 6), again)
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
@pytest.mark.parametrize("name", ["semihard", "semieasy"])
def test_a_candidate_is_drawn_once_and_every_row_as_often_as_others(name, shared):
    drawing, times = sampler(name, negatives=20, pool=0.5, form="candidates", shared=shared), torch.zeros(N)
    members = Members.of(torch.arange(N), torch.ones(N, dtype=torch.int64))  # own row apart, nobody is kin
    q, bank = rows(B, seed=1), rows(1).expand(N, -1)  # all alike: none is nearer
    for step in range(400):
        found = drawing(q, INDEX, bank, members, draw_of(step), "n").images
        for row in found.tolist():
            kept = [image for image in row if image >= 0]
            assert len(set(kept)) == len(kept)
        if not shared:
            assert len({tuple(sorted(row)) for row in found.tolist()}) > 1
        drawn = drawing._shared(N, draw_of(step), "n") if shared else drawing._of_each(N, draw_of(step), "n")[0]
        assert len(drawn.unique()) == 40
        times += torch.bincount(drawn, minlength=N)
    assert chi_square(times) < 4
    assert abs(float(times.mean()) - 400 * 40 / N) < 1e-3


def test_few_candidates_of_very_many_rows_cost_what_they_are(monkeypatch):
    monkeypatch.setattr(torch, "randperm", None)  # calling it would fail
    drawn = sampler("semihard", negatives=10, pool=0.1, form="candidates")._shared(10**9, draw_of(), "n")
    assert len(drawn.unique()) == 100
    assert int(drawn.max()) > 10**8


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


# ---------------------------------------------------------------- candidates cut at a threshold


def expected_log_sum(found, temperature: float) -> Tensor:
    return (found.similarity / temperature).logsumexp(1)


@pytest.mark.parametrize("name", ["semihard", "hard", "random", "semieasy"])
@pytest.mark.parametrize(("form", "shared"), [("exact", True), ("candidates", False)])
def test_where_negatives_are_named_the_log_sum_is_theirs(name, form, shared):
    drawing = sampler(name, form=form, shared=shared)
    arguments = (Q, INDEX, BANK, MEMBERS, draw_of(), "negatives")
    value, images = drawing.log_sum(*arguments, 0.3)
    found = drawing(*arguments)
    torch.testing.assert_close(value, expected_log_sum(found, 0.3))
    assert torch.equal(images, found.images)


def transcribed(
    name: str,
    drawn: list[int],
    some: int,
    kept: int,
    case: tuple[Tensor, Tensor, Tensor, Tensor],
    temperature: float,
    alike: float = 1e-12,
) -> tuple[Tensor, Tensor]:
    """Log sums (B,) and the gradient (B, D) of each one's own, in float64: the cut is the ``kept``-th of the first."""
    q, index, bank, labels = case
    p, values = q.double().clone().requires_grad_(), []
    for row, i in enumerate(index.tolist()):
        similarity = {j: float(p[row].detach() @ bank[j].double()) for j in drawn}
        own = {j for j in drawn if labels[j] == labels[i]}
        looked_at = sorted(similarity[j] for j in drawn[:some] if j not in own)
        others = [j for j in drawn if j not in own]
        if name == "semihard" and len(looked_at) >= kept:
            others = [j for j in others if similarity[j] >= looked_at[-kept] - alike]
        if name == "semieasy" and len(looked_at) >= kept:
            others = [j for j in others if similarity[j] <= looked_at[kept - 1] + alike]
        values.append(((p[row] @ bank[others].double().T) / temperature).logsumexp(0))
    value = torch.stack(values)
    return value.detach(), torch.autograd.grad(value.sum(), p)[0]


def pooled(drawing: NegativeSampler, case, temperature: float, precision: str = "float32", step: int = 0):
    """Log sums, their gradient, what monitors see, and the candidates drawn."""
    q, index, bank, labels = case
    members, draw = Members.of(labels, torch.bincount(labels)), Draw(0, step, len(q), 0, len(q))
    q = q.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        value, images = drawing.log_sum(q, index, bank, members, draw, "negatives", temperature)
    (gradient,) = torch.autograd.grad(value.sum(), q)
    generator = draw.generator("negatives")
    if drawing.sampler == "random":
        drawn = torch.randint(len(bank), (drawing.negatives,), generator=generator)
    else:
        drawn = torch.randperm(len(bank), generator=generator)[: round(drawing.negatives / drawing.pool)]
    return value.detach(), gradient, images, drawn.tolist()


@pytest.mark.parametrize("name", ["semihard", "random", "semieasy"])
def test_the_pooled_log_sum_and_its_gradient_are_those_of_the_candidates_kept(name, monkeypatch):
    monkeypatch.setattr("viewkin.ops.pool_sum.block_of", lambda bank: 7)
    monkeypatch.setattr(module, "THRESHOLD_SAMPLE", 20)
    case = (Q, INDEX, BANK, LABELS)
    value, gradient, images, drawn = pooled(sampler(name, negatives=12, pool=0.3, form="candidates"), case, 0.3)
    expected = transcribed(name, drawn, 20, 6, case, 0.3)
    torch.testing.assert_close((value, gradient), expected)
    for row, i in enumerate(INDEX.tolist()):
        first = [j for j in drawn[:20] if LABELS[j] != LABELS[i]]
        first.sort(key=lambda j, row=row: float(Q[row] @ BANK[j]), reverse=name == "semihard")
        seen = [j for j in images[row].tolist() if j >= 0]
        assert sorted(seen) == sorted(first if name == "random" else first[:6])


AROUND = rows(3000, 64, seed=8).bfloat16().float()
CONE = losses.unit(4 * rows(1, 64, seed=7) + AROUND).bfloat16().float()
"""Rows whose similarities to each other differ little; neither set is rounded by bfloat16."""


@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-5), ("bfloat16", 0.008)])
@pytest.mark.parametrize("bank", [AROUND, CONE], ids=["all around", "a cone"])
@pytest.mark.parametrize("temperature", [0.0625, 0.25])
@pytest.mark.parametrize("name", ["semihard", "random", "semieasy"])
def test_rounding_moves_no_candidate_over_the_threshold(name, temperature, bank, precision, bound):
    q = losses.unit(bank[:B] + 0.3 * bank[100 : 100 + B]).bfloat16().float()
    case = (q, torch.arange(B), bank, torch.arange(3000) % 30)
    drawing = sampler(name, negatives=300, pool=0.1, form="candidates")
    value, gradient, _, drawn = pooled(drawing, case, temperature, precision)
    expected, slope = transcribed(name, drawn, 3000, 300, case, temperature, 1e-6)  # what float32 cannot tell apart
    assert (value - expected).abs().max() < bound
    assert ((gradient - slope).norm(dim=1) / slope.norm(dim=1)).max() < bound


@pytest.mark.parametrize("temperature", [0.005, 0.03, 0.2])
@pytest.mark.parametrize("name", ["semihard", "random", "semieasy"])
def test_where_few_are_strangers_all_of_them_count_at_any_temperature(name, temperature):
    labels = torch.zeros(N, dtype=torch.int64).index_fill(0, torch.tensor([3, 20, 41, 55]), 1)
    case = (Q.float(), INDEX, BANK.float(), labels)
    value, gradient, _, drawn = pooled(sampler(name, negatives=24, form="candidates"), case, temperature)
    torch.testing.assert_close(
        (value, gradient), transcribed(name, drawn, 60, 24, case, temperature), check_dtype=False, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("form", "shared"), [("exact", True), ("candidates", True), ("candidates", False)])
@pytest.mark.parametrize("name", ["semihard", "random", "semieasy"])
def test_a_query_without_a_stranger_has_no_loss_and_no_gradient(name, form, shared):
    members = Members.of(torch.zeros(N, dtype=torch.int64), torch.tensor([N]))
    q = Q.clone().requires_grad_()
    value, images = sampler(name, form=form, shared=shared).log_sum(q, INDEX, BANK, members, draw_of(), "n", 0.1)
    assert (images == -1).all()
    loss = losses.nce_of_sum((q * BANK[INDEX]).sum(1), value, 0.1)
    loss.sum().backward()
    assert torch.equal(loss, torch.zeros_like(loss))
    assert torch.equal(q.grad, torch.zeros_like(q))


@pytest.mark.parametrize("far", [False, True])
def test_a_threshold_beyond_all_candidates_leaves_none(far):
    q, least = Q.clone().requires_grad_(), torch.full((B,), -11.0 if far else 11.0)
    value = losses.pool_log_sum(q, BANK, torch.arange(N), LABELS, LABELS[INDEX], least, 0.1, far=far)
    assert value.isneginf().all()
    (gradient,) = torch.autograd.grad(value.sum(), q)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_nce_of_a_sum_is_nce_of_its_parts():
    positive, negative = torch.rand(5, dtype=torch.float64), torch.rand(5, 9, dtype=torch.float64)
    whole = losses.info_nce_of(positive, negative, 0.2, -0.5)
    torch.testing.assert_close(losses.nce_of_sum(positive, (negative / 0.2).logsumexp(1), 0.2, -0.5), whole)


@pytest.mark.parametrize("name", ["semihard", "random"])
def test_ranks_sum_over_the_candidates_that_one_process_would(name):
    drawing = sampler(name, form="candidates")
    whole, images = drawing.log_sum(Q, INDEX, BANK, MEMBERS, draw_of(), "negatives", 0.2)
    for part in (slice(0, 3), slice(3, 6)):
        mine = drawing.log_sum(Q[part], INDEX[part], BANK, MEMBERS, draw_of(0, part), "negatives", 0.2)
        torch.testing.assert_close(mine[0], whole[part])
        assert torch.equal(mine[1], images[part])


@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", ["semihard", "semieasy"])
def test_a_candidate_at_the_threshold_is_in_however_many_queries_are_compared_at_once(name, precision):
    bank, q, labels = rows(24, 32, seed=8), rows(16, 32, seed=9), torch.arange(24) % 3
    if precision != "float64":
        bank, q = bank.float(), q.float()
    members, index = Members.of(labels, torch.bincount(labels)), torch.arange(16)
    drawing = sampler(name, negatives=2, pool=0.1, form="candidates")
    hot = 1e4  # every candidate counts 1
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        for step in range(50):
            whole, _ = drawing.log_sum(q, index, bank, members, Draw(0, step, 16, 0, 16), "n", hot)
            for start in range(16):
                one = slice(start, start + 1)
                draw = Draw(0, step, 16, start, start + 1)
                alone, _ = drawing.log_sum(q[one], index[one], bank, members, draw, "n", hot)
                assert int(alone.exp().round()) == int(whole[one].exp().round())


def test_a_bank_in_bfloat16_moves_the_pooled_log_sum_by_less_than_a_hundredth():
    bank, q = rows(4000, 64, seed=8).float(), rows(B, 64, seed=9).float()
    labels = torch.arange(4000) % 100
    members = Members.of(labels, torch.bincount(labels))
    drawing = sampler("semihard", negatives=400, pool=0.1, form="candidates")
    exact, half = (drawing.log_sum(q, INDEX, b, members, draw_of(), "n", 0.2)[0] for b in (bank, bank.bfloat16()))
    assert (exact - half).abs().max() < 0.01


def inclusion_by_threshold(n: int = 2000, k: int = 60, pool: float = 0.1, steps: int = 60) -> Tensor:
    """As :func:`inclusion`. Each row has a coordinate of its own, where the gradient shows how often it was summed."""
    seen = torch.cat([rows(n, seed=3), 1e-3 * torch.eye(n, dtype=torch.float64)], 1)
    q = torch.cat([rows(32, seed=4), torch.zeros(32, n, dtype=torch.float64)], 1).requires_grad_()
    labels = torch.arange(n) % 1000
    members, index, hot = Members.of(labels, torch.bincount(labels)), torch.arange(32), 1e4
    rank = (q[:, :6] @ seen[:, :6].T).argsort(1, descending=True).argsort(1)
    drawing, used = NegativeSampler("semihard", k, pool, "candidates", True), torch.zeros(n, dtype=torch.float64)
    for step in range(steps):
        value, _ = drawing.log_sum(q, index, seen, members, Draw(0, step, 32, 0, 32), "n", hot)
        (gradient,) = torch.autograd.grad(value.sum(), q)
        times = gradient[:, 6:] * hot / 1e-3 * value.detach().exp().unsqueeze(1)  # all weights are nearly equal
        used.scatter_add_(0, rank.flatten(), times.flatten().round())
    return used / (steps * 32)


@pytest.mark.parametrize("looked_at", [4096, 200])
def test_a_threshold_uses_a_row_by_its_rank_as_the_exact_pool_does(looked_at, monkeypatch):
    monkeypatch.setattr(module, "THRESHOLD_SAMPLE", looked_at)
    exact, found = inclusion("exact", True), inclusion_by_threshold()
    pool, share, seen = 200, 60 / 200, min(looked_at, 600)
    # The threshold is the (seen / 10)-th of the candidates looked at, whose rank varies as its root.
    edge = round(3 * pool / math.sqrt(seen / 10))
    assert float(found[: max(pool - edge, 50)].mean()) == pytest.approx(share, rel=0.05)
    assert float(found[pool + edge :].sum()) < 0.02 * 60
    assert float((found - exact).abs().sum() / 60) < (0.25 if seen == 600 else 0.35)
    assert float(found.sum()) == pytest.approx(60, rel=0.03)
