import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from seen import coloured, sealed, tiny
from viewkin.augment.views import test_view as view
from viewkin.evaluation.finetuning.finetune import finetune, optimizer_of, semi, set_rates, with_head
from viewkin.evaluation.network import TrainingBatches, train_view_policy
from viewkin.evaluation.network_presets import FINETUNE_PRESETS, SEMI_PRESETS, FinetuneConfig, SemiConfig
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError

TRAIN, TEST = coloured(48, 0), coloured(30, 1)
SHORT = FinetuneConfig(learning_rates=(0.1,), epochs=8, milestones=(5, 7), batch_size=16, weight_decay=0.01)


def rates_of(config, epochs):
    """(backbone's, head's) rate at each epoch, and their weight decays."""
    pair, whole = (config.learning_rates[0], config.head_factors[0]), with_head(tiny(), 3, 0.01)
    optimizer = optimizer_of(config, pair, whole, config.batch_size)
    found = []
    for epoch in epochs:
        set_rates(config, optimizer, epoch)
        found.append(tuple(group["lr"] for group in optimizer.param_groups))
    assert {type(optimizer)} == {torch.optim.SGD}
    return found, [group["weight_decay"] for group in optimizer.param_groups]


@pytest.mark.parametrize(
    ("config", "epochs", "rates", "decay", "total", "batch"),
    [
        (
            FINETUNE_PRESETS["invp"],
            (0, 49, 50, 70, 80),
            [(1e-3, 5e-3), (1e-3, 5e-3), (1e-4, 5e-4), (1e-5, 5e-5), (1e-6, 5e-6)],
            1e-6,
            81,
            128,
        ),
        (
            SEMI_PRESETS["invp-1"],
            (0, 15, 20, 25),
            [(0.0012, 0.06), (0.00012, 0.06), (1.2e-5, 0.06), (1.2e-6, 0.06)],
            1e-5,
            30,
            128,
        ),
        (
            SEMI_PRESETS["interclr-1"],
            (0, 11, 12, 16),
            [(0.01, 1), (0.01, 1), (0.002, 0.2), (4e-4, 0.04)],
            5e-4,
            20,
            256,
        ),
        (SEMI_PRESETS["interclr-10"], (0, 12, 16), [(0.01, 1), (0.002, 0.2), (4e-4, 0.04)], 1e-4, 20, 256),
        # 0.05 * 4096 / 256 = 0.8; a cosine is 1, 3/4, 1/2 and 0 after no, a third, half and all of the epochs.
        (SEMI_PRESETS["simclr-1"], (0, 20, 30, 60), [(0.8, 0.8), (0.6, 0.6), (0.4, 0.4), (0, 0)], 0, 60, 4096),
        (SEMI_PRESETS["simclr-10"], (0, 10, 15, 30), [(0.8, 0.8), (0.6, 0.6), (0.4, 0.4), (0, 0)], 0, 30, 4096),
    ],
)
def test_rates_decay_length_and_batch_are_the_published_ones(config, epochs, rates, decay, total, batch):
    found, decays = rates_of(config, epochs)
    assert [value for pair in found for value in pair] == pytest.approx([value for pair in rates for value in pair])
    assert decays == [decay, decay]
    assert (config.epochs, config.batch_size, config.momentum, config.least_area) == (total, batch, 0.9, 0.08)


def test_shares_and_the_search_are_the_published_ones():
    assert {name: config.share for name, config in SEMI_PRESETS.items()} == {
        f"{name}-{percent}": percent / 100 for name in ("interclr", "search", "invp", "simclr") for percent in (1, 10)
    }
    search = SEMI_PRESETS["search-10"]
    assert (search.learning_rates, search.head_factors) == ((0.001, 0.01, 0.1), (1, 10, 100))
    assert search.weight_decay == 1e-4


