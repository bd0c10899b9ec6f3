import math
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from resident import printed
from viewkin.evaluation.probes.linear import LINEAR_PRESETS, LinearConfig, linear
from viewkin.runtime.errors import UserError


def blobs(count: int, seed: int, noise: float = 1.0, classes: int = 4, dim: int = 6):
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(7)) * 2
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return centres[labels] + noise * torch.randn(count, dim, generator=draw), labels


TRAIN, TEST = blobs(230, 0), blobs(100, 1)


def by_torch_sgd(config: LinearConfig, x: torch.Tensor, y: torch.Tensor, factor_at) -> nn.Linear:
    """The same layer trained by torch's own modules; one full batch a step, so that the order does not matter."""
    layer = nn.Linear(x.shape[1], int(y.max()) + 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    peak = config.learning_rates[0] * min(config.batch_size, len(x)) / 256
    optimiser = torch.optim.SGD(layer.parameters(), lr=peak, momentum=config.momentum, weight_decay=config.weight_decay)
    for epoch in range(config.epochs):
        optimiser.param_groups[0]["lr"] = peak * factor_at(epoch)
        optimiser.zero_grad()
        nn.functional.cross_entropy(layer(x), y).backward()
        optimiser.step()
    return layer


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_training_equals_torch_sgd_on_a_linear_layer(schedule):
    config = LinearConfig(
        learning_rates=(0.5,), epochs=30, batch_size=512, weight_decay=1e-3, init_std=0.0, schedule=schedule,
        milestones=(10, 20), factor=0.2,
    )  # fmt: skip
    levels = {
        "cosine": lambda e: (1 + math.cos(math.pi * e / 30)) / 2,
        "step": lambda e: 0.2 ** ((e >= 10) + (e >= 20)),
    }
    layer = by_torch_sgd(config, *TRAIN, levels[schedule])
    found = linear(config, *TRAIN, *TEST)
    torch.testing.assert_close(found.weight, layer.weight.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.bias, layer.bias.detach(), rtol=1e-4, atol=1e-5)
    expected = (layer(TEST[0]).argmax(1) == TEST[1]).float().mean().item()
    assert found.top1 == pytest.approx(expected)


def test_rates_trained_together_do_not_touch_each_other():
    alone = linear(LinearConfig(learning_rates=(1.0,), epochs=5), *TRAIN, *TEST)
    swept = linear(LinearConfig(learning_rates=(1.0, 1e8), epochs=5, scaling="none"), *TRAIN, *TEST)
    assert swept.learning_rate == 1.0
    assert torch.equal(swept.weight, alone.weight)


def test_the_rate_is_chosen_on_train_and_never_on_test():
    config = LinearConfig(learning_rates=(1e-4, 1.0), epochs=5)
    shuffled = TEST[1][torch.randperm(100, generator=torch.Generator().manual_seed(3))]
    right, wrong = linear(config, *TRAIN, *TEST), linear(config, *TRAIN, TEST[0], shuffled)
    assert right.validation == wrong.validation
    assert right.learning_rate == wrong.learning_rate == 1.0
    assert right.validation[1.0] > right.validation[1e-4] + 0.2
    assert torch.equal(right.weight, wrong.weight)
    assert wrong.top1 < right.top1


def test_a_single_rate_needs_no_validation():
    assert linear(LinearConfig(learning_rates=(1.0,), epochs=2), *TRAIN, *TEST).validation == {}


def test_separable_classes_are_learnt():
    found = linear(LinearConfig(epochs=20), *TRAIN, *TEST)
    assert found.top1 > 0.85
    assert found.top5 == 1.0  # four classes only
    assert found.values() == {"linear top-1": 100 * found.top1, "linear top-5": 100.0}


def test_top_five_of_many_classes_counts_the_five_best():
    (train, labels), (test, test_labels) = blobs(600, 4, noise=3.0, classes=12), blobs(200, 5, noise=3.0, classes=12)
    found = linear(LinearConfig(learning_rates=(0.1,), epochs=10), train, labels, test, test_labels)
    order = (test @ found.weight.T + found.bias).argsort(1, descending=True)
    assert found.top1 == pytest.approx((order[:, 0] == test_labels).float().mean().item())
    assert found.top5 == pytest.approx((order[:, :5] == test_labels[:, None]).any(1).float().mean().item())
    assert found.top1 < found.top5 < 1


def test_same_seed_same_weights_and_another_seed_others():
    config = LinearConfig(epochs=3)
    first, second = linear(config, *TRAIN, *TEST), linear(config, *TRAIN, *TEST)
    other = linear(LinearConfig(epochs=3, seed=1), *TRAIN, *TEST)
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, other.weight)


