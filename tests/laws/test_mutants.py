"""The laws have teeth: each fails on a method or a loop that is broken in the way it is there to find."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from lawbook import METHODS, batch_for, checkpoint_of, differing, noise_source, recipe_for, train, trainer_for
from lawcheck import (
    AT,
    INDEX,
    killed,
    no_trace,
    pure_forward,
    ranks_agree,
    ranks_equal_one,
    saved_state_goes_on,
    scale_free,
    trained_a_little,
    unbroken,
)
from pool import Pool
from viewkin import losses
from viewkin.losses import interpolation
from viewkin.memory.clusters import Clusters
from viewkin.memory.members import Members
from viewkin.memory.queue import KeyQueue
from viewkin.methods.amdim import AMDIM
from viewkin.methods.base import Batch, Method, Step
from viewkin.methods.terms import interclr
from viewkin.nets.ema import ema_update_
from viewkin.runtime import distributed
from viewkin.schedules import Progress
from viewkin.training import loop
from viewkin.training.logs import MetricsLog
from viewkin.training.monitors import KnnMonitor

breaks = pytest.raises(AssertionError)

# ---------------------------------------------------------------- law 1


def push_before_the_loss(method: Any, batch: Batch) -> None:
    method.queue.push_(method.key(batch))


def write_before_the_loss(method: Any, batch: Batch) -> None:
    method.bank.write_(batch.index, method.query(batch.views["view"]).detach())


def follow_before_the_loss(method: Any, batch: Batch) -> None:
    ema_update_(method.target_encoder, method.encoder, 0.9)


def fix_the_constant_at_once(method: Any, batch: Batch) -> None:
    method.partition.add_(1)


def relabel_before_the_loss(method: Any, batch: Batch) -> None:
    method.clusters.assign_(batch.index, (method.clusters.labels[batch.index] + 1) % len(method.clusters))


def draw_from_the_global_stream(method: Any, batch: Batch) -> None:
    batch.index.copy_(batch.index[torch.randperm(len(batch.index))])


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("moco", push_before_the_loss),
        ("npid", write_before_the_loss),
        ("byol", follow_before_the_loss),
        ("npid-nce", fix_the_constant_at_once),
        ("npid", draw_from_the_global_stream),
        ("interclr", relabel_before_the_loss),
    ],
)
def test_law_1_finds_what_a_forward_pass_does_beside(name: str, first: Callable[[Any, Batch], None], monkeypatch):
    method = trained_a_little(name)
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.add_(0.01)  # so that online and slow networks differ
    forward = type(method).forward

    def broken(self: Method, batch: Batch, at: Progress) -> Step:
        first(self, batch)
        return forward(self, batch, at)

    monkeypatch.setattr(type(method), "forward", broken)
    with breaks:
        pure_forward(method, batch_for(method, INDEX, step=9))


# ---------------------------------------------------------------- laws 6 and 7


@pytest.mark.parametrize("buffer", ["keys", "pointer"])
def test_law_6_finds_a_memory_that_is_not_saved(buffer, monkeypatch):
    start = KeyQueue.__init__

    def forgetful(self: KeyQueue, size: int, dim: int) -> None:
        start(self, size, dim)
        self.register_buffer(buffer, getattr(self, buffer), persistent=False)

    monkeypatch.setattr(KeyQueue, "__init__", forgetful)
    with breaks:
        saved_state_goes_on("moco")


@pytest.mark.parametrize("buffer", ["labels", "centroids", "counts", "sums", "epoch_labels"])
def test_law_6_finds_pseudo_labels_that_are_not_saved(buffer, monkeypatch):
    start = Clusters.__init__

    def forgetful(self: Clusters, features: Tensor, clusters: int, **settings: Any) -> None:
        start(self, features, clusters, **settings)
        self.register_buffer(buffer, getattr(self, buffer), persistent=False)

    monkeypatch.setattr(Clusters, "__init__", forgetful)
    with breaks:
        saved_state_goes_on("interclr")


@pytest.mark.parametrize("name", ["npid", "simclr", "byol"])
def test_law_7_finds_a_loss_of_raw_embeddings(name, monkeypatch):
    monkeypatch.setattr(losses, "unit", losses.at_least_float32)
    method = trained_a_little(name)
    with breaks:
        scale_free(method, batch_for(method, INDEX, step=9))


def test_law_7_finds_a_raw_embedding_of_the_inter_branchs_own_head(monkeypatch):
    name = "interclr(moco-symmetric)"
    raw = SimpleNamespace(**{**vars(losses), "unit": losses.at_least_float32})
    monkeypatch.setattr(interclr, "losses", raw)  # the base's embeddings stay of length 1
    method = trained_a_little(name)
    with breaks:
        scale_free(method, batch_for(method, INDEX, step=9))


# ---------------------------------------------------------------- laws 3 and 4


def own_rows_only(patch: pytest.MonkeyPatch) -> None:
    """Every rank writes what it saw itself (and repeats it, to keep the shape)."""
    patch.setattr(distributed, "gather", lambda x: torch.cat([x.detach()] * distributed.world()))


def gather_without_gradient(patch: pytest.MonkeyPatch) -> None:
    """Own rows keep their gradient; what other ranks' losses say of them is lost."""

    def gather(x: Tensor) -> Tensor:
        parts = list(distributed.gather(x).chunk(distributed.world()))
        parts[distributed.rank()] = x
        return torch.cat(parts)

    patch.setattr(distributed, "gather_with_grad", gather)


