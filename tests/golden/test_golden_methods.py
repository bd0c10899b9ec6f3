"""The methods manual's worked values: what the equations give on six unit vectors in the plane.

Fixture F: bank rows at 0, 30, 60, 90, 180 and 270 degrees, a query at 10 degrees for row 0, its second
view at 40 degrees, temperature 0.5.
"""

import math

import pytest
import torch

from planar import ANGLES, PRECISIONS, TAU, bank_of, near, own, u
from viewkin import losses
from viewkin.optim import ScheduleConfig
from viewkin.recipes.baselines import npid_cifar10
from viewkin.schedules import Progress, momentum_cosine

# ---------------------------------------------------------------- instance recognition


@PRECISIONS
def test_probabilities_of_fixture_f(dtype, tolerance):
    q, k, bank, _ = own(dtype)
    everyone = torch.arange(6)
    p = losses.instance_log_probability(q.repeat(6, 1), bank, everyone, TAU).exp()
    p_hat = losses.instance_log_probability(k.repeat(6, 1), bank, everyone, TAU).exp()
    near(p, [0.365794, 0.334234, 0.184570, 0.072223, 0.007120, 0.036059], tolerance)
    near(p_hat, [0.206098, 0.319219, 0.291677, 0.161070, 0.009623, 0.012313], tolerance)


@PRECISIONS
def test_cross_entropy_of_both_views(dtype, tolerance):
    q, k, bank, index = own(dtype)
    near(-losses.instance_log_probability(q, bank, index, TAU), 1.005684, tolerance)
    near(-losses.instance_log_probability(k, bank, index, TAU), 1.579405, tolerance)


@PRECISIONS
def test_gradient_of_the_cross_entropy(dtype, tolerance):
    q, _, bank, index = own(dtype)
    q.requires_grad_()
    (-losses.instance_log_probability(q, bank, index, TAU)).sum().backward()
    assert q.grad is not None
    near(q.grad, [-0.519170, 0.726246], tolerance)


@PRECISIONS
@pytest.mark.parametrize(("reading", "expected"), [("logsum", 0.558805), ("sumce", 2.585088), ("mean", 1.292544)])
def test_readings_of_iraug(dtype, tolerance, reading, expected):
    q, k, bank, index = own(dtype)
    log_p, log_p_hat = (losses.instance_log_probability(v, bank, index, TAU) for v in (q, k))
    near(losses.two_view_instance_loss(log_p, log_p_hat, reading), expected, tolerance)


@PRECISIONS
def test_bank_row_moves_half_way(dtype, tolerance):
    bank = bank_of(*ANGLES, dtype=dtype)
    bank.write_(torch.tensor([0]), u(10, dtype=dtype))
    near(bank.everything()[0], [0.996195, 0.087156], tolerance)
    assert torch.equal(bank.everything()[1:], u(*ANGLES, dtype=dtype)[1:])


@PRECISIONS
def test_noise_contrastive_estimation(dtype, tolerance):
    q, _, bank, _ = own(dtype)
    similarity = q @ bank.T
    positive, noise = similarity[:, 0], similarity[:, 3:]
    near(losses.binary_nce(positive, noise, TAU, 6, 50.0), 1.589857, tolerance)
    near(losses.partition_estimate(positive, noise, TAU, 6), 14.143894, 6 * tolerance)


# ---------------------------------------------------------------- MarginNCE


@PRECISIONS
@pytest.mark.parametrize(
    ("temperature", "margin", "expected"),
    [
        (0.1, 0.0, 0.318175),
        (0.1, -0.5, 0.002521),
        (0.1, 0.35, 2.595674),
        (0.2, 0.0, 0.523909),
        (0.2, -0.5, 0.054985),
        (0.2, 0.35, 1.601952),
    ],
)
def test_margin_nce(dtype, tolerance, temperature, margin, expected):
    positive, negative = torch.tensor([0.6], dtype=dtype), torch.tensor([[0.5, 0.1]], dtype=dtype)
    near(losses.info_nce_of(positive, negative, temperature, margin), expected, tolerance)


