import dataclasses

import pytest
import torch
from torch import nn

from viewkin import losses
from viewkin.evaluation.probes.mlp import MLP_PRESETS, MlpConfig, evaluation_heads, heads_optimizer, mlp
from viewkin.runtime.errors import UserError


def blobs(count: int, seed: int, noise: float = 1.0, classes: int = 4, dim: int = 6):
    centres = torch.randn(classes, dim, generator=torch.Generator().manual_seed(7)) * 2
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return centres[labels] + noise * torch.randn(count, dim, generator=draw), labels


def crossed(count: int, seed: int):
    """Two classes that no line separates: the sign of the product of two coordinates."""
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()


TRAIN, TEST = blobs(230, 0), blobs(100, 1)
SHORT = MlpConfig(hidden=32, epochs=15, batch_size=50, learning_rate=1e-2, milestones=(12,))
TINY = MlpConfig(hidden=8, epochs=2, batch_size=50)


def test_both_heads_learn_separable_classes():
    found = mlp(SHORT, *TRAIN, *TEST)
    assert min(found.top1.values()) > 0.85
    assert found.top5 == {"mlp": 1.0, "linear": 1.0}  # four classes only
    assert list(found.values()) == ["mlp top-1", "mlp top-5", "linear top-1", "linear top-5"]
    assert found.values()["mlp top-1"] == 100 * found.top1["mlp"]


def test_only_the_mlp_learns_classes_that_no_line_separates():
    found = mlp(SHORT, *crossed(600, 0), *crossed(200, 1))
    assert found.top1["mlp"] > 0.85
    assert found.top1["linear"] < 0.65


def test_features_of_an_epoch_teach_in_that_epoch():
    x, y = TRAIN
    asked: list[int] = []

    def shifting(epoch: int) -> torch.Tensor:
        asked.append(epoch)
        return x if epoch < 7 else -x

    constant = mlp(SHORT, lambda _: x, y, *TEST)
    assert torch.equal(constant.heads["linear"].weight, mlp(SHORT, x, y, *TEST).heads["linear"].weight)  # type: ignore[arg-type]
    moved = mlp(SHORT, shifting, y, *TEST)
    assert asked == list(range(15))
    assert moved.top1["linear"] < constant.top1["linear"]
    with pytest.raises(UserError, match="NaN or infinity"):
        mlp(SHORT, lambda epoch: x / (3 - epoch), y, *TEST)


def test_training_is_adam_on_the_clipped_loss():
    # One full batch a step, so that the order does not matter, and only the linear head, which has no dropout.
    config = MlpConfig(
        hidden=4, epochs=12, batch_size=230, learning_rate=0.02, milestones=(5, 9), warmup_steps=500, weight_decay=0.01
    )
    found = mlp(config, *TRAIN, *TEST)
    with torch.random.fork_rng():
        start = mlp(MlpConfig(hidden=4, epochs=1, batch_size=230, learning_rate=1e-30), *TRAIN, *TEST).heads["linear"]
    layer = nn.Linear(6, 4)
    layer.load_state_dict(start.state_dict())
    optimiser = torch.optim.Adam(layer.parameters(), 0.02, betas=(0.8, 0.999), weight_decay=0.01)
    for epoch in range(12):
        optimiser.param_groups[0]["lr"] = 0.02 * 0.2 ** ((epoch >= 5) + (epoch >= 9))
        z = layer(TRAIN[0])
        optimiser.zero_grad()
        (nn.functional.cross_entropy(10 * torch.tanh(z / 10), TRAIN[1]) + 1e-3 * z.square().mean()).backward()
        optimiser.step()
    torch.testing.assert_close(found.heads["linear"].weight, layer.weight, rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]


def test_rate_warms_up_over_500_steps_or_a_tenth_of_all_and_falls_at_the_milestones():
    config = MlpConfig()
    assert config.rate(249, 104) == pytest.approx(1e-4)
    assert [config.rate(step, 104) for step in (499, 79 * 104)] == pytest.approx([2e-4, 2e-4])
    assert [config.rate(epoch * 104, 104) for epoch in (80, 110)] == pytest.approx([4e-5, 8e-6])
    assert config.rate(11, 1) == pytest.approx(2e-4)  # 120 steps in all


def test_schedules_and_views_are_the_published_ones():
    assert {one.views for one in MLP_PRESETS.values()} == {"augmented"}
    assert {name: (one.epochs, one.milestones) for name, one in MLP_PRESETS.items()} == {
        "cifar": (120, (80, 110)),
        "imagenet": (30, (15, 25)),
        "places": (15, (7, 12)),
    }


def test_unset_it_is_the_protocol_of_cifar_and_stl():
    # Adam as in training; the batch is the one that the network trains with. Published heads see a new
    # view of every image each epoch, which costs a pass of the network: the presets do, and a bare config does not.
    config = MlpConfig()
    assert (config.hidden, config.dropout, config.epochs, config.batch_size) == (1024, 0.2, 120, 480)
    assert (config.milestones, config.factor, config.warmup_steps) == ((80, 110), 0.2, 500)
    assert (config.views, config.bn_recalibrate) == ("test", "none")
    (group,) = heads_optimizer(config, evaluation_heads(config, 6, 4)).param_groups
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (2e-4, (0.8, 0.999), 1e-8, 1e-5)
    for preset in MLP_PRESETS.values():
        assert dataclasses.replace(preset, epochs=120, milestones=(80, 110), views="test") == config