def draws_of_each_rank(patch: pytest.MonkeyPatch) -> None:
    def draw(self: Any, batch: Batch) -> Tensor:
        generator = torch.Generator().manual_seed(batch.draw.step * 10 + distributed.rank())
        return torch.randint(len(self.bank), (len(batch.index), self.config.negatives), generator=generator)

    patch.setattr("viewkin.methods.npid.NPID._draw", draw)


def positions_of_each_rank(patch: pytest.MonkeyPatch) -> None:
    part = AMDIM._part

    def other(self: AMDIM, batch: Batch, name: str, view: Any) -> Tensor:
        return part(self, replace(batch, draw=replace(batch.draw, seed=distributed.rank())), name, view)

    patch.setattr(AMDIM, "_part", other)


def kin_of_each_rank(patch: pytest.MonkeyPatch) -> None:
    def kin(self: Any, index: Tensor, chance: Tensor, **settings: Any) -> Tensor:
        return draw_kin(self, index, (chance + distributed.rank() / 2) % 1, **settings)

    draw_kin = Members.draw_positives
    patch.setattr(Members, "draw_positives", kin)


def constant_of_each_rank(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(distributed, "mean", lambda x: x.detach())


def summed_loss(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Step, "loss", property(lambda self: next(iter(self.terms.values())) * distributed.world()))


MUTATIONS = {
    f.__name__: f
    for f in (
        own_rows_only,
        gather_without_gradient,
        draws_of_each_rank,
        positions_of_each_rank,
        kin_of_each_rank,
        constant_of_each_rank,
        summed_loss,
    )
}


def train_mutant(name: str, mutation: str) -> dict[str, Tensor]:
    """What a worker runs: training on a network without BatchNorm, broken for as long as it lasts."""
    with pytest.MonkeyPatch.context() as patch:
        MUTATIONS[mutation](patch)
        return train(METHODS[name], norm="none", steps=2)


@pytest.mark.parametrize("name", ["npid", "moco"])
def test_law_3_finds_a_memory_of_each_ranks_own(pool: Pool, name: str):
    with breaks:
        ranks_agree(pool.run(train_mutant, name, "own_rows_only"))


@pytest.mark.parametrize(
    ("name", "mutation"),
    [
        ("npid", "own_rows_only"),
        ("simclr", "gather_without_gradient"),
        ("amdim", "gather_without_gradient"),
        ("amdim", "positions_of_each_rank"),
        ("npid-infonce-each", "draws_of_each_rank"),
        ("npid-nce", "constant_of_each_rank"),
        ("byol", "summed_loss"),
        ("interclr", "kin_of_each_rank"),
    ],
)
def test_law_4_finds_what_depends_on_the_number_of_ranks(pool: Pool, name: str, mutation: str):
    states = pool.run(train_mutant, name, mutation)
    with breaks:
        ranks_equal_one(states, train(METHODS[name], norm="none", steps=2))


# ---------------------------------------------------------------- law 2


def views_from_a_running_stream(patch: pytest.MonkeyPatch) -> None:
    stream = itertools.count()
    patch.setattr(loop, "generator_for", lambda *_: torch.Generator().manual_seed(next(stream)))


def optimiser_left_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.optim.SGD, "load_state_dict", lambda self, state: None)


