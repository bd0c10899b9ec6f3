import itertools

import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision.transforms import functional as torchvision_functional

from viewkin.augment import colour


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(24, 3, 6, 7, generator=generator)
    # Ties between channels, grey, black and white pixels: where hue has branches.
    images[0] = torch.randint(0, 3, (3, 6, 7), generator=generator) / 2
    images[1] = images[1, :1]
    images[2], images[3] = 0, 1
    return images


def levels_of(picture: Image.Image) -> torch.Tensor:
    return torchvision_functional.pil_to_tensor(picture).float()


def loop_jitter(image: torch.Tensor, order: list[int], factors: list[float]) -> torch.Tensor:
    """torchvision's ColorJitter on one image, with ITU-R weights that sum to 1."""
    for kind in order:
        factor = factors[kind]
        grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        if kind == 0:
            image = (factor * image).clamp(0, 1)
        elif kind == 1:
            image = (factor * image + (1 - factor) * grey.mean()).clamp(0, 1)
        elif kind == 2:
            image = (factor * image + (1 - factor) * grey).clamp(0, 1)
        else:
            image = torchvision_functional.adjust_hue(image, factor)
    return image


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_blends_are_torchvisions(name, images):
    factors = torch.linspace(0, 2, 24)
    adjust = getattr(torchvision_functional, f"adjust_{name}")
    expected = torch.stack([adjust(image, float(factor)) for image, factor in zip(images, factors)])
    # torchvision's grey weights sum to 0.9999.
    torch.testing.assert_close(getattr(colour, name)(images, factors), expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_blends_are_pillows_up_to_its_rounding(name, enhance):
    picture = Image.frombytes("RGB", (16, 16), bytes(torch.randint(0, 256, (768,)).tolist()))
    for factor in (0.2, 0.7, 1.0, 1.6):
        ours = getattr(colour, name)(levels_of(picture)[None] / 255, torch.tensor([factor]))[0]
        assert (ours * 255 - levels_of(enhance(picture).enhance(factor))).abs().max() <= 1.5


def test_hue_is_torchvisions_rotation_of_hsv(images):
    for offset in (-0.5, -0.31, 0.0, 0.2, 0.5):
        shifts = (torch.linspace(-0.5, 0.5, 24) + offset + 0.5) % 1 - 0.5
        expected = torch.stack([torchvision_functional.adjust_hue(i, float(s)) for i, s in zip(images, shifts)])
        torch.testing.assert_close(colour.hue(images, shifts), expected, atol=3e-6, rtol=0)


def test_hue_keeps_the_largest_and_the_smallest_channel(images):
    rotated = colour.hue(images, torch.linspace(-0.5, 0.5, 24))
    torch.testing.assert_close(rotated.amax(1), images.amax(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(rotated.amin(1), images.amin(1), atol=1e-6, rtol=0)


def test_hue_turns_red_to_green_to_blue():
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(2, 3, 1, 1)
    turned = colour.hue(red, torch.tensor([1 / 3, -1 / 3])).flatten(1)
    torch.testing.assert_close(turned, torch.tensor([[0.0, 1, 0], [0, 0, 1]]), atol=1e-6, rtol=0)


def test_jitter_follows_each_samples_own_order(images):
    orders = torch.tensor(list(itertools.permutations(range(4))))
    generator = torch.Generator().manual_seed(3)
    factors = torch.rand(24, 4, generator=generator) * torch.tensor([1.6, 1.6, 1.6, 1.0]) + torch.tensor(
        [0.2, 0.2, 0.2, -0.5]
    )
    rows = zip(images, orders.tolist(), factors.tolist())
    expected = torch.stack([loop_jitter(image, order, factor) for image, order, factor in rows])
    before = images.clone()
    torch.testing.assert_close(colour.colour_jitter(images, orders, factors), expected, atol=5e-6, rtol=0)
    assert torch.equal(images, before)


def test_jitter_without_hue_follows_each_samples_own_order(images):
    orders = torch.tensor(list(itertools.permutations(range(4))))
    factors = torch.tensor([1.7, 0.4, 1.9, 0.0]).expand(24, 4)
    rows = zip(images, orders.tolist(), factors.tolist())
    expected = torch.stack([loop_jitter(image, order, factor) for image, order, factor in rows])
    torch.testing.assert_close(colour.colour_jitter(images, orders, factors), expected, atol=5e-6, rtol=0)


def test_orders_do_not_commute(images):
    factors = torch.tensor([1.5, 0.5, 0.3, 0.2]).expand(24, 4)
    forward = colour.colour_jitter(images, torch.arange(4).expand(24, 4), factors)
    backward = colour.colour_jitter(images, torch.arange(3, -1, -1).expand(24, 4), factors)
    assert (forward - backward).abs().amax() > 0.05


def test_jitter_in_place_leaves_the_other_rows(images):
    before = images.clone()
    rows = torch.tensor([5, 9])
    order, factors = torch.tensor([[3, 0, 1, 2], [0, 1, 2, 3]]), torch.tensor([[1.4, 0.6, 0.5, 0.3]] * 2)
    colour.colour_jitter_(images, rows, order, factors)
    changed = (images != before).flatten(1).any(1).nonzero().flatten()
    assert changed.tolist() == [5, 9]
    torch.testing.assert_close(images[rows], colour.colour_jitter(before[rows], order, factors))


def test_jitter_of_no_rows_changes_nothing(images):
    before = images.clone()
    none = torch.empty(0, dtype=torch.long)
    colour.colour_jitter_(images, none, torch.empty(0, 4, dtype=torch.long), torch.empty(0, 4))
    assert torch.equal(images, before)


def test_grey_is_pillows_luma_in_three_channels():
    levels = torch.randint(0, 256, (1, 3, 20, 20), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    expected = levels_of(torchvision_functional.to_pil_image(levels[0]).convert("L"))
    grey = colour.grayscale(levels / 255)[0]
    assert (grey * 255 - expected).abs().max() <= 0.51
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])


def test_grey_stays_grey():
    white = torch.ones(1, 3, 2, 2)
    torch.testing.assert_close(colour.grayscale(white), white)


def test_solarize_inverts_from_128_on_as_pillow_does():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, 16, 16)
    expected = levels_of(ImageOps.solarize(torchvision_functional.to_pil_image(levels), 128))
    ours = colour.solarize((levels / 255)[None])[0] * 255
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


def test_normalize_is_torchvisions_in_channels_last(images):
    mean, std = (0.49, 0.48, 0.44), (0.2, 0.19, 0.21)
    before = images.clone()
    views = colour.normalize(images, mean, std)
    torch.testing.assert_close(views, torchvision_functional.normalize(images, list(mean), list(std)))
    assert views.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_lighting_shifts_along_unlike_directions_and_not_at_all_at_strength_zero(images):
    vectors = torch.tensor(colour.LIGHTING[1])
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(3), atol=2e-3, rtol=0)
    assert torch.equal(colour.lighting(images, torch.zeros(24, 3)), images)
    shift = colour.lighting(images, torch.tensor([2.0, 0.0, 0.0]).expand(24, 3)) - images
    expected = (2 * 0.2175 * vectors[:, 0])[None, :, None, None].expand_as(images)
    torch.testing.assert_close(shift, expected, atol=1e-6, rtol=0)
    # The first component is brightness: all channels move together.
    assert (shift < 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_colour_stays_finite_and_close_in_half_precision(dtype, images):
    orders = torch.tensor(list(itertools.permutations(range(4))))
    factors = torch.tensor([1.7, 1.4, 1.9, 0.4]).expand(24, 4)
    ours = colour.colour_jitter(images.to(dtype), orders, factors)
    assert ours.dtype == dtype
    assert ours.isfinite().all()
    assert (ours.float() - colour.colour_jitter(images, orders, factors)).abs().mean() < 0.02
