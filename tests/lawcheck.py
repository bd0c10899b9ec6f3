"""The laws (``docs/laws.md``) as functions that raise AssertionError where one is broken."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lawbook import (
    BATCH,
    METHODS,
    batch_for,
    build,
    checkpoint_of,
    copied,
    differing,
    last_layers,
    memory_of,
    metrics_of,
    noise_source,
    recipe_for,
    trainer_for,
)
from viewkin.methods.base import Batch, Method
from viewkin.schedules import Progress
from viewkin.training.loop import Outcome, Trainer

INDEX = torch.tensor([5, 20, 11, 2, 10, 17, 23, 0])
AT = Progress(step=1, steps=10)
IMAGES, EPOCHS, ROUNDS = 35, 2, 2
STEPS = IMAGES // BATCH * EPOCHS * ROUNDS


def trained_a_little(name: str) -> Method:
    """A method whose memory holds more than its random start."""
    method = build(METHODS[name])
    for step in range(2):
        batch = batch_for(method, (INDEX + step) % 24, step=step)
        method.update(method(batch, AT).record, AT)
    return method


# ---------------------------------------------------------------- laws 1, 6 and 7


def pure_forward(method: Method, batch: Batch) -> None:
    """Law 1: a pass and its gradient change nothing but BatchNorm statistics, and a second pass gives the same."""
    random, before = torch.get_rng_state(), copied(method)
    first = method(batch, AT)
    first.loss.backward()
    assert not differing(memory_of(before), memory_of(copied(method)))
    second = method(batch, AT)
    assert torch.equal(first.loss, second.loss)
    assert not differing(first.record, second.record)
    assert torch.equal(random, torch.get_rng_state()), "the pass draws from the global generator"


def loss_in_eval(method: Method, batch: Batch) -> Tensor:
    """The loss by running statistics, which a pass does not move."""
    method.eval()
    with torch.no_grad():
        return method(batch, AT).loss


def saved_state_goes_on(name: str) -> None:
    """Law 6: a method that takes up a saved state does what the saved one would have done, bit for bit."""
    method, other = trained_a_little(name), build(METHODS[name], seed=1)
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    batch = batch_for(method, INDEX, step=9)
    assert torch.equal(loss_in_eval(method, batch), loss_in_eval(other, batch))
    for either in (method, other):
        either.train()
        either.update(either(batch, AT).record, AT)
    assert not differing(copied(method), copied(other))
    assert {key for key, _ in method.named_buffers()} <= set(method.state_dict())


def scale_free(method: Method, batch: Batch) -> None:
    """Law 7: three times the raw embedding, the same loss and the same record."""
    method.double()
    batch.views = {name: view.double() for name, view in batch.views.items()}
    expected = method(batch, AT)
    with torch.no_grad():
        for layer in last_layers(method):
            layer.weight.mul_(3)
            if layer.bias is not None:
                layer.bias.mul_(3)
    found = method(batch, AT)
    assert torch.allclose(found.loss, expected.loss, rtol=1e-9, atol=1e-9)
    assert not differing(expected.record, found.record, 1e-9)


# ---------------------------------------------------------------- laws 3 and 4


def ranks_agree(states: list[dict[str, Tensor]]) -> None:
    """Law 3: networks, copies and memory are equal bit for bit."""
    first, *others = states
    for other in others:
        assert not differing(first, other)


def ranks_equal_one(states: list[dict[str, Tensor]], alone: dict[str, Tensor]) -> None:
    """Law 4: in float64, to rounding."""
    for state in states:
        apart = differing(alone, state, 1e-9)
        assert not apart, apart


# ---------------------------------------------------------------- law 2


class KilledError(Exception):
    """Stands for a process that dies between two lines."""


def a_trainer(name: str, out: Path, accumulate: int = 1, seed: int = 0) -> Trainer:
    """A trainer of two rounds of two epochs of four steps."""
    recipe = recipe_for(METHODS[name], accumulate=accumulate, epochs=EPOCHS, rounds=ROUNDS)
    return trainer_for(recipe, noise_source(IMAGES), out, seed=seed)


def unbroken(name: str, out: Path, accumulate: int = 1) -> Outcome:
    """Train to the end."""
    return a_trainer(name, out, accumulate).run()


def stopped(name: str, out: Path, calls: int, accumulate: int = 1) -> Outcome:
    """Stop by a signal during forward pass number ``calls``, then go on in a trainer of other random weights."""
    trainer = a_trainer(name, out, accumulate)
    done: list[int] = []

    def hook(*_: Any) -> None:
        done.append(0)
        if len(done) == calls:
            trainer.interrupt.signal = signal.SIGTERM

    trainer.method.register_forward_hook(hook)
    outcome = trainer.run()
    assert not outcome.finished
    assert outcome.signal == signal.SIGTERM
    assert outcome.steps == -(-calls // accumulate)
    return a_trainer(name, out, accumulate, seed=7).run(resume=True)


def killed(name: str, out: Path, step: int, accumulate: int = 1) -> Outcome:
    """Die after ``step`` steps, past the last checkpoint, then go on."""
    trainer = a_trainer(name, out, accumulate)
    step_of = trainer.step

    def step_or_die(micros: Any) -> Any:
        if trainer.at.total_step == step:
            raise KilledError
        return step_of(micros)

    trainer.step = step_or_die  # type: ignore[method-assign]
    try:
        trainer.run()
    except KilledError:
        return a_trainer(name, out, accumulate, seed=7).run(resume=True)
    raise AssertionError("it should have died")


def no_trace(first: Path, second: Path) -> None:
    """Law 2: the same weights, optimiser, memory, monitor and log."""
    one, other = checkpoint_of(first), checkpoint_of(second)
    assert one[".progress.round"] == ROUNDS - 1
    assert not differing(one, other)
    assert [line["step"] for line in metrics_of(first)] == list(range(1, STEPS + 1))
    assert metrics_of(first) == metrics_of(second)
