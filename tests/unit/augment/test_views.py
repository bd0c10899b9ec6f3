import dataclasses

import pytest
import torch
from torch.nn import functional
from torchvision.transforms import functional as torchvision_functional
from torchvision.transforms.functional import InterpolationMode

from viewkin.augment import operations as op
from viewkin.augment import views
from viewkin.augment.policies import names, policy
from viewkin.runtime.errors import UserError

SPEC = {"a": "first", "b": "second", "w": "weak"}


def random_images(count: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def made(name: str, count: int, side: int, size: int, spec=SPEC, seed: int = 0):
    maker = views.ViewMaker(policy(name), size, spec)
    parameters = maker.sample(count, torch.Generator().manual_seed(seed), side)
    return maker, parameters, random_images(count, side)


def grey(image):
    return 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]


def jitter_one(image, order, factors):
    for kind in order.tolist():
        factor = float(factors[kind])
        if kind == 3:
            image = torchvision_functional.adjust_hue(image, factor)
        else:
            base = (0.0, grey(image).mean(), grey(image))[kind]
            image = (factor * image + (1 - factor) * base).clamp(0, 1)
    return image


def pca_shift(alpha):
    """Krizhevsky et al. 2012, section 4.1: ``[p1 p2 p3] [a1 l1, a2 l2, a3 l3]^T``, by fb.resnet.torch's numbers."""
    values = (0.2175, 0.0188, 0.0045)
    vectors = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
    shift = [sum(a * value * entry for a, value, entry in zip(alpha, values, row)) for row in vectors]
    return torch.tensor(shift)[:, None, None]


def apply_one(operation, image, draw, size):
    """Apply one operation to one float image, as torchvision does."""
    if isinstance(operation, op.Crop):
        box, mode = [int(edge) for edge in draw["box"]], InterpolationMode(operation.mode)
        return torchvision_functional.resized_crop(image, *box, [size, size], mode, antialias=True).clamp(0, 1)
    if not draw["on"]:
        return image
    match operation:
        case op.Translate():
            down, right = draw["shift"].tolist()
            padded = functional.pad(image, (4, 4, 4, 4), mode="reflect")
            return padded[:, 4 - down : 4 - down + size, 4 - right : 4 - right + size]
        case op.Flip():
            return image.flip(-1)
        case op.ColourJitter():
            return jitter_one(image, draw["order"], draw["factors"])
        case op.Grayscale():
            return grey(image).expand_as(image)
        case op.Lighting():
            return image + pca_shift(draw["alpha"].tolist())
        case op.Blur():
            kernel = [2 * operation.radius(size) + 1] * 2
            return torchvision_functional.gaussian_blur(image, kernel, [float(draw["sigma"])] * 2)
        case _:
            return torchvision_functional.solarize(image, 128 / 255)


def view_one(found, pipeline, image, shared, draws, row, size):
    image = image / 255
    for operation, draw in zip((*found.shared, *pipeline), (*shared, *draws)):
        image = apply_one(operation, image, {name: values[row] for name, values in draw.items()}, size)
    return torchvision_functional.normalize(image, list(found.mean), list(found.std))


