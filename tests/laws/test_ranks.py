"""Laws 3 and 4: ranks end identical, and two ranks with B images are one rank with 2B."""

import pytest
import torch
from torch import Tensor

from lawbook import METHODS, build, differing, train
from pool import Pool

every_method = pytest.mark.parametrize("name", METHODS)


def train_named(name: str, norm: str) -> dict[str, Tensor]:
    """What a worker runs: a method of the lawbook."""
    return train(METHODS[name], norm=norm)


def ranks_agree(states: list[dict[str, Tensor]]) -> None:
    """Law 3: networks, copies and memory are equal bit for bit."""
    first, *others = states
    for other in others:
        assert not differing(first, other)


def ranks_equal_one(states: list[dict[str, Tensor]], alone: dict[str, Tensor]) -> None:
    """Law 4: in float64, to rounding."""
    for state in states:
        assert not differing(alone, state, 1e-8)


@every_method
def test_law_3_two_ranks_end_identical(pool: Pool, name: str):
    ranks_agree(pool.run(train_named, name, "batch"))


@every_method
@pytest.mark.parametrize("norm", ["none", "gathered"])
def test_law_4_two_ranks_are_one_with_twice_the_batch(pool: Pool, name: str, norm: str):
    states, alone = pool.run(train_named, name, norm), train_named(name, norm)
    ranks_agree(states)
    ranks_equal_one(states, alone)
    start = {key: value.double() for key, value in build(METHODS[name], norm=norm).state_dict().items()}
    moved = [key for key in alone if key.endswith("weight") and differing({key: start[key]}, {key: alone[key]}, 1e-4)]
    assert len(moved) > 20, "training hardly moved the network, so agreement says nothing"


@pytest.mark.parametrize("name", ["npid", "simclr", "byol"])
def test_statistics_of_one_rank_are_another_training(pool: Pool, name: str):
    # Why law 4 needs the two networks it names: with BatchNorm of each rank's own batch it cannot hold.
    state, alone = pool.run(train_named, name, "batch")[0], train_named(name, "batch")
    assert differing(alone, state, 1e-3)
    assert not any(torch.isnan(value).any() for value in state.values() if value.is_floating_point())
