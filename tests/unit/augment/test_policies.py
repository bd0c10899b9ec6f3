import dataclasses
import math

import pytest
import torch

from viewkin.augment import operations as op
from viewkin.augment.policies import Policy, names, policy
from viewkin.runtime.errors import UserError

CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

ORDERS = {
    "npid-cifar": "ResizedCrop ColourJitter Grayscale",
    "isif": "ResizedCrop ColourJitter Grayscale Flip",
    "isif-unseen": "RandomCrop Flip",
    "npid-in": "ResizedCrop Grayscale ColourJitter Flip",
    "moco-v1": "ResizedCrop Grayscale ColourJitter Flip",
    "moco-v2": "ResizedCrop ColourJitter Grayscale Blur Flip",
    "moco-cifar": "ResizedCrop Flip ColourJitter Grayscale",
    "simclr": "ResizedCrop Flip ColourJitter Grayscale Blur",
    "simclr-cifar": "ResizedCrop Flip ColourJitter Grayscale",
    "byol": "ResizedCrop Flip ColourJitter Grayscale Blur",
    "byol-cifar": "ResizedCrop Flip ColourJitter Grayscale",
    "npidv2": "ResizedCrop Grayscale ColourJitter Blur Flip",
    "amdim-cifar": "Translate ColourJitter Grayscale",
    "amdim-stl": "ResizedCrop ColourJitter Grayscale",
    "amdim-in": "ResizedCrop ColourJitter Grayscale",
    "amdim-in-strong": "ResizedCrop ColourJitter Grayscale Lighting",
}
# Jitter strengths, its probability, grey's probability, least area.
STRENGTHS = {
    "npid-cifar": ((0.4, 0.4, 0.4, 0.4), 1.0, 0.2, 0.2),
    "isif": ((0.4, 0.4, 0.4, 0.4), 1.0, 0.2, 0.2),
    "npid-in": ((0.4, 0.4, 0.4, 0.4), 1.0, 0.2, 0.2),
    "moco-v2": ((0.4, 0.4, 0.4, 0.1), 0.8, 0.2, 0.2),
    "moco-cifar": ((0.4, 0.4, 0.4, 0.1), 0.8, 0.2, 0.08),
    "simclr": ((0.8, 0.8, 0.8, 0.2), 0.8, 0.2, 0.08),
    "simclr-cifar": ((0.4, 0.4, 0.4, 0.1), 0.8, 0.2, 0.08),
    "byol": ((0.4, 0.4, 0.2, 0.1), 0.8, 0.2, 0.08),
    "byol-cifar": ((0.4, 0.4, 0.2, 0.1), 0.8, 0.2, 0.08),
    "npidv2": ((0.4, 0.4, 1.0, 0.5), 1.0, 0.2, 0.2),
    "amdim-cifar": ((0.4, 0.4, 0.4, 0.2), 0.8, 0.25, None),
    "amdim-stl": ((0.4, 0.4, 0.4, 0.2), 0.8, 0.25, 0.3),
    "amdim-in": ((0.4, 0.4, 0.4, 0.1), 0.8, 0.25, 0.3),
}


def only(pipeline, kind):
    (found,) = [operation for operation in pipeline if isinstance(operation, kind)]
    return found


def test_catalogue_is_complete():
    assert names() == sorted(ORDERS)
    assert policy("moco-v1") == policy("npid-in")


@pytest.mark.parametrize("name", sorted(ORDERS))
def test_operations_come_in_the_papers_order(name):
    assert " ".join(type(operation).__name__ for operation in policy(name).first) == ORDERS[name]


@pytest.mark.parametrize("name", sorted(STRENGTHS))
def test_strengths_are_the_papers(name):
    found, (jitter, jitter_probability, grey, least) = policy(name), STRENGTHS[name]
    for pipeline in (found.first, found.second):
        colours = only(pipeline, op.ColourJitter)
        strengths = (colours.brightness, colours.contrast, colours.saturation, colours.hue)
        assert (strengths, colours.probability) == (jitter, jitter_probability)
        assert only(pipeline, op.Grayscale).probability == grey
        if least is not None:
            assert only(pipeline, op.ResizedCrop).scale == (least, 1.0)


