import math

import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision import transforms
from torchvision.transforms import functional as torchvision_functional

from viewkin.augment import geometry


def random_images(count: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def boxes_for(count: int, side: int, seed: int = 0) -> torch.Tensor:
    return geometry.resized_crop_boxes(count, side, (0.2, 1.0), (3 / 4, 4 / 3), torch.Generator().manual_seed(seed))


def torchvision_crop(image: torch.Tensor, box: torch.Tensor, size: int, mode: str) -> torch.Tensor:
    top, left, height, width = (int(edge) for edge in box)
    interpolation = transforms.InterpolationMode(mode)
    cut = [top, left, height, width]
    return torchvision_functional.resized_crop(image, *cut, [size, size], interpolation, antialias=True).clamp(0, 1)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [12, 24, 32])
def test_crop_resize_is_torchvisions_resized_crop_whether_boxes_shrink_or_grow(mode, size):
    images, boxes = random_images(24, 24), boxes_for(24, 24)
    views = geometry.crop_resize(images, boxes, size, mode)
    for image, box, view in zip(images, boxes, views):
        expected = torchvision_crop(image / 255, box, size, mode)
        torch.testing.assert_close(view, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("mode", "levels"), [("bilinear", 1.01), ("bicubic", 2.01)])
def test_crop_resize_is_pillows_up_to_its_rounding(mode, levels):
    # Pillow also clips between its two passes: levels far from black and white keep that out.
    images, boxes = random_images(8, 40) // 4 + 96, boxes_for(8, 40)
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[mode]
    views = geometry.crop_resize(images, boxes, 28, mode)
    for image, (top, left, height, width), view in zip(images, boxes.tolist(), views):
        picture = torchvision_functional.to_pil_image(image).crop((left, top, left + width, top + height))
        expected = torchvision_functional.pil_to_tensor(picture.resize((28, 28), resample))
        assert (view * 255 - expected).abs().max() <= levels


def test_whole_box_of_the_views_size_is_the_image():
    images = random_images(3, 32)
    whole = torch.tensor([0.0, 0.0, 32.0, 32.0]).expand(3, 4)
    torch.testing.assert_close(geometry.crop_resize(images, whole, 32), images / 255, atol=1e-5, rtol=0)


def test_crop_reads_nothing_outside_its_box():
    images = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    images[:, :, 4:9, 5:12] = 255
    box = torch.tensor([[4.0, 5.0, 5.0, 7.0]])
    for size in (3, 16):
        for mode in ("bilinear", "bicubic"):
            view = geometry.crop_resize(images, box, size, mode)
            torch.testing.assert_close(view, torch.ones_like(view), atol=1e-5, rtol=0)


def test_crop_within_the_image_is_a_resize_followed_by_a_crop():
    images = random_images(2, 35)
    resized = functional.interpolate(images / 255, (70, 70), mode="bilinear", antialias=True)
    edge = 3 * 35 / 70
    box = torch.tensor([[edge, edge, 32.0, 32.0]]).expand(2, 4)
    view = geometry.crop_resize(images, box, 64, within="image")
    torch.testing.assert_close(view, resized[:, :, 3:67, 3:67], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [10, 30])
def test_mirrored_box_is_the_flipped_crop(size):
    images, boxes = random_images(6, 20), boxes_for(6, 20)
    on = torch.tensor([True, False, True, True, False, False])
    plain = geometry.crop_resize(images, boxes, size)
    expected = torch.stack([view.flip(-1) if flipped else view for view, flipped in zip(plain, on)])
    flipped = geometry.crop_resize(images, geometry.flip_boxes(boxes, on), size)
    torch.testing.assert_close(flipped, expected, atol=1e-5, rtol=0)
    assert torch.equal(geometry.flip(plain, on), expected)


def test_flip_leaves_its_argument():
    images = random_images(2, 5)
    before = images.clone()
    geometry.flip(images, torch.tensor([True, True]))
    assert torch.equal(images, before)


def test_crop_survives_autocast():
    images, boxes = random_images(4, 24), boxes_for(4, 24)
    expected = geometry.crop_resize(images, boxes, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(geometry.crop_resize(images, boxes, 12), expected)


def test_translation_moves_down_and_right_and_mirrors_inside_the_edge():
    images = random_images(6, 9)
    shift = torch.tensor([[0, 0], [4, 0], [-4, 0], [0, 3], [-1, -4], [2, 4]])
    moved = geometry.translate_reflect(images, shift)
    for image, (down, right), view in zip(images, shift.tolist(), moved):
        padded = functional.pad(image.float(), (4, 4, 4, 4), mode="reflect")
        assert torch.equal(view.float(), padded[:, 4 - down : 13 - down, 4 - right : 13 - right])


def kolmogorov_distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    points = torch.cat((ours, theirs)).sort().values
    steps = [torch.searchsorted(sample.sort().values, points, right=True) / len(sample) for sample in (ours, theirs)]
    return float((steps[0] - steps[1]).abs().max())


@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.2, 1.0), (3 / 4, 4 / 3)), ((0.3, 1.0), (0.7, 1.4))]
)
def test_boxes_follow_torchvisions_distribution(scale, ratio):
    count = 4000
    ours = geometry.resized_crop_boxes(count, 32, scale, ratio, torch.Generator().manual_seed(1))
    image = torch.empty(3, 32, 32)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        draws = [transforms.RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(count)]
    theirs = torch.tensor(draws, dtype=torch.float32)
    for measure in (
        lambda box: box[:, 2] * box[:, 3],
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0],
        lambda box: box[:, 1],
        lambda box: box[:, 0] / (33 - box[:, 2]),
    ):
        # Two samples of one distribution differ by more than this once in 1,000 times.
        assert kolmogorov_distance(measure(ours), measure(theirs)) < 1.95 * math.sqrt(2 / count)


def test_boxes_lie_in_the_image_on_whole_pixels():
    boxes = geometry.resized_crop_boxes(5000, 17, (0.05, 1.0), (0.5, 2.0), torch.Generator().manual_seed(0))
    assert torch.equal(boxes, boxes.round())
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 17).all()
    assert (boxes[:, :2] + boxes[:, 2:] == 17).any()


@pytest.mark.parametrize(
    ("ratio", "box"), [((4.0, 5.0), [12.0, 0.0, 8.0, 32.0]), ((0.2, 0.25), [0.0, 12.0, 32.0, 8.0])]
)
def test_box_that_never_fits_falls_back_to_the_largest_centred_one(ratio, box):
    boxes = geometry.resized_crop_boxes(3, 32, (1.0, 1.0), ratio, torch.Generator().manual_seed(0))
    assert boxes.tolist() == [box] * 3
    with torch.random.fork_rng():
        assert list(transforms.RandomResizedCrop.get_params(torch.empty(3, 32, 32), [1.0, 1.0], list(ratio))) == box
