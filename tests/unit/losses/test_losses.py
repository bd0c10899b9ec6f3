"""Claims about the losses: against plain loops, finite differences and their limits."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from viewkin import losses
from viewkin.ops import precision

B, D, N, K, TAU = 3, 4, 11, 5, 0.3


def rows(count: int, dim: int = D, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64)).to(dtype)


def dot(a: Tensor, b: Tensor) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------- the formulas as loops


def loop_instance(q: Tensor, bank: Tensor, index: Tensor, tau: float) -> list[float]:
    found = []
    for v, i in zip(q, index, strict=True):
        exps = [math.exp(dot(v, row) / tau) for row in bank]
        found.append(math.log(exps[int(i)] / sum(exps)))
    return found


def loop_info_nce(q: Tensor, k: Tensor, negatives: list[Tensor], tau: float, margin: float) -> list[float]:
    found = []
    for v, positive, others in zip(q, k, negatives, strict=True):
        own = math.exp((dot(v, positive) - margin) / tau)
        found.append(-math.log(own / (own + sum(math.exp(dot(v, other) / tau) for other in others))))
    return found


def loop_binary_nce(positive: Tensor, negative: Tensor, tau: float, count: int, z: float) -> list[float]:
    found = []
    for s, noise in zip(positive, negative, strict=True):
        base = len(noise) / count
        p = math.exp(float(s) / tau) / z
        total = math.log(p / (p + base + 1e-7))
        for t in noise:
            p = math.exp(float(t) / tau) / z
            total += math.log(base / (p + base + 1e-7))
        found.append(-total)
    return found


def loop_nt_xent(first: Tensor, second: Tensor, tau: float) -> list[float]:
    everything, b = [*first, *second], len(first)
    found = []
    for a in range(2 * b):
        partner = (a + b) % (2 * b)
        total = sum(math.exp(dot(everything[a], everything[c]) / tau) for c in range(2 * b) if c != a)
        found.append(-math.log(math.exp(dot(everything[a], everything[partner]) / tau) / total))
    return found


def same(value: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(value.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 11, 12, 8192])
def test_instance_log_probability_is_its_formula_for_any_block(block):
    q, bank, index = rows(B), rows(N, seed=1), torch.tensor([10, 0, 4])
    same(losses.instance_log_probability(q, bank, index, TAU, block), loop_instance(q, bank, index, TAU))


@pytest.mark.parametrize("block", [1, 3, 8192])
def test_gradient_of_the_blockwise_pass_is_that_of_the_dense_one(block):
    q, bank, index = rows(B).requires_grad_(), rows(N, seed=1), torch.tensor([10, 0, 4])
    weight = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    dense = (q @ bank.T / TAU).log_softmax(1).gather(1, index[:, None]).squeeze(1)
    (expected,) = torch.autograd.grad((dense * weight).sum(), q)
    blockwise = losses.instance_log_probability(q, bank, index, TAU, block)
    (found,) = torch.autograd.grad((blockwise * weight).sum(), q)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("margin", [0.0, -0.5, 0.35])
@pytest.mark.parametrize("shared", [True, False])
def test_info_nce_is_its_formula(margin, shared):
    q, k = rows(B), rows(B, seed=1)
    negatives = rows(K, seed=2) if shared else rows(B * K, seed=2).view(B, K, D)
    expected = loop_info_nce(q, k, [negatives] * B if shared else list(negatives), TAU, margin)
    same(losses.info_nce(q, k, negatives, TAU, margin), expected)


def test_binary_nce_is_its_formula():
    positive, negative = rows(1, B)[0], rows(B, K, seed=1)
    same(losses.binary_nce(positive, negative, TAU, N, 7.5), loop_binary_nce(positive, negative, TAU, N, 7.5))


def test_partition_estimate_is_n_times_the_mean():
    positive, negative = rows(1, B)[0], rows(B, K, seed=1)
    everything = [math.exp(float(s) / TAU) for s in [*positive, *negative.flatten()]]
    same(losses.partition_estimate(positive, negative, TAU, N), N * sum(everything) / len(everything))


def test_nt_xent_is_its_formula():
    first, second = rows(B), rows(B, seed=1)
    same(losses.nt_xent(first, second, TAU), loop_nt_xent(first, second, TAU))


def test_a_margin_of_nt_xent_is_taken_off_the_partner_alone():
    first, second = rows(B), rows(B, seed=1)
    everything, expected = torch.cat([first, second]), []
    for a in range(2 * B):
        partner = (a + B) % (2 * B)
        own = math.exp((dot(everything[a], everything[partner]) - 0.3) / TAU)
        others = sum(math.exp(dot(everything[a], everything[c]) / TAU) for c in range(2 * B) if c not in (a, partner))
        expected.append(-math.log(own / (own + others)))
    same(losses.nt_xent(first, second, TAU, margin=0.3), expected)


def test_nt_xent_of_some_rows_is_those_rows_of_the_whole():
    first, second = rows(6), rows(6, seed=1)
    whole = losses.nt_xent(first, second, TAU)
    part = losses.nt_xent(first, second, TAU, slice(2, 4))
    same(part, [*whole[2:4].tolist(), *whole[8:10].tolist()])


@pytest.mark.parametrize("reading", ["sumce", "mean", "logsum"])
def test_two_view_loss_is_its_formula(reading):
    log_p, log_p_hat = -rows(1, B)[0].abs(), -rows(1, B, seed=1)[0].abs()
    formula = {
        "sumce": lambda p, r: -math.log(p) - math.log(r),
        "mean": lambda p, r: (-math.log(p) - math.log(r)) / 2,
        "logsum": lambda p, r: -math.log(p + r),
    }[reading]
    expected = [formula(math.exp(a), math.exp(b)) for a, b in zip(log_p, log_p_hat, strict=True)]
    same(losses.two_view_instance_loss(log_p, log_p_hat, reading), expected)


def test_regression_is_the_squared_distance_of_unit_vectors():
    q, k = rows(B), rows(B, seed=1)
    same(losses.regression(q, k), [sum((float(a) - float(b)) ** 2 for a, b in zip(v, w)) for v, w in zip(q, k)])


def test_unit_has_norm_one_and_the_direction_kept():
    x = torch.tensor([[3.0, 4.0], [0.0, -2.0]], dtype=torch.float64)
    same(losses.unit(x)[0], [0.6, 0.8])
    same(losses.unit(x)[1], [0.0, -1.0])


# ---------------------------------------------------------------- gradients


def sources(*seeds: int) -> tuple[Tensor, ...]:
    return tuple(rows(B, seed=seed).requires_grad_() for seed in seeds)


def test_gradient_of_the_instance_log_probability():
    index = torch.tensor([10, 0, 4])
    assert gradcheck(lambda q: losses.instance_log_probability(q, rows(N, seed=2), index, TAU, 4), sources(0))


@pytest.mark.parametrize("negatives", [rows(K, seed=3), rows(B * K, seed=4).view(B, K, D)], ids=["shared", "each"])
def test_gradient_of_info_nce(negatives):
    assert gradcheck(lambda q, k: losses.info_nce(q, k, negatives, TAU, -0.5), sources(0, 1))


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, n: losses.info_nce_of(p, n, TAU, 0.2),
        lambda p, n: losses.binary_nce(p, n, TAU, N, 7.5),
        lambda p, n: losses.partition_estimate(p, n, TAU, N),
    ],
    ids=["info_nce_of", "binary_nce", "partition_estimate"],
)
def test_gradient_to_the_similarities(loss):
    assert gradcheck(loss, (rows(1, B)[0].requires_grad_(), rows(B, K, seed=1).requires_grad_()))


@pytest.mark.parametrize("anchors", [slice(None), slice(1, 3)])
def test_gradient_of_nt_xent(anchors):
    assert gradcheck(lambda q, k: losses.nt_xent(q, k, TAU, anchors), sources(0, 1))


def test_gradient_of_the_regression():
    assert gradcheck(losses.regression, sources(0, 1))


def test_gradient_of_the_unit_vector():
    assert gradcheck(losses.unit, ((rows(B) * 3).requires_grad_(),))


@pytest.mark.parametrize("reading", ["sumce", "mean", "logsum"])
def test_gradient_of_the_loss_of_two_views(reading):
    log_probabilities = tuple((-rows(1, B, seed=seed)[0].abs()).requires_grad_() for seed in (5, 6))
    assert gradcheck(lambda a, b: losses.two_view_instance_loss(a, b, reading), log_probabilities)


def test_bank_gets_no_gradient():
    q, bank = rows(B).requires_grad_(), rows(N, seed=1).requires_grad_()
    losses.instance_log_probability(q, bank, torch.tensor([1, 2, 3]), TAU).sum().backward()
    assert q.grad is not None
    assert q.grad.abs().sum() > 0
    assert bank.grad is None


def test_second_derivatives_of_the_blockwise_pass_are_refused():
    q = rows(B).requires_grad_()
    log_p = losses.instance_log_probability(q, rows(N, seed=1), torch.tensor([1, 2, 3]), TAU)
    (gradient,) = torch.autograd.grad(log_p.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


# ---------------------------------------------------------------- masks, margins and symmetries


def test_a_negative_at_minus_infinity_is_left_out():
    positive, negative = rows(1, B)[0].requires_grad_(), rows(B, K, seed=1).requires_grad_()
    mask = torch.zeros(B, K, dtype=torch.bool)
    mask[:, 2] = True
    masked = losses.info_nce_of(positive, negative.masked_fill(mask, -math.inf), TAU)
    without = losses.info_nce_of(positive, torch.cat([negative[:, :2], negative[:, 3:]], 1), TAU)
    same(masked.detach(), without.tolist())
    masked.sum().backward()
    for gradient in (positive.grad, negative.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
    assert negative.grad is not None
    assert torch.equal(negative.grad[:, 2], torch.zeros(B, dtype=torch.float64))


def test_a_positive_without_any_negative_costs_nothing():
    positive = torch.tensor([0.2], requires_grad=True)
    loss = losses.info_nce_of(positive, torch.full((1, 3), -math.inf), TAU)
    loss.sum().backward()
    assert loss.item() == 0
    assert positive.grad is not None
    assert positive.grad.item() == 0


def test_a_margin_is_a_change_of_the_positive_alone_and_stricter_costs_more():
    positive, negative = rows(1, B)[0], rows(B, K, seed=1)
    costs = []
    for margin in (-0.5, 0.0, 0.35):
        loss = losses.info_nce_of(positive, negative, TAU, margin)
        same(loss, losses.info_nce_of(positive - margin, negative, TAU).tolist())
        costs.append(float(loss.sum()))
    assert costs == sorted(costs)


def test_info_nce_without_margin_is_cross_entropy():
    positive, negative = rows(1, B)[0], rows(B, K, seed=1)
    logits = torch.cat([positive[:, None], negative], 1) / TAU
    expected = torch.nn.functional.cross_entropy(logits, torch.zeros(B, dtype=torch.int64), reduction="none")
    same(losses.info_nce_of(positive, negative, TAU), expected.tolist())


def test_losses_follow_a_permutation_of_the_batch_and_ignore_a_rotation():
    q, k, bank, index = rows(B), rows(B, seed=1), rows(N, seed=2), torch.tensor([10, 0, 4])
    order = torch.tensor([2, 0, 1])
    rotation = torch.linalg.qr(rows(D, seed=3)).Q
    for loss in (
        lambda q, k, bank, i: losses.instance_log_probability(q, bank, i, TAU),
        lambda q, k, bank, i: losses.info_nce(q, k, bank, TAU),
        lambda q, k, bank, i: losses.nt_xent(q, k, TAU).view(2, -1).T,
        lambda q, k, bank, i: losses.regression(q, k),
    ):
        plain = loss(q, k, bank, index)
        torch.testing.assert_close(loss(q[order], k[order], bank, index[order]), plain[order])
        torch.testing.assert_close(loss(q @ rotation, k @ rotation, bank @ rotation, index), plain)


def test_no_logit_overflows_at_a_tiny_temperature():
    q, bank, index = rows(B, dtype=torch.float32), rows(N, seed=1, dtype=torch.float32), torch.tensor([10, 0, 4])
    dense = (q.double() @ bank.double().T / 1e-3).log_softmax(1).gather(1, index[:, None]).squeeze(1)
    found = losses.instance_log_probability(q, bank, index, 1e-3, 2)
    torch.testing.assert_close(found.double(), dense, rtol=1e-4, atol=1e-3)
    assert losses.nt_xent(q, q, 1e-3).isfinite().all()
    assert losses.info_nce(q, q, bank, 1e-3).isfinite().all()


# ---------------------------------------------------------------- half precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_are_compared_in_float32(dtype):
    q, k = rows(B, dtype=dtype).requires_grad_(), rows(B, seed=1, dtype=dtype)
    bank, index = rows(N, seed=2, dtype=torch.float32), torch.tensor([10, 0, 4])
    exact = losses.instance_log_probability(q.detach().double(), bank.double(), index, TAU)
    found = losses.instance_log_probability(q, bank, index, TAU)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    pairs = losses.nt_xent(q, k, TAU)
    assert pairs.dtype == torch.float32
    torch.testing.assert_close(
        pairs.double(), losses.nt_xent(q.detach().double(), k.double(), TAU), rtol=1e-5, atol=1e-5
    )
    (found.sum() + pairs.sum() + losses.regression(q, k).sum()).backward()
    assert q.grad is not None
    assert q.grad.dtype == dtype
    assert q.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_similarities_meet_a_float32_softmax(dtype):
    positive, negative = rows(1, B, dtype=dtype)[0], rows(B, 4096, seed=1, dtype=dtype)
    found = losses.info_nce_of(positive, negative, 0.07)
    assert found.dtype == torch.float32
    exact = losses.info_nce_of(positive.double(), negative.double(), 0.07)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    assert losses.binary_nce(positive, negative, 0.07, 10**6, 1e6).isfinite().all()


def bank_pass(q, bank, index, temperature, block=losses.BLOCK):
    q = q.detach().requires_grad_()
    value = losses.instance_log_probability(q, bank, index, temperature, block)
    return value.detach(), torch.autograd.grad(value.sum(), q)[0]


@pytest.mark.parametrize("distance", [10.0, 0.08, 0.01])  # of the query from its row: unrelated, learnt, nearly equal
@pytest.mark.parametrize("block", [64, 1000])
def test_bfloat16_autocast_moves_the_pass_over_the_bank_by_little(distance, block):
    bank, index = rows(1000, 128, seed=2).float(), torch.arange(0, 1000, 7)
    q = losses.unit(bank[index] + distance * torch.randn(len(index), 128, generator=torch.Generator().manual_seed(1)))
    plain, expected = bank_pass(q, bank, index, 0.07, block)
    with torch.autocast("cpu", torch.bfloat16):
        cast, found = bank_pass(q, bank, index, 0.07, block)
    assert cast.dtype == found.dtype == torch.float32
    assert not torch.equal(found, expected)  # it is the cheaper product that was run
    torch.testing.assert_close(cast, plain, rtol=0, atol=0.005)
    assert ((found - expected).norm(dim=1) < 0.005 * expected.norm(dim=1)).all()


@pytest.mark.parametrize("autocast", [False, True])
def test_sums_without_a_shift_are_those_with_one(autocast, monkeypatch):
    dtype = torch.float32 if autocast else torch.float64
    bank, index = rows(1000, 32, seed=2, dtype=dtype), torch.arange(0, 1000, 7)
    q, v = (losses.unit(bank[index] + 0.3 * rows(len(index), 32, seed=s, dtype=dtype)) for s in (3, 4))

    def both() -> list[Tensor]:
        x, y = q.clone().requires_grad_(), v.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = (
                losses.instance_log_probability(x, bank, index, 0.1, 64),
                losses.relation_divergence(x, y, bank, 0.1),
            )
        return [*found, *torch.autograd.grad(found[0].sum() + found[1].sum(), (x, y))]

    plain = both()
    monkeypatch.setattr(precision, "STEEPEST", 0.0)
    shifted = both()
    tolerance = 0.01 if autocast else 1e-11
    assert not torch.equal(plain[0], shifted[0])  # they were two ways
    for one, other in zip(plain[:2], shifted[:2]):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)
    for one, other in zip(plain[2:], shifted[2:]):
        # Rounded products bring either as far as 0.09 from the exact gradient.
        assert (one - other).norm(dim=1).max() <= 5 * tolerance


@pytest.mark.parametrize("length", [40.0, -12.0])  # the largest logit is about 400, or the only ones are near -120
def test_rows_far_from_unit_take_the_way_with_a_shift(length):
    bank, index = abs(length) * rows(N, seed=1, dtype=torch.float32), torch.tensor([10, 0, 4])
    q = rows(B, dtype=torch.float32)
    if length < 0:
        bank, q = bank.abs(), -q.abs()
    logits = q.double() @ bank.double().T / 0.1
    expected = logits.log_softmax(1).gather(1, index[:, None]).squeeze(1)
    found, gradient = bank_pass(q, bank, index, 0.1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert gradient.isfinite().all()
    log_p, log_p_hat = (x.log_softmax(1) for x in (logits, logits.roll(1, 0)))
    divergence = losses.relation_divergence(q, q.roll(1, 0), bank, 0.1)
    torch.testing.assert_close(divergence.double(), (log_p.exp() * (log_p - log_p_hat)).sum(1), rtol=1e-4, atol=1e-4)


def test_float16_autocast_does_not_reach_the_pass_over_the_bank():
    q, bank, index = rows(B, dtype=torch.float32), rows(N, seed=2).float(), torch.tensor([10, 0, 4])
    plain = bank_pass(q, bank, index, TAU)
    with torch.autocast("cpu", torch.float16):
        cast = bank_pass(q, bank, index, TAU)
    assert all(torch.equal(a, b) for a, b in zip(plain, cast))


@pytest.mark.parametrize("temperature", [0.03, 0.035])  # with a shift, and without
def test_the_gradient_stays_exact_as_the_own_row_takes_all_probability(temperature):
    bank, index = rows(100, 32, seed=2), torch.arange(100)
    q = losses.unit(bank + 1e-3 * rows(100, 32, seed=3))
    value, exact = bank_pass(q, bank, index, temperature)
    short, found = bank_pass(q.float(), bank.float(), index, temperature)
    assert value.max() > -1e-5
    assert (short <= 0).all()
    assert (short - value)[value > -1e-3].abs().max() < 3e-7
    assert ((found - exact).norm(dim=1) < 1e-4 * exact.norm(dim=1)).all()


def test_losses_under_autocast_stay_near_and_wide():
    q, k, others = (rows(8, 64, seed=s).float() for s in range(3))
    for loss in (
        lambda: losses.info_nce(q, k, others, 0.1),
        lambda: losses.nt_xent(q, k, 0.1),
        lambda: losses.regression(q, k),
    ):
        plain = loss()
        with torch.autocast("cpu", torch.bfloat16):
            cast = loss()
        assert cast.dtype == torch.float32
        torch.testing.assert_close(cast, plain, rtol=0, atol=0.05)


def test_a_half_precision_bank_gives_nearly_the_same():
    q, bank, index = rows(B, 32).float(), rows(100, 32, seed=1), torch.tensor([10, 0, 4])
    plain = losses.instance_log_probability(q, bank.float(), index, 0.1)
    stored = losses.instance_log_probability(q, bank.half(), index, 0.1)
    assert stored.dtype == torch.float32
    torch.testing.assert_close(stored, plain, rtol=0, atol=0.02)