def test_weighted_sum_of_an_intra_and_an_inter_term():
    negative = torch.tensor([[0.5, 0.1]], dtype=torch.float64)
    intra = losses.info_nce_of(torch.tensor([0.9], dtype=torch.float64), negative, 0.2)
    inter = losses.info_nce_of(torch.tensor([0.6], dtype=torch.float64), negative, 0.2, margin=-0.5)
    near(intra, 0.142932, 1e-6)
    near(0.75 * intra + 0.25 * inter, 0.120945, 1e-6)


@pytest.mark.parametrize(("weight_of_new", "angle"), [(0.5, 30), (1.0, 60)])
def test_bank_update_of_interclr_by_its_own_convention(weight_of_new, angle):
    bank = bank_of(0, momentum=1 - weight_of_new)
    bank.write_(torch.tensor([0]), u(60))
    torch.testing.assert_close(bank.everything(), u(angle), rtol=0, atol=1e-12)


# ---------------------------------------------------------------- NT-Xent and BYOL


@PRECISIONS
def test_nt_xent_of_two_images(dtype, tolerance):
    loss = losses.nt_xent(u(0, 60, dtype=dtype), u(10, 80, dtype=dtype), TAU)
    assert loss.shape == (4,)
    near(loss.mean(), 0.531753, tolerance)


@PRECISIONS
def test_regression_at_sixty_degrees(dtype, tolerance):
    near(losses.regression(u(0, dtype=dtype), u(60, dtype=dtype)), 1.0, tolerance)


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 0.996), (0.25, 0.996586), (0.5, 0.998), (0.75, 0.999414), (1.0, 1.0)]
)
def test_momentum_of_the_target_network(fraction, expected):
    assert momentum_cosine(0.996, fraction) == pytest.approx(expected, abs=5e-7)


# ---------------------------------------------------------------- the schedule of CIFAR recipes


@pytest.mark.parametrize(
    ("epoch", "lr"), [(0, 0.03), (119, 0.03), (120, 0.003), (159, 0.003), (160, 0.0003), (199, 0.0003)]
)
def test_learning_rate_of_the_cifar_recipes(epoch, lr):
    recipe, per_epoch = npid_cifar10(), 390
    schedule: ScheduleConfig = recipe.schedule
    for step in (epoch * per_epoch, (epoch + 1) * per_epoch - 1):
        at = Progress(step=step, steps=200 * per_epoch, epoch=epoch, epochs=200)
        assert recipe.optim.base_lr(128) * schedule.factor_at(at) == pytest.approx(lr, rel=1e-12)


# ---------------------------------------------------------------- analytic cases


def test_uniform_similarities_give_log_n():
    rows = u(20).repeat(7, 1)
    near(-losses.instance_log_probability(u(50), rows, torch.tensor([3]), TAU), math.log(7), 1e-12)


def test_uniform_similarities_give_log_one_plus_k():
    same = u(20)
    near(losses.info_nce(u(50), same, same.repeat(9, 1), 0.07), math.log(10), 1e-12)


def test_uniform_similarities_give_nt_xent_log_of_the_others():
    same = u(20).repeat(5, 1)
    near(losses.nt_xent(same, same, 0.1).mean(), math.log(2 * 5 - 1), 1e-12)


@pytest.mark.parametrize("k", [1, 4, 100])
def test_noise_contrastive_estimation_when_the_model_equals_the_noise(k):
    # Similarity 0 and Z = N make p = 1/N for everyone, which no discriminator tells from noise.
    zero = torch.zeros(1, dtype=torch.float64)
    loss = losses.binary_nce(zero, zero.expand(1, k), 0.3, 2, 2.0)
    near(loss, math.log(1 + k) + k * math.log(1 + 1 / k), 1e-6)


def test_perfectly_aligned_and_cold_costs_nothing():
    bank, index = u(*ANGLES), torch.arange(6)
    near(-losses.instance_log_probability(bank, bank, index, 1e-3), [0.0] * 6, 1e-12)
    near(losses.nt_xent(bank, bank, 1e-3).sum(), 0.0, 1e-12)
    near(losses.info_nce(u(0), u(0), u(90, 180), 1e-3), 0.0, 1e-12)
    near(losses.regression(u(17), u(17)), 0.0, 1e-12)


def test_logsum_reading_is_never_below_minus_log_two():
    sure = torch.zeros(1, dtype=torch.float64)
    near(losses.two_view_instance_loss(sure, sure, "logsum"), -math.log(2), 1e-12)
