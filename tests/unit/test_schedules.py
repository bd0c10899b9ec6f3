"""Claims about schedules."""

import math

import pytest

from viewkin.schedules import Progress, cosine, momentum_cosine, step_decay, warmup


def test_cosine_falls_from_one_to_its_final_value():
    assert [cosine(f) for f in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert [cosine(f, 0.2) for f in (0, 0.5, 1)] == pytest.approx([1, 0.6, 0.2])
    assert cosine(1 / 3) == pytest.approx((1 + math.cos(math.pi / 3)) / 2) == 0.75


def test_cosine_stays_at_its_ends():
    assert (cosine(-0.1), cosine(1.1)) == (1, 0)


def test_warmup_is_a_line_that_ends_at_one():
    assert [warmup(d, 4) for d in (0, 1, 3, 4, 9)] == [0, 0.25, 0.75, 1, 1]
    assert warmup(0, 0) == 1


def test_eir_rates_drop_at_120_and_160():
    rates = [0.03 * step_decay(epoch, (120, 160), 0.1) for epoch in (0, 119, 120, 159, 160, 199)]
    assert rates == pytest.approx([0.03, 0.03, 0.003, 0.003, 0.0003, 0.0003])


def test_levels_are_shares_of_the_first_rate():
    levels = [step_decay(epoch, (120, 160, 200), (0.1, 0.05, 0.01)) for epoch in (0, 120, 160, 200, 300)]
    assert levels == [1, 0.1, 0.05, 0.01, 0.01]


def test_byol_weight_of_the_old_network_rises_to_one():
    weights = [momentum_cosine(0.996, f) for f in (0, 0.25, 0.5, 0.75, 1)]
    assert weights == pytest.approx([0.996, 0.996586, 0.998, 0.999414, 1], abs=5e-7)


@pytest.mark.parametrize("steps_an_epoch", [1, 3, 7, 390])
def test_epochs_done_is_exact_at_the_end_of_every_epoch(steps_an_epoch):
    for epochs in (3, 100, 200, 301):
        for epoch in range(epochs + 1):
            at = Progress(step=epoch * steps_an_epoch, steps=epochs * steps_an_epoch, epoch=epoch, epochs=epochs)
            assert at.epochs_done == epoch


def test_progress_counts_steps_over_rounds():
    at = Progress(step=5, steps=20, epoch=1, epochs=4, round=2, rounds=3)
    assert (at.total_step, at.fraction, at.epochs_done) == (45, 0.25, 1)
