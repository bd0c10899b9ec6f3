import dataclasses
from contextlib import nullcontext

import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional as F

from seen import coloured, tiny
from viewkin.augment.views import ViewMaker
from viewkin.data.source import ResidentSource, SourceInfo
from viewkin.evaluation.network import TrainingBatches, train_view_policy
from viewkin.evaluation.probes import multilabel as module
from viewkin.evaluation.probes.multilabel import BlockReader, MultilabelConfig, multilabel
from viewkin.nets.resnet import ResNet
from viewkin.runtime.draws import generator_for, seed_for
from viewkin.runtime.errors import UserError

SHORT = MultilabelConfig(block=1, steps=9, batch_size=8, halve_every=4, learning_rate=0.3, crops=0)


def several(count, seed):
    """Images whose colour is one of two classes; the second class also has images where it is to be ignored."""
    source = coloured(count, seed, 3)
    targets = (source.labels[:, None] == torch.arange(2)).to(torch.int8)
    targets[::5, 1] = -1
    facts = SourceInfo(name="several", size=source.size, keys=source.keys, targets=targets)
    return ResidentSource(facts, source.images(torch.arange(count)))


TRAIN, TEST = several(20, 0), several(30, 1)


def judged():
    network = tiny()
    network.encoder.eval()
    return network


def scored(found, config, network, source):
    """Logits of the test view."""
    return torch.cat([found.head(BlockReader(config, network)(views)) for views in network.test_views(source)]).detach()


def test_defaults_are_those_of_the_authors_code():
    config = MultilabelConfig()
    assert (config.block, config.side, config.learning_rate, config.momentum) == (2, 2, 3.0, 0.9)
    assert (config.weight_decay, config.batch_size, config.steps, config.halve_every) == (1e-6, 16, 1900, 760)
    assert (config.least_area, config.crops) == (0.2, 10)


def test_training_is_sgd_on_the_sum_over_classes_without_what_is_ignored():
    config = dataclasses.replace(SHORT, weight_decay=0.1)
    network = judged()
    found = multilabel(config, network, TRAIN, TEST)
    torch.manual_seed(seed_for(0, "multilabel"))
    head = nn.Linear(6 * 4, 2)
    velocity = [torch.zeros_like(weight) for weight in head.parameters()]
    batches = TrainingBatches(network, TRAIN, train_view_policy(network.policy, least_area=0.2), batch_size=8, seed=0)
    taught = [pair for epoch in range(3) for pair in batches.epoch(epoch)]
    assert [len(index) for index, _ in taught] == [8, 8, 4] * 3
    for step, (index, views) in enumerate(taught):
        x = F.adaptive_avg_pool2d(network.encoder.stages(views)["conv2"].detach(), 2).flatten(1)
        logits = head(x)
        loss = 0.0
        for row, image in enumerate(index):
            for column, shown in enumerate(TRAIN.targets[image].tolist()):
                if shown >= 0:
                    p = torch.sigmoid(logits[row, column])
                    loss = loss - (p if shown else 1 - p).log() / len(index)
        slopes = torch.autograd.grad(loss, list(head.parameters()))
        for place, (weight, slope) in enumerate(zip(head.parameters(), slopes, strict=True)):
            velocity[place] = 0.9 * velocity[place] + slope + 0.1 * weight.detach()
            weight.data -= 0.3 * 0.5 ** (step // 4) * velocity[place]
    torch.testing.assert_close(found.head.weight, head.weight, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.head.bias, head.bias, rtol=1e-3, atol=1e-5)


def test_precision_is_scikit_learns_on_the_images_that_are_not_ignored():
    network = judged()
    found = multilabel(SHORT, network, TRAIN, TEST)
    scores = scored(found, SHORT, network, TEST)
    for column in (0, 1):
        counted = TEST.targets[:, column] >= 0
        expected = average_precision_score(TEST.targets[counted, column].numpy(), scores[counted, column].numpy())
        assert found.precision[column] == pytest.approx(expected, abs=1e-9)
    assert found.values() == {"mAP": pytest.approx(50 * sum(found.precision.values()))}


def test_logits_of_random_crops_are_averaged(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 12)
    config = dataclasses.replace(SHORT, crops=3)
    network = judged()
    found = multilabel(config, network, TRAIN, TEST)
    maker = ViewMaker(train_view_policy(network.policy, least_area=0.2), network.image_size, {"view": "first"})
    scores = []
    for block, (_, images) in enumerate(TEST.blocks(12)):
        draw = generator_for(0, "multilabel crops", block)
        views = [maker(images, maker.sample(len(images), draw, TEST.size))["view"] for _ in range(3)]
        assert not torch.equal(views[0], views[1])
        scores.append(sum(found.head(BlockReader(config, network)(view)) for view in views).detach() / 3)
    wanted = (TEST.targets[:, 0] == 1).numpy()
    expected = average_precision_score(wanted, torch.cat(scores)[:, 0].numpy())
    assert found.precision[0] == pytest.approx(expected, abs=1e-9)


def test_blocks_are_counted_from_the_last():
    network = dataclasses.replace(judged(), encoder=ResNet("resnet18", width=2).eval())
    views = torch.randn(2, 3, 16, 16)
    for block, name in ((1, "conv5.2"), (2, "conv5.1"), (9, "conv1")):
        reader = BlockReader(dataclasses.replace(SHORT, block=block), network)
        expected = F.adaptive_avg_pool2d(network.encoder.blocks(views)[name], 2).flatten(1)
        torch.testing.assert_close(reader(views), expected)
        assert reader.dims == expected.shape[1]
    with pytest.raises(UserError, match="at most 9"):
        BlockReader(dataclasses.replace(SHORT, block=10), network)


def test_one_class_an_image_is_judged_one_against_the_rest():
    found = multilabel(dataclasses.replace(SHORT, steps=60, halve_every=40), judged(), coloured(48, 0), coloured(30, 1))
    assert list(found.precision) == [0, 1, 2]
    assert found.values()["mAP"] > 80


def test_a_network_without_blocks_and_one_that_diverges_are_refused():
    bare = dataclasses.replace(judged(), encoder=nn.Flatten())
    with pytest.raises(UserError, match="has no blocks"):
        multilabel(SHORT, bare, TRAIN, TEST)
    with pytest.raises(UserError, match="smaller learning_rate"):
        multilabel(dataclasses.replace(SHORT, learning_rate=1e38), tiny(), TRAIN, TEST)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in ("block", "side", "batch_size", "steps", "halve_every")),
        *(("learning_rate", value) for value in (0.0, -1.0, float("nan"), float("inf"))),
        *(("momentum", 1.0), ("weight_decay", -1.0), ("least_area", 0.0), ("least_area", 1.1), ("crops", -1)),
        ("precision", "16-mixed"),
    ],
)
def test_bad_settings_are_refused(name, value):
    with pytest.raises(UserError, match=name):
        MultilabelConfig(**{name: value})


def test_batchnorm_that_moves_would_be_seen(monkeypatch):
    monkeypatch.setattr(module, "frozen", lambda _: nullcontext())
    network = tiny()
    network.encoder.train()
    with pytest.raises(RuntimeError, match="running_mean"):
        multilabel(SHORT, network, TRAIN, TEST)
