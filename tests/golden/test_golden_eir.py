"""Worked values of EIR, on fixture F (see planar)."""

import pytest
import torch

from planar import PRECISIONS, TAU, bank_of, near, own, u
from viewkin import losses
from viewkin.augment.mix import Box, cut_box
from viewkin.recipes.eir import eir_cifar10, eir_cifar10_rounds
from viewkin.schedules import Progress


@PRECISIONS
def test_divergence_of_two_views(dtype, tolerance):
    v, v_hat, bank, _ = own(dtype)
    near(losses.relation_divergence(v, v_hat, bank, TAU), 0.119435, tolerance)
    near(losses.relation_divergence(v_hat, v, bank, TAU), 0.119422, tolerance)
    near(losses.relation_divergence(v, v_hat, bank, 0.1), 1.143842, tolerance)


@PRECISIONS
def test_divergence_of_a_view_and_itself_is_zero_with_gradient_zero(dtype, tolerance):
    v, _, bank, _ = own(dtype)
    first, second = v.clone().requires_grad_(), v.clone().requires_grad_()
    loss = losses.relation_divergence(first, second, bank, TAU)
    loss.sum().backward()
    near(loss, 0.0, tolerance)
    assert first.grad is not None
    assert second.grad is not None
    near(first.grad, [0.0, 0.0], tolerance)
    near(second.grad, [0.0, 0.0], tolerance)


def mixtures(dtype):
    """Two images with v = v' at 0 and 90 degrees, swapped, r = 0.75; mixtures embedded at 20 and 70 degrees."""
    v = u(0, 90, dtype=dtype)
    return u(20, 70, dtype=dtype), losses.mixed_target(v, v.flip(0), 0.75)


@PRECISIONS
def test_interpolation(dtype, tolerance):
    mixed, target = mixtures(dtype)
    torch.testing.assert_close(target, u(18.434949, 71.565051, dtype=dtype), rtol=0, atol=max(tolerance, 1e-6))
    near(losses.interpolation(mixed, target, TAU), [0.384949, 0.384949], tolerance)
    near(losses.interpolation_of_sum(mixed, target, TAU), -0.308198, tolerance)


@PRECISIONS
def test_total(dtype, tolerance):
    v, v_hat, bank, index = own(dtype)
    log_p, log_p_hat = (losses.instance_log_probability(x, bank, index, TAU) for x in (v, v_hat))
    recognition = losses.two_view_instance_loss(log_p, log_p_hat, "sumce")
    relation = losses.relation_divergence(v, v_hat, bank, TAU)
    total = recognition + 15 * relation + 2 * losses.interpolation(*mixtures(dtype), TAU).mean()
    near(total, 5.146508, 10 * tolerance)


@PRECISIONS
def test_released_terms(dtype, tolerance):
    v, v_hat, bank, _ = own(dtype)
    near(losses.relation_cross_entropy(v, v_hat, bank, (0.04, 0.1)), 2.230080, tolerance)
    near(losses.relation_cross_entropy(v, v, bank, (0.04, 0.04)), 0.557627, tolerance)
    mixed, target = mixtures(dtype)
    near(losses.info_nce(mixed, target, bank[3:], 0.2), [0.037883, 0.555231], tolerance)


@pytest.mark.parametrize(
    ("ratio", "centre", "box", "share"),
    [
        (0.5, (16, 16), Box(5, 27, 5, 27), 0.527344),
        (0.5, (4, 30), Box(0, 15, 19, 32), 0.809570),
        (0.0, (16, 16), Box(0, 32, 0, 32), 0.0),
        (1.0, (16, 16), Box(16, 16, 16, 16), 1.0),
    ],
)
def test_box(ratio, centre, box, share):
    found, kept = cut_box(ratio, centre, 32, 32)
    assert found == box
    assert kept == pytest.approx(share, abs=5e-7)


def test_bank_row_after_an_update():
    bank = bank_of(0, 30, 60, 90, 180, 270)
    bank.write_(torch.tensor([0]), u(10))
    near(bank.read(torch.tensor([0])), [0.996195, 0.087156], 1e-6)


def test_schedule_and_its_restart_in_rounds():
    schedule = eir_cifar10().schedule
    rates = [schedule.factor_at(Progress(step=e, steps=200, epoch=e, epochs=200)) for e in (0, 119, 120, 159, 160, 199)]
    assert [0.03 * rate for rate in rates] == pytest.approx([0.03, 0.03, 0.003, 0.003, 0.0003, 0.0003])
    rounds = eir_cifar10_rounds().schedule
    assert rounds.rounds == 5
    assert rounds.factor_at(Progress(step=0, steps=200, epochs=200, round=1, rounds=5)) == 1.0
