"""Claims about schedules."""

import math

import pytest

from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress, RampConfig, cosine, momentum_cosine, step_decay, warmup


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


@pytest.mark.parametrize("shape", ["binary", "gaussian"])
def test_a_ramp_lasts_an_epoch_at_least_unless_it_is_none(shape):
    first, second = Progress(step=4, steps=10, epoch=0, epochs=2), Progress(step=5, steps=10, epoch=1, epochs=2)
    short = RampConfig(shape=shape, share=0.15)
    assert short.weight_at(first) < 1
    assert short.weight_at(second) == 1
    assert RampConfig(shape=shape, share=0.0).weight_at(Progress(steps=10, epochs=2)) == 1
    assert RampConfig(shape=shape, epochs=0).weight_at(Progress(steps=10, epochs=2)) == 1


def test_a_ramp_is_a_share_of_the_run_or_a_number_of_epochs():
    for epochs in (20, 200):
        at = [Progress(step=step, steps=10 * epochs, epochs=epochs) for step in (3 * epochs // 2 - 1, 3 * epochs // 2)]
        assert [RampConfig(share=0.15).weight_at(one) for one in at] == [0, 1]
    assert RampConfig(share=0.15, epochs=20).weight_at(Progress(step=300, steps=2000, epochs=200)) == 1
    assert RampConfig(share=0.15, epochs=40).weight_at(Progress(step=300, steps=2000, epochs=200)) == 0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shape": "linear"}, "shape is 'linear'; it must be binary or gaussian"),
        ({"share": 1.5}, "share is 1.5; it must be 0 to 1"),
        ({"epochs": -1}, "epochs is -1; it must be at least 0, or none"),
    ],
)
def test_bad_ramp_is_one_sentence(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        RampConfig(**settings)


# ---------------------------------------------------------------- the gate of a ramp


@pytest.mark.parametrize(
    ("settings", "gated"),
    [
        ({}, True),
        ({"share": 0.0}, False),
        ({"epochs": 0.0}, False),
        ({"share": 0.0, "epochs": 3.0}, True),
        ({"epochs": 0.0, "gate": True}, True),
        ({"gate": False}, False),
    ],
)
def test_a_ramp_waits_for_its_gate_unless_it_has_no_length_or_is_as_published(settings, gated):
    assert RampConfig(**settings).gated == gated


def weights(ramp, opened, rounds=1):
    """Of the first step of each of ten epochs of each round."""
    at = [
        Progress(step=30 * epoch, steps=300, epoch=epoch, epochs=10, round=number, rounds=rounds)
        for number in range(rounds)
        for epoch in range(10)
    ]
    return [ramp.weight_at(one, opened) for one in at]


def test_a_binary_ramp_begins_at_the_later_of_its_epoch_and_its_gates():
    ramp = RampConfig(epochs=3)
    assert weights(ramp, None) == [0] * 10
    assert weights(ramp, 1) == weights(ramp, 0) == [0] * 3 + [1] * 7
    assert weights(ramp, 6) == [0] * 6 + [1] * 4
    assert weights(ramp, 6, rounds=2)[10:] == weights(ramp, 0)
    assert weights(ramp, 14, rounds=2) == [0] * 14 + [1] * 6


def test_a_gaussian_ramp_rises_from_its_gate_on():
    ramp = RampConfig(shape="gaussian", epochs=3)
    assert weights(ramp, None) == [0] * 10
    assert weights(ramp, 4) == [0] * 4 + weights(ramp, 0)[:6]
