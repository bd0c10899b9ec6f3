"""Claims about the gate of a ramp: when it opens, and that its state is all in the checkpoint."""

import copy
import math

import pytest
import torch

from viewkin.memory.gate import Gate
from viewkin.schedules import Progress

EPOCHS, STEPS = 4, 3
"""Of each round; a round has 12 steps."""


def fed(gate: Gate, means: list[list[float]], *, first: int = 0, until: int | None = None) -> list[int]:
    """Feed epochs of three steps; return ``opened`` after every step. Steps count from the start of the run."""
    found: list[int] = []
    steps = [value for epoch in means for value in epoch]
    for number in range(first, len(steps) if until is None else until):
        round_, step = divmod(number, EPOCHS * STEPS)
        at = Progress(step=step, steps=EPOCHS * STEPS, epoch=step // STEPS, epochs=EPOCHS, round=round_, rounds=2)
        gate.update_(torch.full((8,), steps[number]), at)
        found.append(int(gate.opened))
    return found


def test_it_opens_at_the_end_of_the_first_epoch_whose_mean_is_below_the_limit_and_stays_open():
    gate = Gate(math.log(20))  # 2.996
    found = fed(gate, [[4, 1, 4.5], [3.5, 2.6, 2.8], [5, 5, 5]])  # means 3.17, 2.97, 5
    assert found == [-1] * 5 + [2] * 4
    assert float(gate.mean) == 5


def test_a_mean_at_the_limit_leaves_it_closed():
    gate = Gate(3.0)
    assert fed(gate, [[3, 3, 3]] * 2) == [-1] * 6


def test_a_later_round_opens_it_by_the_epochs_of_the_whole_run():
    gate = Gate(3.0)
    assert fed(gate, [[4, 4, 4]] * 4 + [[2, 2, 2]])[-1] == 5


def test_rows_weigh_alike_whatever_their_step():
    gate = Gate(3.0)
    at = Progress(step=0, steps=2, epoch=0, epochs=1)
    gate.update_(torch.full((9,), 2.0), at)
    at.step = 1
    gate.update_(torch.full((1,), 10.0), at)
    assert float(gate.mean) == pytest.approx(2.8)
    assert int(gate.opened) == 1


@pytest.mark.parametrize("stop", range(1, 9))
def test_a_state_saved_between_any_two_steps_goes_on(stop):
    means = [[4, 1, 4.5], [3.5, 2.6, 2.8], [5, 5, 5]]
    whole, first, second = (Gate(math.log(20)) for _ in range(3))
    expected = fed(whole, means)
    fed(first, means, until=stop)
    second.opened_at(Progress(step=stop, steps=12, epoch=stop // STEPS, epochs=EPOCHS))  # what it read is forgotten
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert fed(second, means, first=stop) == expected[stop:]
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())


def test_what_was_read_is_forgotten_where_a_state_is_loaded():
    gate, other = Gate(3.0), Gate(3.0)
    at = Progress(step=3, steps=12, epoch=1, epochs=EPOCHS)
    assert gate.opened_at(at) is None
    other.opened.fill_(1)
    gate.load_state_dict(other.state_dict())
    assert gate.opened_at(at) == 1


def test_a_state_from_before_there_were_gates_is_open_from_the_start():
    gate = Gate(3.0)
    torch.nn.ModuleDict({"gate": gate}).load_state_dict({})
    assert gate.opened_at(Progress()) == 0