def test_byol_blurs_the_first_view_always_and_solarises_the_second():
    found = policy("byol")
    assert [only(p, op.Blur).probability for p in (found.first, found.second)] == [1.0, 0.1]
    assert [type(operation).__name__ for operation in found.second][-2:] == ["Blur", "Solarise"]
    assert only(found.second, op.Solarise) == op.Solarise(threshold=128, probability=0.2)
    small = policy("byol-cifar")
    assert small.second == (*small.first, op.Solarise(probability=0.2))
    assert only(found.first, op.ResizedCrop).mode == "bicubic"


def test_blurs_are_the_papers():
    assert only(policy("moco-v2").first, op.Blur) == op.Blur(sigma=(0.1, 2.0), probability=0.5)
    assert only(policy("simclr").first, op.Blur) == op.Blur(sigma=(0.1, 2.0), probability=0.5, kernel=0.1)


def test_amdim_flips_once_before_the_split():
    for name in ("amdim-cifar", "amdim-stl", "amdim-in"):
        found = policy(name)
        assert found.shared == (op.Flip(probability=0.5),)
        assert found.first == found.second
    assert only(policy("amdim-cifar").first, op.Translate) == op.Translate(pixels=4, probability=0.8)
    crop = op.ResizedCrop(scale=(0.3, 1.0), ratio=(0.7, 1.4), mode="bicubic")
    assert policy("amdim-stl").first[0] == policy("amdim-in").first[0] == crop


def test_amdims_best_policy_jitters_always_cuts_less_and_changes_the_light():
    found = policy("amdim-in-strong")
    assert found.first == found.second
    assert found.first == (
        op.ResizedCrop(scale=(0.2, 0.9), ratio=(0.7, 1.4), mode="bicubic"),
        op.ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, probability=1.0),
        op.Grayscale(probability=0.25),
        op.Lighting(std=0.1),
    )
    assert (found.shared, found.size) == (policy("amdim-in").shared, 128)


def test_weak_views_are_the_policys_crop_and_a_flip():
    assert policy("simclr-cifar").weak == (op.ResizedCrop(scale=(0.08, 1.0)), op.Flip())
    assert policy("moco-v2").weak == (op.ResizedCrop(scale=(0.2, 1.0)), op.Flip())
    assert policy("isif-unseen").weak == (op.RandomCrop(), op.Flip())
    assert policy("amdim-stl").weak == policy("amdim-stl").first[:1]


@pytest.mark.parametrize(
    ("name", "size", "statistics"),
    [
        *((name, 32, CIFAR) for name in ("npid-cifar", "isif", "moco-cifar", "simclr-cifar", "byol-cifar")),
        *((name, 224, IMAGENET) for name in ("isif-unseen", "npid-in", "moco-v2", "simclr", "byol", "npidv2")),
        ("amdim-stl", 64, ((0.43, 0.42, 0.39), (0.27, 0.26, 0.27))),
        ("amdim-in", 128, IMAGENET),
        ("amdim-in-strong", 128, IMAGENET),
    ],
)
def test_sizes_and_statistics_are_the_papers(name, size, statistics):
    found = policy(name)
    assert (found.size, (found.mean, found.std)) == (size, statistics)


def test_amdim_cifar_statistics_are_levels_of_255():
    found = policy("amdim-cifar")
    assert found.size == 32
    assert [round(value * 255, 6) for value in (*found.mean, *found.std)] == [125.3, 123.0, 113.9, 63.0, 62.1, 66.7]


def test_unknown_policy_names_the_nearest():
    with pytest.raises(UserError, match=r"'simclr_cifar'.*simclr-cifar"):
        policy("simclr_cifar")


def test_unknown_role_names_the_roles():
    with pytest.raises(UserError, match=r"'third'.*first, second, weak"):
        policy("byol").pipeline("third")


