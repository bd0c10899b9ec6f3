"""Laws 3 and 4: ranks end identical, and two ranks with B images are one rank with 2B."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lawbook import (
    METHODS,
    NAMES,
    build,
    checkpoint_of,
    differing,
    metrics_of,
    noise_source,
    recipe_for,
    train,
    trainer_for,
)
from lawcheck import ranks_agree, ranks_equal_one
from pool import Pool

every_method = pytest.mark.parametrize("name", NAMES)


def train_named(name: str, norm: str) -> dict[str, Tensor]:
    """What a worker runs: a method of the lawbook."""
    return train(METHODS[name], norm=norm)


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


def one_epoch(name: str, out: Path, norm: str, accumulate: int = 1) -> None:
    """Run the real loop, in float64, with everything around a method: order, views, records, log."""
    trainer_for(
        recipe_for(METHODS[name], accumulate=accumulate), noise_source(), out, norm=norm, precision="64-true"
    ).run()


@pytest.mark.parametrize(
    "name",
    [
        *("npid-infonce", "npid-nce", "simclr", "moco-symmetric", "byol", "interclr", "amdim-mixture"),
        *("isif-neighbours", "pcl", "local_aggregation", "deepcluster", "odc", "sela"),
        *("barlow", "vicreg", "nnclr", "swav-queue", "dino-crops", "moco_v3", "sigreg"),
    ],
)
def test_law_4_in_the_loop_itself(pool: Pool, name: str, tmp_path: Path):
    pool.run(one_epoch, name, tmp_path / "two", "gathered")
    one_epoch(name, tmp_path / "one", "gathered")
    # Fabric hands the record over in float32, so what NCE averages of it is rounded there.
    assert not differing(checkpoint_of(tmp_path / "one"), checkpoint_of(tmp_path / "two"), 1e-6)
    for one, two in zip(metrics_of(tmp_path / "one"), metrics_of(tmp_path / "two"), strict=True):
        # The other measures are of rank 0's own rows.
        for key in (key for key in one if key in ("step", "lr", "epoch", "loss") or key.startswith("term/")):
            assert one[key] == pytest.approx(two[key], rel=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        *("npid-infonce-each", "iraug", "moco", "byol", "interclr", "simsiam-views", "dino-crops", "diet"),
        *("local_aggregation", "discovery", "deepcluster", "sela"),
    ],
)
def test_micro_batches_are_ranks_in_time(name, tmp_path):
    # Without BatchNorm two micro-batches are one batch. SimCLR is not among these: a micro-batch sees itself alone.
    one_epoch(name, tmp_path / "one", "none")
    one_epoch(name, tmp_path / "two", "none", 2)
    assert not differing(checkpoint_of(tmp_path / "one"), checkpoint_of(tmp_path / "two"), 1e-9)


@pytest.mark.parametrize("name", ["npid", "simclr", "byol"])
def test_statistics_of_one_rank_are_another_training(pool: Pool, name: str):
    # Why law 4 needs the two networks it names: with BatchNorm of each rank's own batch it cannot hold.
    state, alone = pool.run(train_named, name, "batch")[0], train_named(name, "batch")
    assert differing(alone, state, 1e-3)
    assert not any(torch.isnan(value).any() for value in state.values() if value.is_floating_point())
