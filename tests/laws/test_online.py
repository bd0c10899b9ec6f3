"""The heads that learn beside the network: they learn, and leave no trace in what they watch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lawbook import METHODS, checkpoint_of, differing, metrics_of, noise_source, recipe_for, trainer_for
from lawcheck import KilledError
from pool import Pool
from viewkin.methods.base import Batch
from viewkin.schedules import Progress
from viewkin.training.loop import Trainer
from viewkin.training.online_heads import OnlineHeads

IMAGES, WIDTH, CLASSES, STEPS = 400, 8, 4, 160
CPU = torch.device("cpu")


def a_trainer(
    name: str,
    out: Path,
    *,
    online: bool = True,
    norm: str = "batch",
    accumulate: int = 1,
    seed: int = 0,
    precision: str = "32-true",
) -> Trainer:
    recipe = recipe_for(METHODS[name], accumulate=accumulate, epochs=2)
    recipe = replace(recipe, runtime=replace(recipe.runtime, online_heads=online))
    return trainer_for(recipe, noise_source(), out, norm=norm, seed=seed, precision=precision)


def exact_run(name: str, out: Path) -> None:
    """What a worker runs: networks in float64, where ranks do not differ by rounding."""
    a_trainer(name, out, norm="gathered", precision="64-true").run()


def part(out: Path, *names: str) -> dict[str, Tensor]:
    return {key: value for key, value in checkpoint_of(out).items() if key.startswith(names)}


@pytest.mark.parametrize(
    "name",
    ["npid-nce", "simclr", "byol", "eir-teacher", "interclr", "amdim-mixture", "pcl", "deepcluster", "odc", "sela"],
)
def test_what_is_watched_learns_the_same_bit_for_bit(name, tmp_path):
    a_trainer(name, tmp_path / "with").run()
    a_trainer(name, tmp_path / "without", online=False).run()
    watched, alone = (part(tmp_path / out, ".method", ".optimizer", ".monitor") for out in ("with", "without"))
    assert not differing(watched, alone)
    own = ("linear_monitor", "mlp_monitor")
    lines = [{key: value for key, value in line.items() if key not in own} for line in metrics_of(tmp_path / "with")]
    assert lines == metrics_of(tmp_path / "without")
    ends = [line for line in metrics_of(tmp_path / "with") if "linear_monitor" in line]
    assert [line["epoch"] for line in ends] == [1, 2]
    assert all(0 <= line[name] <= 1 for line in ends for name in own)


def test_a_killed_run_goes_on_with_its_heads_and_counts(tmp_path):
    a_trainer("simclr", tmp_path / "a").run()
    trainer = a_trainer("simclr", tmp_path / "b")
    step_of = trainer.step

    def step_or_die(micros):
        if trainer.at.total_step == 5:  # at a checkpoint in mid-epoch
            raise KilledError
        return step_of(micros)

    trainer.step = step_or_die
    with pytest.raises(KilledError):
        trainer.run()
    assert float(checkpoint_of(tmp_path / "b")[".online.judged"]) > 0, "nothing was counted, so a loss shows nothing"
    a_trainer("simclr", tmp_path / "b", seed=7).run(resume=True)
    assert not differing(checkpoint_of(tmp_path / "a"), checkpoint_of(tmp_path / "b"))
    assert metrics_of(tmp_path / "a") == metrics_of(tmp_path / "b")


def test_heads_may_come_later_and_go(tmp_path):
    a_trainer("moco", tmp_path, online=False).run()
    assert a_trainer("moco", tmp_path).run(resume=True).finished
    assert a_trainer("moco", tmp_path, online=False).run(resume=True).finished


@pytest.mark.parametrize("name", ["simclr", "moco"])
def test_two_ranks_teach_the_same_heads_as_one(pool: Pool, name: str, tmp_path: Path):
    pool.run(exact_run, name, tmp_path / "two")
    exact_run(name, tmp_path / "one")
    # Heads are float32, and Adam enlarges its rounding where a gradient is all but zero.
    one, two = (part(tmp_path / out, ".online.heads", ".online.right", ".online.judged") for out in ("one", "two"))
    assert not differing(one, two, 1e-3)
    assert any("linear" in key for key in one)


@pytest.mark.parametrize(
    ("name", "accumulate"),
    [
        *((name, 1) for name in ("npid", "iraug", "simclr", "moco", "moco-symmetric", "byol", "isif", "invp", "amdim")),
        *((name, 1) for name in ("eir", "eir(moco)", "interclr(moco-symmetric)", "propagation")),
        ("simclr", 2),
    ],
)
def test_features_are_the_backbones_of_the_views_and_belong_to_their_images(name, accumulate, tmp_path, monkeypatch):
    trainer = a_trainer(name, tmp_path, norm="none", accumulate=accumulate)
    assert trainer.online is not None
    batches: list[Batch] = []
    expected: list[tuple[Tensor, Tensor]] = []
    make, see = trainer.batch, trainer.online.see_

    def batch(*arguments):
        batches.append(make(*arguments))
        return batches[-1]

    def look(features, index, views):
        names = list(trainer.method.view_spec)[:views]
        with torch.no_grad():
            rows = torch.stack([trainer.method.backbone(batches[-1].views[name]) for name in names], 1)
        expected.append((rows.flatten(0, 1), index.repeat_interleave(views)))
        see(features, index, views)
        (found, images), (rows, own) = trainer.online._seen[-1], expected[-1]
        torch.testing.assert_close(found, rows)
        assert torch.equal(images, own)
        assert not found.requires_grad

    monkeypatch.setattr(trainer, "batch", batch)
    monkeypatch.setattr(trainer.online, "see_", look)
    trainer.run()
    assert len(expected) == trainer.at.total_step * accumulate


# ---------------------------------------------------------------- the heads alone


def labelled() -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, F) that tell their label, labels, and images held out."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    centres = 4 * torch.eye(CLASSES, WIDTH)
    return centres[labels] + torch.randn(IMAGES, WIDTH, generator=generator), labels, torch.arange(0, IMAGES, 5)


def taught(features: Tensor, labels: Tensor, held: Tensor, epochs: int) -> tuple[OnlineHeads, dict[str, float]]:
    """Heads after some epochs, and the accuracies of the last one."""
    heads, found = OnlineHeads(WIDTH, labels, held, steps=STEPS, seed=0, device=CPU), dict[str, float]()
    for epoch in range(epochs):
        order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(epoch)).split(50)
        for number, index in enumerate(order):
            heads.see_([features[index]], index, 1)
            heads.learn_(1.0, Progress(step=epoch * len(order) + number, steps=STEPS))
        found = heads.accuracies_()
    return heads, found


def test_heads_learn_what_features_tell():
    features, labels, held = labelled()
    _, known = taught(features, labels, held, epochs=20)
    assert min(known.values()) > 0.85
    mixed = labels[torch.randperm(IMAGES, generator=torch.Generator().manual_seed(1))]
    _, guessed = taught(features, mixed, held, epochs=20)
    assert max(guessed.values()) < 0.45


@pytest.mark.parametrize(("steps", "rate"), [(31_200, 2e-4), (10**6, 2e-4), (3_000, 2e-3), (100, 0.01)])
def test_short_runs_have_a_higher_rate_and_none_a_lower_than_published(steps, rate):
    _, labels, held = labelled()
    heads = OnlineHeads(WIDTH, labels, held, steps=steps, seed=0, device=CPU)
    assert heads.rate == pytest.approx(rate)


def test_images_held_out_judge_and_do_not_teach():
    features, labels, held = labelled()
    other = labels.clone()
    other[held] = (other[held] + 1) % CLASSES
    (one, known), (two, mistaken) = (taught(features, given, held, epochs=5) for given in (labels, other))
    assert not differing(one.heads.state_dict(), two.heads.state_dict())
    assert all(known[name] > mistaken[name] + 0.3 for name in known)


def test_only_images_held_out_with_a_label_are_counted():
    features, labels, held = labelled()
    labels[0] = -1
    heads = OnlineHeads(WIDTH, labels, held, steps=STEPS, seed=0, device=CPU)
    assert torch.equal(heads.teaching[:7], torch.tensor([-100, *labels[1:5], -100, labels[6]]))
    heads.see_([features[:7], features[:7]], torch.arange(7), 2)  # of these 5 is held out with a label, 0 without
    heads.learn_(1.0, Progress())
    assert int(heads.judged) == 2
    assert int(heads.heads["mlp"][2].num_batches_tracked) == 1, "BatchNorm and dropout as in training"
    heads.accuracies_()
    assert int(heads.judged) == 0, "an epoch's counts begin anew"
