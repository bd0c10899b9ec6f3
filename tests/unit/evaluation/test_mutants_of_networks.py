"""Each way in which protocols that show a network images are known to be broken fails a check."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch

from seen import coloured, sealed, tiny
from viewkin.evaluation import network
from viewkin.evaluation.finetuning import finetune
from viewkin.evaluation.network_presets import FinetuneConfig, StagesConfig
from viewkin.evaluation.probes import stages

TRAIN, TEST = coloured(24, 0), coloured(12, 1)
TUNED = FinetuneConfig(epochs=1, batch_size=8, learning_rates=(0.1,))
STAGED = StagesConfig(epochs=1, batch_size=8, dims=24)


def test_batchnorm_that_moves_while_classifiers_train_would_be_seen(monkeypatch):
    monkeypatch.setattr(stages, "frozen", lambda _: nullcontext())
    judged = tiny()
    judged.encoder.train()
    with pytest.raises(RuntimeError, match="running_mean"):
        stages.stages(STAGED, judged, TRAIN, TEST)


def test_a_rate_chosen_on_test_would_be_seen(monkeypatch):
    two = dataclasses.replace(TUNED, learning_rates=(0.1, 0.2))
    test = sealed(TEST)

    def peeking(*_: object) -> tuple[tuple[float, float], dict]:
        return (float(test.labels[0]) + 0.1, 1.0), {}

    monkeypatch.setattr(finetune, "_choose_rates", peeking)
    with pytest.raises(AssertionError, match="before the last test image"):
        finetune.finetune(two, tiny(), TRAIN, test)


def test_a_backbone_taught_in_place_would_be_seen(monkeypatch):
    judged = tiny()
    before = judged.encoder.conv.weight.clone()
    finetune.finetune(TUNED, judged, TRAIN, TEST)
    assert torch.equal(before, judged.encoder.conv.weight)
    monkeypatch.setattr(finetune.copy, "deepcopy", lambda module: module)
    finetune.finetune(TUNED, judged, TRAIN, TEST)
    assert not torch.equal(before, judged.encoder.conv.weight)


def test_views_that_repeat_each_epoch_would_be_seen(monkeypatch):
    def seen() -> list[torch.Tensor]:
        policy = network.train_view_policy(tiny().policy, least_area=0.2)
        batches = network.TrainingBatches(tiny(), TRAIN, policy, batch_size=24, seed=0)
        return [views[index.argsort()] for epoch in (0, 1) for index, views in batches.epoch(epoch)]

    assert not torch.equal(*seen())
    assert torch.equal(seen()[0], seen()[0])
    monkeypatch.setattr(network, "generator_for", lambda *_: torch.Generator().manual_seed(0))
    assert torch.equal(*seen())
