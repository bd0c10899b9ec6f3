"""The gate of the propagation term's ramp: when it opens, what it keeps out, and the laws across its opening."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lawbook import (
    METHODS,
    Heard,
    batch_for,
    build,
    checkpoint_of,
    differing,
    metrics_of,
    noise_source,
    recipe_for,
    trainer_for,
)
from lawbook import train as train_plainly
from lawcheck import AT, INDEX, killed, no_trace, ranks_agree, ranks_equal_one, stopped, unbroken
from pool import Pool
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.propagation_config import KinConfig
from viewkin.methods.terms.eir import EIRConfig
from viewkin.methods.terms.propagation import PropagationConfig
from viewkin.runtime.progress import reporting_to
from viewkin.schedules import RampConfig

GATED = pytest.mark.parametrize("name", ["invp-gated", "propagation-gated"])
WIDE = 100.0
"""A limit that every epoch's mean is below: the gate opens after the first."""


def term(name: str) -> str:
    return f"term/{name.removesuffix('-gated').replace('invp', 'invp/propagation')}"


@GATED
def test_the_term_waits_for_the_first_whole_epoch_below_the_limit(name, tmp_path, monkeypatch):
    for limit, begins in ((WIDE, 4), (0.0, 16)):
        monkeypatch.setattr(KinConfig, "limit", lambda self, count, limit=limit: limit)
        unbroken(name, tmp_path / str(limit))
        begun = [line[term(name)] != 0 for line in metrics_of(tmp_path / str(limit))]
        assert begun == [False] * begins + [True] * (16 - begins)
        assert checkpoint_of(tmp_path / str(limit))[".method.gate.opened"] == (1 if limit else -1)


@GATED
def test_the_limit_is_the_loss_of_equal_similarities(name):
    method: Any = build(METHODS[name])
    assert method.gate.limit == math.log(20)
    method.bank.fill_(torch.ones(24, method.dim))  # all rows alike
    record = method(batch_for(method, INDEX), AT).record
    losses = record[f"{name.removesuffix('-gated')}/instance"]
    torch.testing.assert_close(losses, torch.full((8,), math.log(20)), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "accumulate"), [("invp-gated", 2), ("propagation-gated", 1)])
def test_law_2_across_the_opening(name, accumulate, tmp_path, monkeypatch):
    monkeypatch.setattr(KinConfig, "limit", lambda self, count: WIDE)
    unbroken(name, tmp_path / "a", accumulate)
    for step in (3, 5):  # in the first epoch, past no checkpoint; and in the second, past the one at its begin
        killed(name, tmp_path / f"b{step}", step, accumulate)
        no_trace(tmp_path / "a", tmp_path / f"b{step}")
    stopped(name, tmp_path / "c", 3 * accumulate, accumulate)
    no_trace(tmp_path / "a", tmp_path / "c")


def train(name: str, limit: float) -> dict[str, Tensor]:
    """What a worker runs: two epochs, the gate of this limit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KinConfig, "limit", lambda self, count: limit)
        return train_plainly(METHODS[name], norm="none")


@GATED
def test_laws_3_and_4_across_the_opening(pool: Pool, name: str):
    states, alone = pool.run(train, name, WIDE), train(name, WIDE)
    ranks_agree(states)
    ranks_equal_one(states, alone)
    assert int(alone["gate.opened"]) == 1
    weights = [key for key in alone if key.endswith("weight")]
    closed = train(name, 0.0)
    assert differing({key: closed[key] for key in weights}, {key: alone[key] for key in weights}, 1e-6)


@GATED
def test_an_open_gate_is_the_published_ramp_bit_for_bit(name, tmp_path, monkeypatch):
    monkeypatch.setattr(KinConfig, "limit", lambda self, count: WIDE)
    settings: Any = METHODS[name]
    for gate in (True, False):
        method = replace(settings, ramp=RampConfig(epochs=1, gate=gate))
        trainer_for(recipe_for(method, epochs=3), noise_source(), tmp_path / str(gate)).run()
    states = [checkpoint_of(tmp_path / str(gate)) for gate in (True, False)]
    assert {key for key in states[0] if "gate" in key} == {
        f".method.gate.{part}" for part in ("total", "rows", "mean", "opened")
    }
    assert not differing(*({key: value for key, value in state.items() if "gate" not in key} for state in states))


def test_a_ramp_without_a_gate_keeps_no_state_of_one():
    for name in ("invp", "propagation"):
        assert not [key for key in build(METHODS[name]).state_dict() if "gate" in key]
    alone: Any = METHODS["invp"]
    without: Any = build(replace(alone, weight=0.0, ramp=RampConfig()))
    around_byol: Any = build(PropagationConfig(base=BYOLConfig(dim=32, hidden=64), candidates=20))
    assert without.gate is around_byol.gate is None


# ---------------------------------------------------------------- what a run says


def said(settings: Any, out: Path) -> str:
    with reporting_to(Heard()) as heard:
        trainer_for(recipe_for(settings, epochs=3), noise_source(), out).run()
    return " ".join(heard.sentences)


@pytest.mark.parametrize(("name", "wrapped"), [("invp-gated", True), ("propagation-gated", False)])
def test_a_run_says_that_the_term_waits_or_that_it_began_too_early(name, wrapped, tmp_path, monkeypatch):
    monkeypatch.setattr(KinConfig, "limit", lambda self, count: 1.5)
    for gate, epochs, expected in (
        (True, 1.0, "The propagation term waits: the mean instance loss of the last epoch is"),
        (False, 1.0, "The propagation term began too early: the instance loss is"),
        (True, 9.0, ""),
    ):
        one: Any = replace(METHODS[name], ramp=RampConfig(epochs=epochs, gate=gate))  # type: ignore[type-var]
        if name.startswith("propagation"):
            one = replace(one, base=METHODS["moco"])
        settings = EIRConfig(base=one, relation_weight=0.0, mixture_weight=0.0) if wrapped else one
        told = said(settings, tmp_path / f"{gate}{epochs}")
        assert expected in told
        assert told.count("The propagation term") == bool(expected)
        assert "Nothing is learnt" not in told


@GATED
def test_a_run_says_nothing_of_a_term_that_begins_in_time(name, tmp_path, monkeypatch):
    monkeypatch.setattr(KinConfig, "limit", lambda self, count: WIDE)
    for gate in (True, False):
        settings: Any = replace(METHODS[name], ramp=RampConfig(epochs=1, gate=gate))  # type: ignore[type-var]
        assert "The propagation term" not in said(settings, tmp_path / str(gate))
