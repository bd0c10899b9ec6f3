import pytest
import torch
from PIL import ImageFilter
from torch.nn import functional
from torchvision.transforms import functional as torchvision_functional

from viewkin.augment.blur import gaussian_blur
from viewkin.augment.operations import Blur


@pytest.mark.parametrize("radius", [1, 4, 6, 11])
def test_blur_is_torchvisions_with_a_width_for_each_sample(radius):
    images = torch.rand(5, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.7, 2.0])
    before = images.clone()
    blurred = gaussian_blur(images, sigma, radius)
    for image, width, ours in zip(images, sigma.tolist(), blurred):
        expected = torchvision_functional.gaussian_blur(image, [2 * radius + 1] * 2, [width] * 2)
        torch.testing.assert_close(ours, expected, atol=2e-6, rtol=0)
    assert torch.equal(images, before)


def test_reach_of_three_sigma_stands_for_pillows_blur():
    # Smooth like a photograph: on white noise the two differ more.
    coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    levels = functional.interpolate(coarse, (64, 64), mode="bilinear").mul(255)[0].to(torch.uint8)
    picture = torchvision_functional.to_pil_image(levels)
    for sigma in (0.8, 1.4, 2.0):
        pillow = torchvision_functional.pil_to_tensor(picture.filter(ImageFilter.GaussianBlur(sigma)))
        ours = gaussian_blur(levels[None] / 255, torch.tensor([sigma]), Blur().radius(64))[0] * 255
        # Pillow runs three box filters, a little short of a Gaussian; edges differ (it repeats the last pixel).
        inner = (slice(None), slice(8, -8), slice(8, -8))
        assert (ours[inner] - pillow[inner]).abs().mean() < 1


def test_blur_keeps_the_mean_of_a_constant_image():
    images = torch.full((2, 3, 16, 16), 0.3)
    torch.testing.assert_close(gaussian_blur(images, torch.tensor([0.1, 2.0]), 6), images)


def test_reach_larger_than_the_image_is_cut():
    images = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(
        gaussian_blur(images, torch.tensor([2.0]), 6)[0],
        torchvision_functional.gaussian_blur(images[0], [7, 7], [2.0, 2.0]),
    )


@pytest.mark.parametrize(("size", "taps"), [(224, 23), (96, 9), (32, 3)])
def test_kernel_of_a_tenth_of_the_side_is_simclrs(size, taps):
    assert 2 * Blur(kernel=0.1).radius(size) + 1 == taps


def test_open_kernel_reaches_three_of_the_largest_sigma():
    assert Blur().radius(224) == 6
    assert Blur(sigma=(0.1, 3.5)).radius(32) == 11