def test_policy_must_start_with_its_crop():
    good = policy("isif")
    with pytest.raises(UserError, match="first view of policy isif"):
        dataclasses.replace(good, first=good.first[1:])
    with pytest.raises(UserError, match="before the split"):
        dataclasses.replace(good, shared=good.first[:1])
    with pytest.raises(UserError, match="positive std"):
        dataclasses.replace(good, std=(0.1, 0.0, 0.1))
    assert isinstance(dataclasses.replace(good, size=96), Policy)


@pytest.mark.parametrize(
    "build",
    [
        lambda: op.ResizedCrop(scale=(0.5, 0.2)),
        lambda: op.ResizedCrop(scale=(0.0, 1.0)),
        lambda: op.ResizedCrop(ratio=(2.0, 1.0)),
        lambda: op.ResizedCrop(mode="nearest"),
        lambda: op.RandomCrop(fraction=1.2),
        lambda: op.Flip(probability=1.5),
        lambda: op.ColourJitter(hue=0.6),
        lambda: op.ColourJitter(contrast=-0.1),
        lambda: op.Blur(sigma=(0.0, 1.0)),
        lambda: op.Blur(kernel=1.5),
        lambda: op.Solarise(threshold=300),
        lambda: op.Translate(pixels=-1),
        lambda: op.Lighting(std=-0.1),
        lambda: op.Translate(pixels=4).draw(2, torch.Generator(), 4, 4),
    ],
)
def test_settings_that_make_no_sense_are_one_sentence(build):
    with pytest.raises(UserError, match=r"\.$"):
        build()


def uniform_distance(sample: torch.Tensor, low: float, high: float) -> float:
    """Kolmogorov's distance to the uniform distribution."""
    steps = (torch.arange(len(sample)) + 0.5) / len(sample)
    return float((((sample.sort().values - low) / (high - low)) - steps).abs().max())


def test_jitter_factors_are_uniform_around_one():
    count = 20000
    jitter = op.ColourJitter(brightness=0.4, contrast=0.8, saturation=1.5, hue=0.1, probability=0.8)
    draws = jitter.draw(count, torch.Generator().manual_seed(0), 32, 32)
    limit = 1.95 / math.sqrt(count)
    for column, (low, high) in enumerate([(0.6, 1.4), (0.2, 1.8), (0.0, 2.5), (-0.1, 0.1)]):
        factors = draws["factors"][:, column]
        assert factors.min() >= low
        assert factors.max() <= high
        assert uniform_distance(factors, low, high) < limit
    assert abs(draws["on"].float().mean() - 0.8) < 4 * math.sqrt(0.16 / count)


def test_jitter_orders_are_uniform_over_all_24():
    count = 24000
    order = op.ColourJitter().draw(count, torch.Generator().manual_seed(0), 32, 32)["order"]
    codes = (order * torch.tensor([64, 16, 4, 1])).sum(1)
    found, counts = codes.unique(return_counts=True)
    assert len(found) == 24
    # Chi-square with 23 degrees of freedom exceeds 49.7 once in 1,000 times.
    assert float(((counts - count / 24) ** 2 / (count / 24)).sum()) < 49.7


def test_shifts_are_uniform_over_whole_pixels_and_zero_when_off():
    draws = op.Translate(pixels=2, probability=0.5).draw(10000, torch.Generator().manual_seed(0), 32, 32)
    values, counts = draws["shift"].unique(return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert float(((counts - 4000) ** 2 / 4000).sum()) < 18.5
    images = torch.rand(10000, 1, 4, 4)[:, :1].expand(-1, 3, 4, 4)
    moved = op.Translate(pixels=2).apply(images, draws, 4)
    stay = ~draws["on"]
    assert torch.equal(moved[stay], images[stay])
    assert 0.4 < stay.float().mean() < 0.6


def test_random_crop_is_224_of_256_at_any_whole_pixel():
    boxes = op.RandomCrop().draw(5000, torch.Generator().manual_seed(0), 256, 224)["box"]
    assert (boxes[:, 2:] == 224).all()
    assert boxes[:, :2].unique().tolist() == list(range(33))
    whole = op.RandomCrop().draw(3, torch.Generator().manual_seed(0), 224, 224)["box"]
    assert whole.tolist() == [[0.0, 0.0, 224.0, 224.0]] * 3
