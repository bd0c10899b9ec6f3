"""Claims about the losses of InvP: against plain loops over sets, finite differences and their limits."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from viewkin import losses
from viewkin.losses import Denominator, Nearest, Positives
from viewkin.ops import bank_rows

B, D, N, TAU = 3, 4, 11, 0.3
INDEX = torch.tensor([10, 0, 4])
KIN = torch.tensor([[1, 2, 2, 7, 10, 3], [3, 5, -1, 8, 9, -1], [0, 0, 1, 2, 6, 5]])
"""Columns as a walk finds them (repeats, and the anchor 10 itself) and as a search does (-1)."""


def rows(count: int, dim: int = D, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64))


BANK = rows(N, seed=1)


def around(
    q: Tensor, m: int, form: Denominator, kin: Positives | None = None, bank: Tensor = BANK, index: Tensor = INDEX
) -> Nearest:
    return losses.nearest_sums(q, bank, index, m, TAU, positives=kin, denominator=form)


def instance(q: Tensor, m: int, form: Denominator) -> Tensor:
    return losses.nearest_instance_loss(around(q, m, form), form)


def kin_of(q: Tensor, image: Tensor = KIN, bank: Tensor = BANK) -> Positives:
    return Positives(image, losses.bank_similarity(q, bank, image))


def pull(
    q: Tensor, m: int, p: int, form: Denominator, image: Tensor = KIN, *, easy: bool = False, **how: bool
) -> Tensor:
    if form == "paper":
        image = image.masked_fill(image == INDEX.unsqueeze(1), -1)
    kin = kin_of(q, image)
    return losses.propagation_loss(
        around(q, m, form, kin), losses.choose_positives(kin, p, easy=easy), TAU, form, **how
    )


def same(value: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(value.detach(), torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)


# ---------------------------------------------------------------- the formulas as loops


def exps(v: Tensor) -> list[float]:
    return [math.exp(sum(float(x) * float(y) for x, y in zip(v, row)) / TAU) for row in BANK]


def loop_code(v: Tensor, i: int, kin: list[int], m: int, p: int, easy: bool, exclusive: bool) -> tuple[float, float]:
    e = exps(v)
    total = sum(sorted(e, reverse=True)[:m])
    found = sorted((e[j] for j in kin if j >= 0), reverse=easy)[:p]
    ratio = sum(found) / (total - e[i] if exclusive else total)
    return -math.log(e[i] / total + 1e-7), -math.log(ratio + 1e-7)


def loop_paper(v: Tensor, i: int, kin: list[int], m: int, p: int) -> tuple[float, float]:
    e = exps(v)
    nearest = sorted((j for j in range(N) if j != i), key=lambda j: -e[j])[:m]
    found = sorted(j for j in set(kin) if j not in (i, -1))
    hard = sorted(found, key=lambda j: e[j])[:p]
    part = sum(e[j] for j in hard)
    instance = -math.log(e[i] / (e[i] + sum(e[j] for j in nearest)))
    return instance, -math.log(part / (part + sum(e[j] for j in nearest if j not in found)))


@pytest.mark.parametrize("m", [3, 6, 11])
@pytest.mark.parametrize("p", [1, 3, 50])
@pytest.mark.parametrize(("easy", "exclusive"), [(False, True), (True, True), (False, False)])
def test_code_form_is_its_formula(m, p, easy, exclusive):
    q = rows(B)
    expected = [
        loop_code(v, i, k, m, p, easy, exclusive) for v, i, k in zip(q, INDEX.tolist(), KIN.tolist(), strict=True)
    ]
    same(instance(q, m, "code"), [ins for ins, _ in expected])
    same(pull(q, m, p, "code", easy=easy, exclusive=exclusive), [inv for _, inv in expected])


@pytest.mark.parametrize("m", [2, 6, 10])
@pytest.mark.parametrize("p", [1, 3, 50])
def test_paper_form_is_its_formula_over_sets(m, p):
    q = rows(B)
    once = torch.tensor([[1, 2, 7, 10, 3, -1], [3, 5, -1, 8, 9, -1], [0, 1, 2, 6, 5, -1]])
    expected = [loop_paper(v, i, k, m, p) for v, i, k in zip(q, INDEX.tolist(), once.tolist(), strict=True)]
    same(instance(q, m, "paper"), [ins for ins, _ in expected])
    same(pull(q, m, p, "paper", once), [inv for _, inv in expected])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixed_loss_is_its_formula(share):
    p, r = torch.tensor([0.2, 1e-9], dtype=torch.float64), torch.tensor([0.5, 1e-12], dtype=torch.float64)
    a = torch.full((2,), share, dtype=torch.float64)
    log_p, log_r = p.log().requires_grad_(), r.log().requires_grad_()
    found = losses.mixed_instance_loss(log_p, log_r, a)
    same(found, [-math.log(share * float(x) + (1 - share) * float(y) + 1e-7) for x, y in zip(p, r)])
    found.sum().backward()
    assert log_p.grad is not None
    assert log_p.grad.isfinite().all()


def test_similarity_to_rows_of_its_own_is_a_gather_in_blocks_of_any_size(monkeypatch):
    q, columns = rows(B).requires_grad_(), KIN.clamp(min=0)
    dense = torch.einsum("bd,bcd->bc", q, BANK[columns])
    weight = rows(B, 6, seed=3)
    (expected,) = torch.autograd.grad((dense * weight).sum(), q)
    for gathered in (1, 50, 2**24):
        monkeypatch.setattr(bank_rows, "GATHERED", gathered)
        found = losses.bank_similarity(q, BANK, KIN)
        torch.testing.assert_close(found, dense)
        torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), q)[0], expected)
    known = losses.bank_similarity(q, BANK, KIN, dense.detach())
    assert torch.equal(known, dense.detach())
    torch.testing.assert_close(torch.autograd.grad((known * weight).sum(), q)[0], expected)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("form", ["code", "paper"])
def test_gradients_agree_with_finite_differences(form):
    q = rows(B).requires_grad_()
    assert gradcheck(lambda q: instance(q, 7, form), (q,))
    for exclusive in (True, False):
        assert gradcheck(lambda q, one=exclusive: pull(q, 7, 3, form, exclusive=one), (q,))
    # Nor where all that is near is kin, and the own row is far.
    everyone = torch.stack([torch.tensor([j for j in range(N) if j != i]) for i in INDEX.tolist()])
    assert gradcheck(lambda q: pull(q, 4, 50, form, everyone) + instance(-q, 4, form), (q,))


def test_gradient_of_mixed_agrees_with_finite_differences():
    share, log_p, log_r = torch.full((B,), 0.3).double(), -rows(1, B)[0].abs(), -rows(1, B, seed=1)[0].abs()
    mixed = (log_p.requires_grad_(), log_r.requires_grad_())
    assert gradcheck(lambda a, b: losses.mixed_instance_loss(a, b, share), mixed)


def test_bank_gets_no_gradient():
    q, bank = rows(B).requires_grad_(), BANK.clone().requires_grad_()
    losses.bank_similarity(q, bank, KIN).sum().backward()
    assert q.grad is not None
    assert q.grad.abs().sum() > 0
    assert bank.grad is None


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("form", ["code", "paper"])
def test_hard_and_easy_are_one_where_all_are_chosen(form):
    q = rows(B)
    torch.testing.assert_close(pull(q, 5, 6, form), pull(q, 5, 6, form, easy=True))
    assert not torch.allclose(pull(q, 5, 2, form), pull(q, 5, 2, form, easy=True))


@pytest.mark.parametrize("m", [3, 10])
def test_kin_of_all_other_images_leave_nothing_to_tell_from(m):
    q = rows(B)
    everyone = torch.stack([torch.tensor([j for j in range(N) if j != i]) for i in INDEX.tolist()])
    same(pull(q, m, N, "paper", everyone), [0.0] * B)


def test_all_candidates_are_the_full_softmax():
    q = rows(B)
    full = -losses.instance_log_probability(q, BANK, INDEX, TAU)
    torch.testing.assert_close(instance(q, N - 1, "paper"), full)
    floored = -(torch.exp(-full) + 1e-7).log()
    torch.testing.assert_close(instance(q, N, "code"), floored, rtol=1e-12, atol=0)


def test_one_logarithm_lets_the_most_similar_of_the_hard_ones_weigh_most():
    q = rows(B).requires_grad_()
    kin = Positives(torch.tensor([[1, 2]] * B), torch.tensor([[0.1, 0.6]] * B, dtype=torch.float64).requires_grad_())
    losses.propagation_loss(around(q, 6, "code"), losses.choose_positives(kin, 2), 0.1, "code").sum().backward()
    assert kin.similarity.grad is not None
    weak, strong = kin.similarity.grad.abs()[0].tolist()
    assert strong / weak == pytest.approx(math.exp(5))


@pytest.mark.parametrize("form", ["code", "paper"])
def test_an_anchor_without_kin_costs_nothing_and_its_gradient_is_zero(form):
    q = rows(B).requires_grad_()
    image = KIN.clone()
    image[1] = -1
    loss = pull(q, 5, 3, form, image)
    assert loss[1] == 0
    loss.sum().backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()
    assert not q.grad[1].any()
    assert q.grad[0].any()


def test_kin_far_from_the_nearest_may_cost_less_than_nothing():
    q = rows(B)
    assert (pull(q, 2, 50, "code", torch.arange(N).expand(B, N)) < 0).all()


def test_code_subtracts_an_own_row_that_is_not_among_the_nearest():
    q = -BANK[INDEX]  # the own row is the last of all
    e = torch.exp(q @ BANK.T / TAU)
    top = e.topk(4).values.sum(1)
    assert not around(q, 4, "code").inside.any()
    expected = -torch.log(e.gather(1, KIN.clamp(min=0)).masked_fill(KIN < 0, 0).sum(1) / (top - e[range(B), INDEX]))
    torch.testing.assert_close(pull(q, 4, 50, "code"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("tau", [0.07, 0.01, 0.004])
def test_losses_stay_finite_at_any_temperature(form, tau):
    bank, index = rows(50, 16, seed=2).float(), torch.arange(B)
    for sign in (1.0, -1.0):  # the own row first of all, and last
        q = (sign * bank[:B]).requires_grad_()
        kin = kin_of(q, torch.tensor([[7, 8]] * B), bank)
        nearest = losses.nearest_sums(q, bank, index, 10, tau, positives=kin, denominator=form)
        loss = losses.propagation_loss(nearest, losses.choose_positives(kin, 2), tau, form)
        loss = loss + losses.nearest_instance_loss(nearest, form)
        (gradient,) = torch.autograd.grad(loss.sum(), q, retain_graph=True)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()


# ---------------------------------------------------------------- the threshold, from a sample


def clustered(count: int, dim: int = 32) -> Tensor:
    """Rows around 20 centres, as features are, and in turn, as labelled sets may come."""
    return losses.unit(rows(20, dim)[torch.arange(count) % 20] + 0.3 * rows(count, dim, seed=2) * dim**0.25)


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("m", [300, 1000, 2500])
def test_a_sampled_threshold_is_near_the_exact_one(form, m):
    bank, index = clustered(3000), torch.arange(40)
    q = losses.unit(bank[:40] + 0.1 * rows(40, 32, seed=3)).requires_grad_()
    image = torch.randint(3000, (40, 20), generator=torch.Generator().manual_seed(0))
    image = image.masked_fill(image == index[:, None], -1)

    def found(edge: int) -> tuple[Tensor, Tensor]:
        kin = kin_of(q, image, bank)
        nearest = losses.nearest_sums(q, bank, index, m, TAU, positives=kin, denominator=form, edge=edge)
        loss = losses.nearest_instance_loss(nearest, form)
        loss = loss + losses.propagation_loss(nearest, losses.choose_positives(kin, 5), TAU, form)
        return loss.detach(), torch.autograd.grad(loss.sum(), q)[0]

    (exact, slope), errors, turns = found(m), [], []
    for edge in (8, 32, 128):
        near, leaning = found(edge)
        errors.append(float((near - exact).abs().max()))
        turns.append(float(((leaning - slope).norm(dim=1) / slope.norm(dim=1)).max()))
    # The threshold errs by 1 / sqrt(edge), the sums by its square.
    assert errors[-1] < 1 / 128
    assert errors[-1] < errors[1] < errors[0]
    assert turns[-1] < 1 / 128**0.5


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("kind", ["float64", "bfloat16"])
def test_where_all_rows_are_the_nearest_no_sample_is_needed(form, kind):
    bank, index = clustered(1000), torch.arange(40)
    bank = bank.to(getattr(torch, kind))
    q = losses.unit(rows(40, 32, seed=3)).requires_grad_()
    for m in (999, 1000) if form == "code" else (999,):
        logits = (q if kind == "float64" else q.bfloat16()).double() @ bank.double().T / TAU
        own = logits.gather(1, index[:, None]).squeeze(1)
        total = logits.topk(m, dim=1).values.logsumexp(1)
        if form == "code":
            expected = -((own - total).exp() + 1e-7).log()
        else:
            expected = logits.logsumexp(1) - own
        nearest = losses.nearest_sums(q, bank, index, m, TAU, denominator=form, edge=50)
        found = losses.nearest_instance_loss(nearest, form)
        exact = {"rtol": 1e-9, "atol": 1e-9} if kind == "float64" else {"rtol": 0.02, "atol": 0.02}
        torch.testing.assert_close(found, expected, **exact)
        if kind == "float64":
            slopes = [torch.autograd.grad(loss.sum(), q)[0] for loss in (found, expected)]
            torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-8)
        assert nearest.images.shape[1] >= 50


def test_images_told_are_some_of_the_nearest_of_all_ranks():
    bank, index = clustered(3000), torch.arange(40)
    q = losses.unit(bank[:40] + 0.1 * rows(40, 32, seed=3))
    order = (q @ bank.T).scatter(1, index[:, None], -2).argsort(1, descending=True)
    exact, some = (losses.nearest_sums(q, bank, index, 1000, TAU, edge=edge).images for edge in (1000, 100))
    assert torch.equal(exact, order[:, :1000:3])
    assert some.shape == (40, 100)
    rank = order.argsort(1).gather(1, some)
    assert (rank.diff(dim=1) > 0).all()  # nearest first, each once, the own image never
    assert int(rank.max()) < 1400
    assert float(rank.double().mean()) == pytest.approx(500, abs=50)


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize("width", [1.0, 0.3, 0.15])
def test_rows_of_a_narrow_cone_are_told_apart(form, cast, width):
    # As a random network's are: at a mean cosine of 0.98 all of them round to five values of bfloat16.
    centre, index = rows(1, 32, seed=5).float(), torch.arange(32)
    bank = losses.unit(centre + width * rows(4000, 32, seed=6).float())
    q = losses.unit(centre + width * rows(32, 32, seed=7).float()).requires_grad_()

    def found(edge: int) -> tuple[Tensor, Tensor]:
        loss = losses.nearest_instance_loss(
            losses.nearest_sums(q, bank, index, 600, 0.2, denominator=form, edge=edge), form
        )
        return loss.detach(), torch.autograd.grad(loss.sum(), q)[0]

    exact, slope = found(600)
    with torch.autocast("cpu", torch.bfloat16, enabled=cast):
        near, leaning = found(128)
    torch.testing.assert_close(near, exact, rtol=0, atol=0.01)
    assert float((leaning - slope).norm() / slope.norm()) < 0.05


def test_a_sample_of_one_row_still_teaches():
    bank = rows(1000, 16).float()
    q = bank[:8].clone().requires_grad_()
    loss = losses.nearest_instance_loss(losses.nearest_sums(q, bank, torch.arange(8), 64, TAU, edge=1))
    (gradient,) = torch.autograd.grad(loss.sum(), q)
    assert loss.isfinite().all()
    assert (loss < 7).all()
    assert (gradient.norm(dim=1) > 0.01).all()


def test_losses_under_autocast_stay_near_and_wide():
    bank, index = clustered(2000).float(), torch.arange(8)
    q = losses.unit(bank[:8] + 0.1 * rows(8, 32, seed=3).float()).requires_grad_()
    image = torch.randint(2000, (8, 20), generator=torch.Generator().manual_seed(0))

    def loss() -> Tensor:
        kin = kin_of(q, image, bank)
        nearest = losses.nearest_sums(q, bank, index, 500, 0.1, positives=kin)
        return losses.propagation_loss(nearest, losses.choose_positives(kin, 5), 0.1)

    plain = loss()
    with torch.autocast("cpu", torch.bfloat16):
        cast = loss()
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast, plain, rtol=0, atol=0.02)


@pytest.mark.parametrize("edge", [64, 4096])
def test_no_matrix_of_all_images_is_made(edge, monkeypatch):
    monkeypatch.setattr("viewkin.ops.nearest_sums.BLOCK", 256)
    monkeypatch.setattr("viewkin.ops.nearest_sums.SCORES", 4096)
    bank, q = rows(4096, 8).float(), rows(4, 8, seed=3).float().requires_grad_()
    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(one.numel() for one in (out if isinstance(out, tuple) else (out,)) if isinstance(one, Tensor))
            return out

    with Watch():
        losses.nearest_instance_loss(
            losses.nearest_sums(q, bank, torch.arange(4), 2048, 0.1, edge=edge)
        ).sum().backward()
    assert max(size for size in sizes if size != bank.numel()) < 4 * 4096 / 2
