import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seen import coloured, sealed, tiny
from viewkin.evaluation.network import TrainingBatches, check_unchanged, train_view_policy
from viewkin.evaluation.network_presets import STAGES_PRESETS, StagesConfig
from viewkin.evaluation.probes.stages import StageProbe, pooling_layers, stages
from viewkin.nets.resnet import ResNet
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError

TRAIN, TEST = coloured(48, 0), coloured(30, 1)
SHORT = StagesConfig(epochs=6, milestones=(4,), batch_size=16, learning_rates=(0.05,), dims=96)
RESNET50 = {"conv1": (64, 112), "conv2": (256, 56), "conv3": (512, 28), "conv4": (1024, 14), "conv5": (2048, 7)}


def pooled_shapes(config, shapes):
    found = pooling_layers(config, shapes)
    maps = {name: torch.empty(1, width, side, side, device="meta") for name, (width, side) in shapes.items()}
    return {name: tuple(found[name](x).shape[1:]) for name, x in maps.items()}


def test_interclrs_windows_give_the_published_sizes_at_224_pixels():
    found = pooled_shapes(StagesConfig(), RESNET50)
    assert [w * h * v for w, h, v in found.values()] == [9216, 9216, 8192, 9216, 8192]
    assert [h for _, h, _ in found.values()] == [12, 6, 4, 3, 2]


def test_windows_are_placed_as_published():
    # The padding of the stem's counts as zeros, and conv5's two windows a side overlap.
    pooling = pooling_layers(StagesConfig(), RESNET50)
    stem = pooling["conv1"](torch.ones(1, 1, 112, 112))
    assert stem[0, 0, 0, 0].item() == pytest.approx(36 / 100)
    last = pooling["conv5"](torch.arange(49.0).view(1, 1, 7, 7))
    rows = torch.arange(49.0).view(7, 7)
    assert last.flatten().tolist() == [rows[i : i + 6, j : j + 6].mean().item() for i in (0, 1) for j in (0, 1)]


def test_other_sizes_are_pooled_to_squares_of_about_9k_numbers():
    dims = dataclasses.replace(StagesConfig(), pooling="dims")
    assert pooled_shapes(dims, RESNET50) == pooled_shapes(StagesConfig(), RESNET50)
    small = {"conv1": (64, 32), "conv2": (64, 32), "conv3": (128, 16), "conv4": (256, 8), "conv5": (512, 4)}
    assert [side for _, side, _ in pooled_shapes(StagesConfig(), small).values()] == [12, 12, 8, 6, 4]


def test_invps_blocks_of_resnet50_are_pooled_to_the_published_squares():
    net = ResNet("resnet50", stem="imagenet", width=1)
    maps = net.eval().blocks(torch.zeros(1, 3, 224, 224))
    shapes = {name: (x.shape[1], x.shape[2]) for name, x in maps.items()}
    found = [side for _, side, _ in pooled_shapes(STAGES_PRESETS["invp"], shapes).values()]
    assert found == [12, 6, 6, 6, 4, 4, 4, 4, *6 * [3], 1, 1, 1]


def test_blocks_end_in_the_stages():
    net = ResNet("resnet18", width=2).eval()
    x = torch.randn(2, 3, 16, 16)
    blocks, whole = net.blocks(x), net.stages(x)
    assert len(blocks) == 9
    for name in ("conv2", "conv3", "conv4", "conv5"):
        torch.testing.assert_close(blocks[f"{name}.2"], whole[name])


@pytest.mark.parametrize(
    ("name", "rate", "decay", "epochs", "milestones", "nesterov", "colour"),
    [
        ("interclr", 0.01, 1e-4, 90, (30, 60), True, True),
        ("places", 0.01, 1e-4, 14, (4, 8, 12), True, False),
        ("invp", 1.0, 0.0, 120, (50, 80, 100), False, False),
        ("moco", 30.0, 0.0, 100, (60, 80), False, False),
        ("eir-moco", 10.0, 0.0, 100, (60, 80), False, False),
    ],
)
def test_schedules_are_the_published_ones(name, rate, decay, epochs, milestones, nesterov, colour):
    config = STAGES_PRESETS[name]
    assert (config.learning_rates, config.weight_decay, config.epochs) == ((rate,), decay, epochs)
    assert (config.milestones, config.factor, config.batch_size) == (milestones, 0.1, 256)
    assert (config.nesterov, config.momentum, config.colour, config.init_std) == (nesterov, 0.9, colour, 0.01)


def test_the_probe_of_eirs_released_code_is_mocos_at_a_third_of_the_rate():
    assert STAGES_PRESETS["eir-moco"] == dataclasses.replace(STAGES_PRESETS["moco"], learning_rates=(10.0,))