@pytest.mark.parametrize(("name", "side", "size"), [*((name, 24, 24) for name in names()), ("moco-v2", 40, 24)])
def test_views_are_torchvisions_operations_one_after_the_other(name, side, size):
    maker, parameters, images = made(name, 24, side, size)
    found = policy(name)
    for view_name, role in SPEC.items():
        pipeline = found.pipeline(role)
        ours = maker(images, parameters)[view_name]
        for row, image in enumerate(images):
            draws = parameters.views[view_name]
            expected = view_one(found, pipeline, image, parameters.shared, draws, row, size)
            torch.testing.assert_close(ours[row], expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", names())
def test_a_slice_of_the_views_is_the_view_of_the_slice(name):
    maker, parameters, images = made(name, 30, 20, 16 if "cifar" not in name else 20)
    whole = maker(images, parameters)
    for start, stop in ((0, 11), (11, 12), (12, 30), (30, 30)):
        part = maker(images[start:stop], parameters.rows(start, stop))
        for view_name, view in part.items():
            torch.testing.assert_close(view, whole[view_name][start:stop], atol=2e-6, rtol=0)


def test_chunks_of_any_size_give_the_same_views(monkeypatch):
    maker, parameters, images = made("byol", 9, 20, 16)
    whole = maker(images, parameters)
    monkeypatch.setattr(views, "CACHED_PIXELS", 2 * 16**2)
    for name, view in maker(images, parameters).items():
        torch.testing.assert_close(view, whole[name], atol=2e-6, rtol=0)


def test_same_generator_gives_the_same_views_and_leaves_the_images():
    maker, parameters, images = made("simclr", 8, 24, 24)
    before = images.clone()
    again = maker.sample(8, torch.Generator().manual_seed(0), 24)
    first, second = maker(images, parameters), maker(images, again)
    assert all(torch.equal(first[name], second[name]) for name in SPEC)
    assert torch.equal(images, before)
    assert not torch.equal(first["a"], first["b"])
    other = maker(images, maker.sample(8, torch.Generator().manual_seed(1), 24))
    assert not torch.equal(first["a"], other["a"])


def test_another_view_leaves_the_numbers_of_the_first_ones():
    _, two, _ = made("moco-v2", 6, 24, 24, {"a": "first", "b": "second"})
    _, three, _ = made("moco-v2", 6, 24, 24)
    for name in two.views:
        for draw, same in zip(two.views[name], three.views[name]):
            assert all(torch.equal(values, same[key]) for key, values in draw.items())


def test_views_are_channels_last_of_the_size_and_type_asked_for():
    maker, parameters, images = made("moco-v2", 5, 30, 16)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for view in maker(images, parameters, dtype).values():
            assert view.shape == (5, 3, 16, 16)
            assert view.dtype == dtype
            assert view.is_contiguous(memory_format=torch.channels_last)
            assert view.isfinite().all()
    exact, rounded = maker(images, parameters)["a"], maker(images, parameters, torch.float16)["a"]
    torch.testing.assert_close(rounded, exact.half(), atol=0, rtol=0)


def test_both_views_of_amdim_share_the_flip():
    found = dataclasses.replace(policy("amdim-cifar"), first=(op.Translate(probability=0.0),))
    maker = views.ViewMaker(found, 16, {"a": "first"})
    parameters = maker.sample(40, torch.Generator().manual_seed(0), 16)
    images = random_images(40, 16)
    plain = views.test_view(images, 16, found)
    flipped = parameters.shared[0]["on"]
    expected = torch.where(flipped[:, None, None, None], plain.flip(-1), plain)
    torch.testing.assert_close(maker(images, parameters)["a"], expected)
    assert 10 < flipped.sum() < 30


def test_translated_views_of_another_size_are_resized_first():
    maker, parameters, images = made("amdim-cifar", 4, 20, 16)
    small = functional.interpolate(images / 255, (16, 16), mode="bilinear", antialias=True)
    for draw in (parameters.shared[0], *(p[0] for p in parameters.views.values())):
        draw["on"].zero_()
    expected = torchvision_functional.normalize(small, list(maker.policy.mean), list(maker.policy.std))
    torch.testing.assert_close(maker(images, parameters)["w"], expected, atol=1e-5, rtol=0)


def test_an_empty_batch_has_empty_views():
    maker, parameters, images = made("byol", 0, 24, 24)
    assert {name: tuple(view.shape) for name, view in maker(images, parameters).items()} == dict.fromkeys(
        SPEC, (0, 3, 24, 24)
    )


def test_images_may_have_any_memory_layout():
    maker, parameters, images = made("simclr-cifar", 6, 20, 20)
    rows_first = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    expected = maker(images, parameters)
    for name, view in maker(rows_first, parameters).items():
        torch.testing.assert_close(view, expected[name])


def test_test_view_of_the_stored_size_is_the_normalised_image():
    images, found = random_images(3, 32), policy("simclr-cifar")
    expected = torchvision_functional.normalize(images / 255, list(found.mean), list(found.std))
    view = views.test_view(images, 32, found)
    torch.testing.assert_close(view, expected)
    assert view.is_contiguous(memory_format=torch.channels_last)


def test_test_view_cuts_the_centre_224_of_256_without_resampling():
    images, found = random_images(2, 256), policy("moco-v2")
    centre = images[:, :, 16:240, 16:240]
    assert torch.equal(views.test_view(images, 224, found), views.test_view(centre, 224, found))


@pytest.mark.parametrize(("name", "side", "resized", "size"), [("amdim-stl", 96, 70, 64), ("amdim-in", 256, 146, 128)])
def test_test_view_of_amdim_is_a_resize_and_a_centre_crop(name, side, resized, size):
    images, found = random_images(2, side), policy(name)
    small = functional.interpolate(images / 255, (resized, resized), mode="bilinear", antialias=True)
    centre = torchvision_functional.center_crop(small, [size, size])
    expected = torchvision_functional.normalize(centre, list(found.mean), list(found.std))
    torch.testing.assert_close(views.test_view(images, size, found), expected, atol=2e-5, rtol=0)


def test_test_view_enlarges_a_smaller_image_whole():
    images, found = random_images(2, 20), policy("moco-v2")
    large = functional.interpolate(images / 255, (32, 32), mode="bilinear", antialias=True)
    expected = torchvision_functional.normalize(large, list(found.mean), list(found.std))
    torch.testing.assert_close(views.test_view(images, 32, found), expected, atol=2e-5, rtol=0)


def test_bad_images_are_one_sentence():
    maker, parameters, images = made("isif", 4, 16, 16)
    with pytest.raises(UserError, match="uint8"):
        maker(images.float(), parameters)
    with pytest.raises(UserError, match="uint8"):
        maker(images[:, :1], parameters)
    with pytest.raises(UserError, match="16 x 12"):
        maker(images[..., :12], parameters)
    with pytest.raises(UserError, match="3 images came with random numbers for 4"):
        maker(images[:3], parameters)
    with pytest.raises(UserError, match="16 x 12"):
        views.test_view(images[..., :12], 16, policy("isif"))


def test_bad_plans_are_one_sentence():
    with pytest.raises(UserError, match="third"):
        views.ViewMaker(policy("isif"), 16, {"a": "third"})
    with pytest.raises(UserError, match="at least 1"):
        views.ViewMaker(policy("isif"), 0, {"a": "first"})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", names())
def test_a_gpu_makes_the_views_of_the_cpu(name):
    maker, parameters, images = made(name, 24, 40, 32)
    expected = maker(images, parameters)
    for view_name, view in maker(images.cuda(), parameters).items():
        torch.testing.assert_close(view.cpu(), expected[view_name], atol=1e-4, rtol=0)