def test_standardised_features_forgive_shift_and_scale():
    config = LinearConfig(learning_rates=(1.0,), epochs=5, scaling="standardise")
    plain = linear(config, *TRAIN, *TEST)
    moved = linear(config, TRAIN[0] * 50 + 300, TRAIN[1], TEST[0] * 50 + 300, TEST[1])
    torch.testing.assert_close(moved.weight, plain.weight, rtol=1e-2, atol=1e-3)


def test_standardising_uses_the_statistics_of_train_alone():
    config = LinearConfig(learning_rates=(1.0,), epochs=5, scaling="standardise")
    plain, moved = linear(config, *TRAIN, *TEST), linear(config, *TRAIN, TEST[0] + 1000, TEST[1])
    assert torch.equal(plain.weight, moved.weight)
    assert not torch.equal(plain.predicted, moved.predicted)


def test_images_held_out_are_not_trained_on():
    # 100 images of 200 dimensions with drawn labels: what is trained on is remembered, what is not is at chance.
    draw = torch.Generator().manual_seed(0)
    features, labels = torch.randn(100, 200, generator=draw), torch.randint(0, 4, (100,), generator=draw)
    config = LinearConfig(learning_rates=(1.0, 2.0), epochs=40, holdout=0.4)
    found = linear(config, features, labels, features, labels)
    assert found.top1 == 1.0
    assert max(found.validation.values()) < 0.6


def test_unit_scaling_ignores_the_length_of_features():
    config = LinearConfig(learning_rates=(10.0,), epochs=3, scaling="unit")
    lengths = torch.rand(230, 1, generator=torch.Generator().manual_seed(0)) + 0.5
    plain, stretched = linear(config, *TRAIN, *TEST), linear(config, TRAIN[0] * lengths, TRAIN[1], *TEST)
    torch.testing.assert_close(plain.weight, stretched.weight, rtol=1e-3, atol=1e-4)


def test_labels_of_any_value_and_classes_unseen_in_training():
    names = torch.tensor([10, 40, 77, 2])
    plain = linear(LinearConfig(learning_rates=(1.0,), epochs=5), *TRAIN, *TEST)
    labels = names[TEST[1]].clone()
    labels[:3] = 55
    found = linear(LinearConfig(learning_rates=(1.0,), epochs=5), TRAIN[0], names[TRAIN[1]], TEST[0], labels)
    assert set(found.predicted.tolist()) <= set(names.tolist())
    assert found.top1 == pytest.approx((plain.predicted[3:] == TEST[1][3:]).sum().item() / 100)
    assert found.notes[0].startswith("3 of 100 test images")


@pytest.mark.parametrize(
    ("name", "rates", "schedule", "milestones", "factor"),
    [
        ("eir", (0.1, 1, 10, 30), "cosine", None, None),
        ("moco", (30,), "step", (60, 80), 0.1),
        ("eir-moco", (10,), "step", (60, 80), 0.1),
        ("invp", (30,), "step", (40, 60, 80), 0.2),
    ],
)
def test_presets_are_the_published_ones(name, rates, schedule, milestones, factor):
    config = LINEAR_PRESETS[name]
    assert (config.learning_rates, config.schedule, config.epochs) == (rates, schedule, 100)
    assert (config.batch_size, config.weight_decay, config.momentum) == (256, 0.0, 0.9)
    assert milestones is None or (config.milestones, config.factor) == (milestones, factor)


def test_invps_initial_weights_shrink_with_the_number_of_classes():
    config = LinearConfig(learning_rates=(1e-30,), epochs=1, init_std=None)
    draw = torch.Generator().manual_seed(0)
    for classes in (8, 50):
        labels = torch.arange(100) % classes
        features = torch.randn(100, 400, generator=draw)
        found = linear(config, features, labels, features, labels)
        assert found.weight.std().item() == pytest.approx(math.sqrt(2 / classes), rel=0.05)