def test_training_is_nesterovs_sgd_with_decay_on_every_classifier_alone():
    network = tiny()
    found = stages(SHORT, network, TRAIN, TEST)
    encoder = network.encoder.eval()
    torch.manual_seed(seed_for(0, "stages"))
    heads = {}
    for name in ("conv1", "conv2"):  # maps of 6 channels, pooled to 4x4
        heads[name] = nn.Linear(96, 3)
        nn.init.normal_(heads[name].weight, std=0.01)
        nn.init.zeros_(heads[name].bias)
    policy = train_view_policy(network.policy, least_area=0.08, colour=True)
    batches = TrainingBatches(network, TRAIN, policy, batch_size=16, seed=0)
    for name, head in heads.items():
        velocity = [torch.zeros_like(weight) for weight in head.parameters()]
        for epoch in range(6):
            rate = 0.05 * (0.1 if epoch >= 4 else 1)
            for index, views in batches.epoch(epoch):
                x = F.adaptive_avg_pool2d(encoder.stages(views)[name].detach(), 4)
                x = (x - x.mean((0, 2, 3), True)) / (x.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
                loss = F.cross_entropy(head(x.flatten(1)), TRAIN.labels[index])
                slopes = torch.autograd.grad(loss, list(head.parameters()))
                for place, (weight, slope) in enumerate(zip(head.parameters(), slopes, strict=True)):
                    slope = slope + 1e-4 * weight.detach()
                    velocity[place] = 0.9 * velocity[place] + slope
                    weight.data -= rate * (slope + 0.9 * velocity[place])
        taught = found.heads[name][-1]
        torch.testing.assert_close(taught.weight, head.weight, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(taught.bias, head.bias, rtol=1e-3, atol=1e-5)


def test_pooled_features_alone_have_one_linear_layer_on_augmented_views():
    config = dataclasses.replace(
        STAGES_PRESETS["moco"], epochs=2, milestones=(1,), batch_size=16, learning_rates=(0.5,)
    )
    network = tiny()
    found = stages(config, network, TRAIN, TEST)
    assert found.dims == {"pooled": 6}
    encoder = network.encoder.eval()
    torch.manual_seed(seed_for(0, "stages"))
    head = nn.Linear(6, 3)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    optimiser = torch.optim.SGD(head.parameters(), 0.5, momentum=0.9)
    batches = TrainingBatches(network, TRAIN, train_view_policy(network.policy, least_area=0.08), batch_size=16, seed=0)
    for epoch in range(2):
        optimiser.param_groups[0]["lr"] = 0.5 * 0.1**epoch
        for index, views in batches.epoch(epoch):
            optimiser.zero_grad()
            F.cross_entropy(head(encoder(views).detach()), TRAIN.labels[index]).backward()
            optimiser.step()
    assert len(found.heads["pooled"]) == 2  # flattened, and no BatchNorm
    torch.testing.assert_close(found.heads["pooled"][-1].weight, head.weight, rtol=1e-3, atol=1e-5)


def test_every_map_is_judged_and_the_network_stays_as_it_was():
    network = tiny()
    network.encoder.train()
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    found = stages(dataclasses.replace(SHORT, epochs=25, milestones=(20,)), network, TRAIN, TEST)
    assert found.dims == {"conv1": 96, "conv2": 96}
    assert min(found.top1.values()) > 0.9
    assert found.top5 == {"conv1": 1.0, "conv2": 1.0}
    assert list(found.values()) == ["conv1 top-1", "conv2 top-1"]
    assert network.encoder.training
    assert all(torch.equal(before[name], value) for name, value in network.encoder.state_dict().items())


def test_a_network_that_changes_while_it_is_judged_is_a_fault():
    layer = nn.BatchNorm1d(2)
    with pytest.raises(RuntimeError, match="running_mean"), check_unchanged(layer):
        layer(torch.randn(4, 2))


def test_classifiers_see_a_batchnorm_without_scale_and_shift_or_one_a_number():
    kinds = {"channel": (nn.BatchNorm2d, 6, False), "number": (nn.BatchNorm1d, 96, True)}
    for norm, (kind, width, affine) in kinds.items():
        probe = StageProbe(dataclasses.replace(SHORT, norm=norm), tiny(), 3, False)
        found = next(module for module in probe.head("conv1") if isinstance(module, kind))
        assert (found.num_features, found.affine) == (width, affine)


def test_each_map_has_its_own_rate_chosen_on_train_and_none_that_diverges():
    two = dataclasses.replace(SHORT, learning_rates=(1e30, 1e-9, 0.05))
    found = stages(two, tiny(), TRAIN, sealed(TEST))
    assert set(found.rates.values()) <= {1e-9, 0.05}
    for name, rate in found.rates.items():
        shares = found.validation[name]
        assert shares[rate] == max(shares.values())
        assert shares[1e30] == 0.0


def test_no_test_label_is_read_before_the_last_test_image_was_classified():
    assert stages(dataclasses.replace(SHORT, epochs=1), tiny(), TRAIN, sealed(TEST)).values()


def test_what_cannot_be_judged_is_refused():
    network = dataclasses.replace(tiny(), encoder=nn.Flatten())
    with pytest.raises(UserError, match="this backbone has no stages"):
        stages(SHORT, network, TRAIN, TEST)
    with pytest.raises(UserError, match="a classifier diverged: give smaller learning_rates"):
        stages(dataclasses.replace(SHORT, learning_rates=(1e30,)), tiny(), TRAIN, TEST)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("maps", "layers", "one of stages, blocks, pooled"),
        ("pooling", "max", "published or dims"),
        ("norm", "layer", "one of channel, number, none"),
        ("dims", 0, "at least 1"),
        ("learning_rates", (), "above 0"),
        ("momentum", 1.0, "below 1"),
        ("momentum", 0.0, "false without momentum"),
        ("weight_decay", -1.0, "at least 0"),
        ("batch_size", 1, "at least 2"),
        ("epochs", 0, "1 to 1,000,000"),
        ("milestones", (0, 3), "rising"),
        ("milestones", (-1, 3), "rising"),
        ("factor", 0.0, "above 0"),
        ("least_area", 0.0, "at most 1"),
        ("init_std", -0.1, "at least 0"),
        ("holdout", 0.0, "between 0 and 1"),
        ("precision", "64", "32-true"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(name, value, words):
    with pytest.raises(UserError, match=rf" is .*; it must be .*{words}.*\.$"):
        StagesConfig(**{name: value})
