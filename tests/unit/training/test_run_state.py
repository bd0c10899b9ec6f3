"""Claims about what a run says where a number is no longer finite: which step it was, and what it goes back to."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lawcheck import a_trainer
from viewkin.training.checkpoint import LAST, load_checkpoint
from viewkin.training.loop import Trainer
from viewkin.training.outcome import RunStoppedError

SENTENCE = re.compile(
    r"became NaN or infinite at step (\d+); the last good checkpoint, of step (\d+), is kept in (\S+)\."
)
PER_ROUND, PER_EPOCH = 8, 4


def poisoned(trainer: Trainer, step: int, accumulate: int) -> None:
    """Make the loss NaN in the last micro-batch of an optimiser step, counted from 1."""
    calls: list[int] = []

    def hook(module, inputs, result):
        calls.append(0)
        if len(calls) == step * accumulate:
            name = next(iter(result.terms))
            result.terms[name] = result.terms[name] * torch.nan
        return result

    trainer.method.register_forward_hook(hook)


def saved_steps(out: Path) -> int:
    progress = load_checkpoint(out / LAST)["progress"]
    return progress["round"] * PER_ROUND + progress["step"]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("step", "saved"), [(1, 0), (4, 0), (5, 4), (8, 5), (9, 8), (11, 10), (16, 15)])
def test_the_step_and_the_checkpoint_are_those_of_the_sentence(tmp_path, accumulate, step, saved):
    trainer = a_trainer("simclr", tmp_path, accumulate)
    poisoned(trainer, step, accumulate)
    with pytest.raises(RunStoppedError) as caught:
        trainer.run()
    named = SENTENCE.search(str(caught.value))
    assert named is not None
    assert (int(named[1]), int(named[2]), named[3]) == (step, saved, str(tmp_path / LAST))
    assert saved_steps(tmp_path) == saved


def test_the_step_is_named_also_where_it_is_seen_later(tmp_path, monkeypatch):
    # A GPU is asked only now and then, since reading from it waits for it.
    trainer = a_trainer("simclr", tmp_path)
    trainer.recipe = replace(trainer.recipe, runtime=replace(trainer.recipe.runtime, log_every=4))
    monkeypatch.setattr(trainer, "_housekeeping", lambda: False)
    poisoned(trainer, 1, 1)
    with pytest.raises(RunStoppedError, match="at step 1; the last good checkpoint, of step 0"):
        trainer.run()
    assert saved_steps(tmp_path) == 0


def test_a_resumed_run_names_the_checkpoint_that_it_took_up(tmp_path):
    first = a_trainer("simclr", tmp_path)
    poisoned(first, 6, 1)
    with pytest.raises(RunStoppedError, match="at step 6; the last good checkpoint, of step 5"):
        first.run()
    again = a_trainer("simclr", tmp_path, seed=7)
    poisoned(again, 1, 1)
    with pytest.raises(RunStoppedError, match="at step 6; the last good checkpoint, of step 5"):
        again.run(resume=True)
    assert saved_steps(tmp_path) == 5


def test_weights_that_are_not_finite_reach_no_checkpoint(tmp_path):
    trainer = a_trainer("simclr", tmp_path)
    poison = next(trainer.method.parameters())
    update = trainer.method.update

    def broken(record, at):
        if at.total_step == PER_EPOCH - 1:  # the last step of an epoch, after its loss
            poison.data.fill_(torch.inf)
        update(record, at)

    trainer.method.update = broken  # type: ignore[method-assign]
    with pytest.raises(RunStoppedError, match=r"The tensor \S+ became NaN or infinite at step 4; .*of step 0"):
        trainer.run()
    assert saved_steps(tmp_path) == 0
    assert not (tmp_path / "best.ckpt").exists()


def test_before_the_first_checkpoint_none_is_named(tmp_path):
    trainer = a_trainer("simclr", tmp_path)
    next(trainer.method.parameters()).data.fill_(torch.nan)
    with pytest.raises(RunStoppedError, match="at step 0; there is no checkpoint yet"):
        trainer.run()