def test_heads_are_the_papers():
    found = mlp(MlpConfig(epochs=1), *TRAIN, *TEST)
    assert [type(layer).__name__ for layer in found.heads["mlp"]] == [  # type: ignore[union-attr]
        "Dropout", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    first, last = found.heads["mlp"][1], found.heads["mlp"][5]  # type: ignore[index]
    assert (first.bias, first.weight.shape, last.weight.shape) == (None, (1024, 6), (4, 1024))
    assert (found.heads["mlp"][0].p, found.heads["mlp"][4].p) == (0.2, 0.2)  # type: ignore[index]
    assert not found.heads.training
    assert losses.clipped_cross_entropy(found.heads["linear"](TEST[0]), TEST[1]).isfinite()


def test_nothing_is_fitted_on_test():
    plain, moved = mlp(TINY, *TRAIN, *TEST), mlp(TINY, *TRAIN, TEST[0] + 3, TEST[1])
    for one, other in zip(plain.heads.state_dict().values(), moved.heads.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    part = mlp(TINY, *TRAIN, TEST[0][:7], TEST[1][:7])
    assert torch.equal(part.predicted["mlp"], plain.predicted["mlp"][:7])


def test_same_seed_same_heads_and_the_global_stream_untouched():
    before = torch.get_rng_state()
    first = mlp(TINY, *TRAIN, *TEST)
    torch.rand(3)
    second, other = mlp(TINY, *TRAIN, *TEST), mlp(MlpConfig(hidden=8, epochs=2, seed=1), *TRAIN, *TEST)
    assert torch.equal(first.heads["mlp"][5].weight, second.heads["mlp"][5].weight)  # type: ignore[index]
    assert not torch.equal(first.heads["mlp"][5].weight, other.heads["mlp"][5].weight)  # type: ignore[index]
    torch.set_rng_state(before)
    expected = torch.rand(2)
    torch.set_rng_state(before)
    mlp(TINY, *TRAIN, *TEST)
    assert torch.equal(torch.rand(2), expected)


def test_labels_of_any_value_and_classes_unseen_in_training():
    names = torch.tensor([10, 40, 77, 2])
    labels = names[TEST[1]].clone()
    labels[:3] = 55
    found = mlp(TINY, TRAIN[0], names[TRAIN[1]], TEST[0], labels)
    assert set(found.predicted["mlp"].tolist()) <= set(names.tolist())
    assert found.notes[0].startswith("3 of 100 test images")


@pytest.mark.parametrize("count", [2, 3, 51, 100])
def test_a_last_batch_of_one_image_is_left_out(count):
    config = MlpConfig(hidden=4, epochs=2, batch_size=50)
    assert mlp(config, TRAIN[0][:count], TRAIN[1][:count], *TEST).top1["mlp"] >= 0


def test_too_few_images_and_divergence_are_one_sentence():
    with pytest.raises(UserError, match="two at least"):
        mlp(SHORT, TRAIN[0][:1], TRAIN[1][:1], *TEST)
    with pytest.raises(UserError, match="diverged: give a smaller learning_rate"):
        mlp(MlpConfig(epochs=3, batch_size=50, learning_rate=1e30), TRAIN[0], TRAIN[1], *TEST)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"hidden": 0}, "hidden is 0; it must be at least 1"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"epochs": 0}, "epochs is 0; it must be 1 to 1,000,000"),
        ({"batch_size": 1}, "batch_size is 1; it must be at least 2"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"betas": (0.8, 1.0)}, r"betas is \(0.8, 1.0\); it must be at least 0 and below 1"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; it must be at least 0"),
        ({"views": "train"}, "views is 'train'; it must be test or augmented"),
        ({"milestones": (-1, 5)}, r"milestones is \(-1, 5\); it must be rising epochs above 0"),
        ({"milestones": (80, 20)}, r"milestones is \(80, 20\); it must be rising epochs above 0"),
        ({"factor": 0.0}, "factor is 0.0; it must be above 0"),
        ({"warmup_steps": -1}, "warmup_steps is -1; it must be at least 0"),
    ],
)
def test_a_bad_setting_is_one_sentence(setting, said):
    with pytest.raises(UserError, match=said):
        MlpConfig(**setting)


def test_heads_that_had_no_time_to_learn_are_noted():
    assert mlp(MlpConfig(hidden=4, epochs=99, batch_size=23), *TRAIN, *TEST).notes[0].startswith("990 steps at a rate")
    assert not mlp(MlpConfig(hidden=4, epochs=100, batch_size=23), *TRAIN, *TEST).notes
    assert not mlp(SHORT, *TRAIN, *TEST).notes  # few, but large