def test_the_features_are_left_as_they_were():
    features = TRAIN[0].clone()
    linear(LinearConfig(epochs=2, scaling="standardise"), features, TRAIN[1], *TEST)
    assert torch.equal(features, TRAIN[0])


@pytest.mark.parametrize("scaling", ["none", "standardise", "unit"])
def test_rates_that_do_not_fit_side_by_side_are_tried_in_turn_with_the_same_result(scaling):
    roomy = LinearConfig(epochs=4, batch_size=16, scaling=scaling)
    tight = replace(roomy, memory=48 * 230 + 4 * 2 * 16 * 6 + 2 * 4 * 3 * 4 * (6 + 16))  # two rates of four
    first, second = linear(roomy, *TRAIN, *TEST), linear(tight, *TRAIN, *TEST)
    assert second.validation == pytest.approx(first.validation)
    assert second.learning_rate == first.learning_rate
    torch.testing.assert_close(second.weight, first.weight)
    assert torch.equal(second.predicted, first.predicted)
    with pytest.raises(UserError, match=r"4 classes on 6 dimensions and 230 images needs 12,864 bytes .* is 12,863"):
        linear(replace(roomy, memory=48 * 230 + 4 * 2 * 16 * 6 + 4 * 3 * 4 * (6 + 16) - 1), *TRAIN, *TEST)


PEAK = """
import sys
import torch
from resident import forget_peak, resident
from viewkin.evaluation.probes.linear import LinearConfig, linear

torch.set_num_threads(1)
rows, asking = torch.randn(40000, 512), torch.randn(5000, 512)  # 88 MiB
labels, wanted = torch.arange(40000) % 400, torch.arange(5000) % 400
config = LinearConfig(epochs=1, scaling=sys.argv[1], memory=8 * 2**20)
warm = linear(LinearConfig(epochs=1, scaling=sys.argv[1]), rows[:2000, :8], labels[:2000], asking[:10, :8], wanted[:10])
forget_peak()  # that of making the inputs
before = resident("VmRSS")
linear(config, rows, labels, asking, wanted)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("scaling", ["none", "standardise", "unit"])
def test_the_whole_probe_stays_within_its_memory_bound_as_the_system_measures_it(scaling):
    # Peak resident memory above the loaded inputs; a second copy of these alone would be 88 MiB.
    (peak,) = printed(PEAK, scaling)
    assert peak < 8 + 16


def test_divergence_at_every_rate_is_one_sentence():
    with pytest.raises(UserError, match="diverged"):
        linear(LinearConfig(learning_rates=(1e30,), epochs=3), TRAIN[0] * 1e10, TRAIN[1], *TEST)


def test_one_training_image_cannot_choose_a_rate():
    with pytest.raises(UserError, match="single learning rate"):
        linear(LinearConfig(epochs=1), TRAIN[0][:1], TRAIN[1][:1], *TEST)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"learning_rates": ()}, "learning_rates is .*one or more, all above 0"),
        ({"learning_rates": (0.0,)}, "learning_rates is .*one or more, all above 0"),
        ({"learning_rates": (1.0, math.nan)}, "learning_rates is .*finite numbers"),
        ({"momentum": 5.0}, "momentum is 5.0; it must be at least 0 and below 1"),
        ({"weight_decay": -5.0}, "weight_decay is -5.0; it must be at least 0"),
        ({"weight_decay": math.nan}, "weight_decay is nan"),
        ({"milestones": (5, 2, -1)}, "milestones is .*; it must be rising epochs above 0"),
        ({"milestones": (-1, 5)}, "milestones is .*; it must be rising epochs above 0"),
        ({"factor": 0.0}, "factor is 0.0; it must be above 0"),
        ({"init_std": -1.0}, "init_std is -1.0; it must be at least 0, or none"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"holdout": 1.0}, "holdout is 1.0; it must be between 0 and 1"),
        ({"schedule": "linear"}, "schedule"),
        ({"scaling": "whiten"}, "scaling"),
        ({"memory": 0}, "memory is 0; it must be at least 1 byte"),
    ],
)
def test_a_bad_probe_setting_is_one_sentence(setting, word):
    with pytest.raises(UserError, match=word):
        LinearConfig(**setting)