def memory_left_out(patch: pytest.MonkeyPatch) -> None:
    load = nn.Module.load_state_dict

    def without_bank(self: nn.Module, state: dict[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        return load(self, {key: value for key, value in state.items() if "bank" not in key}, strict=False)

    patch.setattr(nn.Module, "load_state_dict", without_bank)


def epoch_from_its_start(patch: pytest.MonkeyPatch) -> None:
    epoch = loop.Loader.epoch
    patch.setattr(loop.Loader, "epoch", lambda self, number, step=0: itertools.islice(epoch(self, number), 4 - step))


def log_not_cut(patch: pytest.MonkeyPatch) -> None:
    start = MetricsLog.__init__
    patch.setattr(MetricsLog, "__init__", lambda self, out, *, from_step: start(self, out, from_step=10**9))


@pytest.mark.parametrize(
    "mutate", [views_from_a_running_stream, optimiser_left_out, memory_left_out, epoch_from_its_start, log_not_cut]
)
def test_law_2_finds_what_a_resumed_run_lacks(mutate: Callable[[pytest.MonkeyPatch], None], tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        unbroken("npid", tmp_path / "a")
        killed("npid", tmp_path / "b", step=7)
    with breaks:
        no_trace(tmp_path / "a", tmp_path / "b")


def test_a_monitor_that_writes_the_bank_is_found(tmp_path, monkeypatch):
    def run(out: Path) -> dict[str, Tensor]:
        trainer_for(recipe_for(METHODS["npid"]), noise_source(), out).run()
        return {key: value for key, value in checkpoint_of(out).items() if key.startswith(".method")}

    expected = run(tmp_path / "a")
    monkeypatch.setattr(
        KnnMonitor, "write_", lambda self, record: self.bank.write_(record["index"], record["embedding"])
    )
    assert differing(expected, run(tmp_path / "b"))


def test_the_laws_hold_where_nothing_is_broken(tmp_path: Path):
    method = trained_a_little("npid")
    pure_forward(method, batch_for(method, INDEX, step=9))
    assert method(batch_for(method, INDEX), AT).loss.isfinite()
    saved_state_goes_on("npid")
    unbroken("npid", tmp_path / "a")
    killed("npid", tmp_path / "b", step=7)
    no_trace(tmp_path / "a", tmp_path / "b")


# ---------------------------------------------------------------- EIR


def test_law_4_finds_mixtures_that_stay_on_their_rank(pool: Pool):
    ranks_equal_one(pool.run(train_named_whole, "eir"), train(METHODS["eir"], norm="none"))
    with breaks:
        ranks_equal_one(pool.run(train_with_partners_of_the_own_rank, "eir"), train(METHODS["eir"], norm="none"))


def train_named_whole(name: str) -> dict[str, Tensor]:
    return train(METHODS[name], norm="none")


def train_with_partners_of_the_own_rank(name: str) -> dict[str, Tensor]:
    """A worker whose mixtures pair its own images only."""

    def alone(mixed: Tensor, target: Tensor, temperature: float, rows: slice) -> Tensor:
        return interpolation(mixed[rows], target[rows], temperature)

    with mock.patch.object(losses, "interpolation", alone):
        return train(METHODS[name], norm="none")
