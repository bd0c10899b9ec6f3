"""Law 2: stop anywhere, go on, and nothing tells the run from one that never stopped."""

import signal
from pathlib import Path
from typing import Any

import pytest

from lawbook import BATCH, METHODS, checkpoint_of, differing, metrics_of, noise_source, recipe_for, trainer_for
from pool import Pool
from viewkin.train.loop import Outcome, Trainer

IMAGES, EPOCHS, ROUNDS = 35, 2, 2
STEPS = IMAGES // BATCH * EPOCHS * ROUNDS
every_method = pytest.mark.parametrize("name", METHODS)


class KilledError(Exception):
    """Stands for a process that dies between two lines."""


def a_trainer(name: str, out: Path, accumulate: int = 1, seed: int = 0) -> Trainer:
    recipe = recipe_for(METHODS[name], accumulate=accumulate, epochs=EPOCHS, rounds=ROUNDS)
    return trainer_for(recipe, noise_source(IMAGES), out, seed=seed)


def stop_in_forward(trainer: Trainer, call: int) -> None:
    """Deliver a signal while forward pass number ``call`` runs, in the middle of an accumulation if there is one."""
    calls = []

    def hook(*_: Any) -> None:
        calls.append(0)
        if len(calls) == call:
            trainer.interrupt.signal = signal.SIGTERM

    trainer.method.register_forward_hook(hook)


def kill_after_step(trainer: Trainer, step: int) -> None:
    step_of = trainer.step

    def step_or_die(micros: Any) -> Any:
        if trainer.at.total_step == step:
            raise KilledError
        return step_of(micros)

    trainer.step = step_or_die  # type: ignore[method-assign]


def unbroken(name: str, out: Path, accumulate: int = 1) -> Outcome:
    return a_trainer(name, out, accumulate).run()


def stopped(name: str, out: Path, calls: int, accumulate: int = 1) -> Outcome:
    """Stop by a signal, then go on in a new trainer that started from other random weights."""
    trainer = a_trainer(name, out, accumulate)
    stop_in_forward(trainer, calls)
    outcome = trainer.run()
    assert not outcome.finished
    assert outcome.signal == signal.SIGTERM
    assert outcome.steps == -(-calls // accumulate)
    return a_trainer(name, out, accumulate, seed=7).run(resume=True)


def killed(name: str, out: Path, step: int, accumulate: int = 1) -> Outcome:
    """Die after ``step`` steps, past the last checkpoint, then go on."""
    trainer = a_trainer(name, out, accumulate)
    kill_after_step(trainer, step)
    with pytest.raises(KilledError):
        trainer.run()
    return a_trainer(name, out, accumulate, seed=7).run(resume=True)


def no_trace(first: Path, second: Path) -> None:
    """Law 2: the same weights, optimiser, memory, monitor and log."""
    one, other = checkpoint_of(first), checkpoint_of(second)
    assert one[".progress.round"] == ROUNDS - 1
    assert not differing(one, other)
    assert [line["step"] for line in metrics_of(first)] == list(range(1, STEPS + 1))
    assert metrics_of(first) == metrics_of(second)


@every_method
def test_law_2_a_run_stopped_in_mid_epoch_ends_as_the_unbroken_one(name, tmp_path):
    assert unbroken(name, tmp_path / "a").steps == STEPS
    assert stopped(name, tmp_path / "b", calls=10).finished
    no_trace(tmp_path / "a", tmp_path / "b")


@every_method
def test_law_2_a_killed_run_goes_back_to_its_checkpoint(name, tmp_path):
    unbroken(name, tmp_path / "a", accumulate=2)
    killed(name, tmp_path / "b", step=7, accumulate=2)
    no_trace(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("name", ["npid-nce", "moco-symmetric"])
def test_law_2_a_signal_in_mid_accumulation_finishes_the_step(name, tmp_path):
    unbroken(name, tmp_path / "a", accumulate=2)
    stopped(name, tmp_path / "b", calls=13, accumulate=2)
    no_trace(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("calls", [1, 4, 8, 15])
def test_law_2_holds_at_the_first_step_and_at_the_end_of_an_epoch_and_a_round(calls, tmp_path):
    unbroken("npid-infonce", tmp_path / "a")
    stopped("npid-infonce", tmp_path / "b", calls=calls)
    no_trace(tmp_path / "a", tmp_path / "b")


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    unbroken("moco", tmp_path / "a")
    before, lines = checkpoint_of(tmp_path / "a"), metrics_of(tmp_path / "a")
    outcome = a_trainer("moco", tmp_path / "a", seed=7).run(resume=True)
    assert (outcome.finished, outcome.steps) == (True, STEPS)
    assert not differing(before, checkpoint_of(tmp_path / "a"))
    assert metrics_of(tmp_path / "a") == lines


@pytest.mark.parametrize("name", ["npid-nce", "simclr", "moco", "byol"])
def test_law_2_on_two_ranks(pool: Pool, name: str, tmp_path: Path):
    pool.run(unbroken, name, tmp_path / "a", 2)
    pool.run(killed, name, tmp_path / "b", 7, 2)
    no_trace(tmp_path / "a", tmp_path / "b")