def test_simclrs_fine_tuning_is_nesterovs_on_a_cosine_from_a_head_of_zeros():
    network, config = tiny(), dataclasses.replace(SEMI_PRESETS["simclr-1"], epochs=3, batch_size=16)
    found = finetune(config, network, TRAIN, TEST)
    torch.manual_seed(seed_for(0, "finetune"))
    whole = with_head(network, 3, 0.0)
    assert not whole[1].weight.any()
    batches = TrainingBatches(network, TRAIN, train_view_policy(network.policy, least_area=0.08), batch_size=16, seed=0)
    weights = dict(whole.named_parameters())
    velocity = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    step = 0
    for epoch in range(3):
        for index, views in batches.epoch(epoch):
            rate = 0.05 * 16 / 256 * (1 + math.cos(math.pi * step / 9)) / 2
            gradient = torch.autograd.grad(F.cross_entropy(whole(views), TRAIN.labels[index]), list(weights.values()))
            for (name, weight), slope in zip(weights.items(), gradient, strict=True):
                velocity[name] = 0.9 * velocity[name] + slope
                weight.data -= rate * (slope + 0.9 * velocity[name])
            step += 1
    for name, weight in found.network.named_parameters():
        torch.testing.assert_close(weight, weights[name], rtol=1e-4, atol=1e-6)


def test_a_rate_per_256_images_follows_the_images_there_are():
    config = dataclasses.replace(SEMI_PRESETS["simclr-1"], epochs=2)
    few = finetune(dataclasses.replace(config, batch_size=48), tiny(), TRAIN, TEST)
    more = finetune(config, tiny(), TRAIN, TEST)  # 4,096 asked for, 48 there
    torch.testing.assert_close(few.network.state_dict(), more.network.state_dict(), rtol=0, atol=0)


def test_training_is_sgd_with_a_rate_of_its_own_for_the_head():
    network = tiny()
    config = dataclasses.replace(SHORT, epochs=3, milestones=(1, 2))  # few steps: rounding grows with them
    found = finetune(config, network, TRAIN, TEST)
    torch.manual_seed(seed_for(0, "finetune"))
    whole = with_head(network, 3, 0.01)
    policy = train_view_policy(network.policy, least_area=0.08)
    batches = TrainingBatches(network, TRAIN, policy, batch_size=16, seed=0)
    weights = dict(whole.named_parameters())
    velocity = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for epoch in range(3):
        rate = 0.1 * 0.1**epoch
        for index, views in batches.epoch(epoch):
            gradient = torch.autograd.grad(F.cross_entropy(whole(views), TRAIN.labels[index]), list(weights.values()))
            for (name, weight), slope in zip(weights.items(), gradient, strict=True):
                velocity[name] = 0.9 * velocity[name] + slope + 0.01 * weight.detach()
                weight.data -= (5 * rate if name.startswith("1.") else rate) * velocity[name]
    for name, weight in found.network.named_parameters():
        torch.testing.assert_close(weight, weights[name], rtol=1e-4, atol=1e-6)


def test_fine_tuning_learns_and_leaves_the_network_and_the_global_stream_as_they_were():
    network = tiny()
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    stream = torch.get_rng_state()
    longer = dataclasses.replace(SHORT, epochs=25, milestones=(20,))
    found = finetune(longer, network, TRAIN, TEST)
    assert found.top1 > 0.9
    assert found.top5 == 1.0  # three classes only
    assert found.values() == {"top-1": 100 * found.top1, "top-5": 100.0}
    assert all(torch.equal(before[name], value) for name, value in network.encoder.state_dict().items())
    assert not torch.equal(found.network.state_dict()["0.conv.weight"], before["conv.weight"])
    assert not found.network.training
    assert torch.equal(stream, torch.get_rng_state())
    assert finetune(longer, network, TRAIN, TEST).top1 == found.top1


def test_top5_counts_the_right_class_among_the_five_best():
    # Untaught, the head ranks classes by chance: over twenty of them, top-5 lies near a quarter and above top-1.
    untaught = dataclasses.replace(SHORT, learning_rates=(1e-12,), epochs=1)
    found = finetune(untaught, tiny(), coloured(60, 0, 20), coloured(200, 1, 20))
    assert found.top1 < found.top5 < 0.5
    classify = found.network
    source = coloured(200, 1, 20)
    best = classify(view(source.images(torch.arange(200)), 16, tiny().policy).contiguous()).topk(5).indices
    assert found.top5 == pytest.approx((best == source.labels[:, None]).any(1).float().mean().item())


