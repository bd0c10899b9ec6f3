"""Law 2: stop anywhere, go on, and nothing tells the run from one that never stopped."""

from dataclasses import replace
from pathlib import Path

import pytest

from lawbook import METHODS, NAMES, checkpoint_of, differing, metrics_of, noise_source, recipe_for, trainer_for
from lawcheck import STEPS, a_trainer, killed, no_trace, stopped, unbroken
from pool import Pool
from viewkin.data.source import Source

every_method = pytest.mark.parametrize("name", NAMES)


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


@pytest.mark.parametrize(
    "name", ["npid-nce", "simclr", "moco", "byol", "interclr", "eir-teacher", "isif-neighbours", "swav-queue", "dino"]
)
def test_law_2_on_two_ranks(pool: Pool, name: str, tmp_path: Path):
    pool.run(unbroken, name, tmp_path / "a", 2)
    pool.run(killed, name, tmp_path / "b", 7, 2)
    no_trace(tmp_path / "a", tmp_path / "b")


# ---------------------------------------------------------------- watching


def watched(name: str, out: Path, source: Source, log_every: int) -> None:
    recipe = recipe_for(METHODS[name], epochs=2)
    recipe = replace(recipe, runtime=replace(recipe.runtime, log_every=log_every))
    trainer_for(recipe, source, out).run()


@pytest.mark.parametrize("name", ["npid", "moco"])
def test_labels_and_log_reach_no_weight_and_no_memory(name, tmp_path):
    labelled, bare = noise_source(), noise_source()
    bare.facts = replace(bare.facts, labels=None, classes=())
    watched(name, tmp_path / "a", labelled, log_every=1)
    watched(name, tmp_path / "b", bare, log_every=5)
    assert any("knn_monitor" in line for line in metrics_of(tmp_path / "a"))
    assert not any("knn_monitor" in line for line in metrics_of(tmp_path / "b"))
    one, other = (
        {key: value for key, value in checkpoint_of(out).items() if key.startswith((".method", ".optimizer"))}
        for out in (tmp_path / "a", tmp_path / "b")
    )
    assert not differing(one, other)
