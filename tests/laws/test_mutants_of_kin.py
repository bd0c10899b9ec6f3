"""The laws find what could break in a neighbour graph, in mixtures of a batch and in a batch as negatives."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from lawbook import METHODS, batch_for, train
from lawcheck import (
    AT,
    INDEX,
    killed,
    no_trace,
    pure_forward,
    ranks_equal_one,
    saved_state_goes_on,
    trained_a_little,
    unbroken,
)
from pool import Pool
from viewkin.memory.graph import NeighbourGraph
from viewkin.methods.base import Batch, Step
from viewkin.methods.invp import InvP
from viewkin.runtime import distributed
from viewkin.schedules import Progress

breaks = pytest.raises(AssertionError)


def test_law_1_finds_a_graph_written_before_the_loss(monkeypatch):
    method = trained_a_little("invp")
    forward = InvP.forward

    def broken(self: InvP, batch: Batch, at: Progress) -> Step:
        _, nearest = self.bank.nearest(self.query(batch.views["view"]), 3)
        self.graph.update_(batch.index, nearest)
        return forward(self, batch, at)

    monkeypatch.setattr(InvP, "forward", broken)
    with breaks:
        pure_forward(method, batch_for(method, INDEX, step=9))


@pytest.mark.parametrize("name", ["invp", "propagation"])
def test_law_6_finds_a_graph_that_is_not_saved(name, monkeypatch):
    start = NeighbourGraph.__init__

    def forgetful(self: NeighbourGraph, count: int, neighbours: int) -> None:
        start(self, count, neighbours)
        self.register_buffer("neighbours", self.neighbours, persistent=False)

    monkeypatch.setattr(NeighbourGraph, "__init__", forgetful)
    with breaks:
        saved_state_goes_on(name)


def test_law_2_finds_a_graph_that_a_resumed_run_lacks(tmp_path: Path):
    load = nn.Module.load_state_dict

    def without_graph(self: nn.Module, state: dict[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        return load(self, {key: value for key, value in state.items() if "graph" not in key}, strict=False)

    with mock.patch.object(nn.Module, "load_state_dict", without_graph):
        unbroken("invp", tmp_path / "a")
        killed("invp", tmp_path / "b", step=7)
    with breaks:
        no_trace(tmp_path / "a", tmp_path / "b")


def own_rows(x: Tensor) -> Tensor:
    """A gather that brings nothing from other ranks."""
    return torch.cat([x.detach()] * distributed.world())


def train_with_partners_of_the_own_rank() -> dict[str, Tensor]:
    mixed = InvP._mixed

    def alone(self: InvP, batch: Batch) -> Tensor:
        with mock.patch.object(distributed, "gather", own_rows):
            return mixed(self, batch)

    with mock.patch.object(InvP, "_mixed", alone):
        return train(METHODS["invp"], norm="none", steps=2)


def train_with_negatives_of_the_own_rank() -> dict[str, Tensor]:
    with mock.patch.object(distributed, "gather", own_rows):
        return train(METHODS["isif"], norm="none", steps=2)


def test_law_4_finds_mixtures_that_stay_on_their_rank(pool: Pool):
    states = pool.run(train_with_partners_of_the_own_rank)
    with breaks:
        ranks_equal_one(states, train(METHODS["invp"], norm="none", steps=2))


def test_law_4_finds_negatives_that_stay_on_their_rank(pool: Pool):
    states = pool.run(train_with_negatives_of_the_own_rank)
    with breaks:
        ranks_equal_one(states, train(METHODS["isif"], norm="none", steps=2))


@pytest.mark.parametrize("name", ["invp", "isif"])
def test_the_laws_hold_where_nothing_is_broken(name):
    method = trained_a_little(name)
    pure_forward(method, batch_for(method, INDEX, step=9))
    assert method(batch_for(method, INDEX), AT).loss.isfinite()
    saved_state_goes_on(name)