def test_no_test_label_is_read_before_the_last_test_image_was_classified():
    two = dataclasses.replace(SHORT, learning_rates=(0.01, 0.1), epochs=2)
    assert finetune(two, tiny(), TRAIN, sealed(TEST)).values()
    few = SemiConfig(share=0.5, epochs=1, batch_size=8)
    assert semi(few, tiny(), TRAIN, sealed(TEST)).values()


def test_rates_are_chosen_on_train_and_a_rate_that_diverges_is_never_chosen():
    three = dataclasses.replace(SHORT, learning_rates=(1e30, 1e-9, 0.1), epochs=5)
    found = finetune(three, tiny(), TRAIN, TEST)
    assert found.rates == (0.1, 5.0)
    assert found.validation[1e30, 5.0] == 0.0
    assert list(found.validation) == [(1e30, 5.0), (1e-9, 5.0), (0.1, 5.0)]
    assert any("chosen on a part of train" in note for note in found.notes)
    # The chosen network is taught again with all of train.
    alone = finetune(dataclasses.replace(three, learning_rates=(0.1,)), tiny(), TRAIN, TEST)
    torch.testing.assert_close(found.network.state_dict(), alone.network.state_dict(), rtol=0, atol=0)


def test_semi_sees_the_labels_of_its_share_alone():
    few = SemiConfig(share=0.25, epochs=1, batch_size=8)
    found = semi(few, tiny(), TRAIN, TEST)
    assert found.images == 12
    assert found.notes[0] == "Labels of 12 of 48 training images: 25 % of them."


def test_semi_takes_a_list_of_names(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("0.png\n1.png\n2.png\n2/5.png\n")
    found = semi(SemiConfig(names=str(names), epochs=1, batch_size=2), tiny(), TRAIN, TEST)
    assert found.images == 4
    assert str(names) in found.notes[0]


def test_a_test_class_that_is_not_in_train_counts_as_an_error():
    found = finetune(dataclasses.replace(SHORT, epochs=1), tiny(), coloured(48, 0, 2), coloured(30, 1, 3))
    assert found.top5 == pytest.approx(2 / 3)
    assert "10 of 30 test images have a class that no training image has" in found.notes[0]


def test_what_cannot_be_taught_is_refused():
    with pytest.raises(UserError, match="all of one class"):
        finetune(SHORT, tiny(), coloured(12, 0, 1), TEST)
    with pytest.raises(UserError, match="diverged: give smaller learning_rates"):
        finetune(dataclasses.replace(SHORT, learning_rates=(1e30,)), tiny(), TRAIN, TEST)
    two = dataclasses.replace(SHORT, learning_rates=(0.1, 0.2))
    with pytest.raises(UserError, match="no class has two training images"):
        finetune(two, tiny(), coloured(3, 0, 3), TEST)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(UserError, match=r"nesterov is True; it must be false without momentum\."):
        FinetuneConfig(momentum=0.0, nesterov=True)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("learning_rates", (), "above 0"),
        ("learning_rates", (0.1, -1.0), "above 0"),
        ("head_factors", (0.0,), "above 0"),
        ("momentum", 1.0, "below 1"),
        ("weight_decay", -1.0, "at least 0"),
        ("batch_size", 1, "at least 2"),
        ("epochs", 0, "1 to 1,000,000"),
        ("schedule", "linear", "step or cosine"),
        ("milestones", (5, 3), "rising"),
        ("milestones", (-1, 3), "rising"),
        ("factor", 0.0, "above 0"),
        ("least_area", 2.0, "at most 1"),
        ("init_std", -0.1, "at least 0"),
        ("holdout", 1.0, "between 0 and 1"),
        ("precision", "64", "32-true"),
        ("share", 0.0, "above 0 and at most 1"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(name, value, words):
    with pytest.raises(UserError, match=rf"{name} is .*; it must be .*{words}.*\.$"):
        SemiConfig(**{name: value})
