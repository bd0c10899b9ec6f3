"""Claims about forms of views, their sizes and areas: Lab, rotations, patches, multi-crop."""

import pytest
import torch

from lawbook import BATCH, batch_for, build
from samples import CropsConfig
from viewkin.augment import views
from viewkin.augment.forms import LAB_MEAN, LAB_STD, Lab, Patches, Rotated, lab
from viewkin.augment.policies import policy
from viewkin.augment.views import ViewMaker, ViewSpec
from viewkin.methods.base import per_size
from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress

NONE, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("rgb", "expected"),  # skimage 0.22, D65, observer of 2 degrees
    [
        ((255, 0, 0), (53.2406, 80.0923, 67.2028)),
        ((0, 128, 255), (54.7145, 18.7735, -70.9138)),
        ((128, 128, 128), (53.5850, -0.0015, 0.0028)),
        ((10, 200, 30), (70.5001, -70.5138, 64.9408)),
    ],
)
def test_lab_has_the_values_of_a_reference(rgb, expected):
    pixel = torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1) / 255
    torch.testing.assert_close(lab(pixel).flatten(), torch.tensor(expected, dtype=torch.float64), atol=2e-3, rtol=0)


def test_lab_is_normalised_by_its_own_range_and_black_is_finite():
    black = torch.zeros(1, 3, 2, 2)
    found = Lab().apply(black, {}, (9.0, 9.0, 9.0), (0.1, 0.1, 0.1))
    expected = (torch.zeros(3) - torch.tensor(LAB_MEAN)) / torch.tensor(LAB_STD)
    torch.testing.assert_close(found[0, :, 0, 0], expected, atol=1e-3, rtol=0)


def test_rotations_turn_counter_clockwise():
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1, 3, 2, 2)
    found = Rotated().apply(image, {}, NONE, ONE)
    assert found.shape == (1, 4, 3, 2, 2)
    assert found[0, :, 0].int().tolist() == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]


def test_patches_of_the_whole_cell_put_the_image_together_again():
    image = torch.randn(2, 3, 12, 12)
    patches = Patches(grid=3, share=1.0).apply(image, {}, NONE, ONE)
    assert patches.shape == (2, 9, 3, 4, 4)
    rows = [torch.cat([patches[:, 3 * row + column] for column in range(3)], dim=3) for row in range(3)]
    assert torch.equal(torch.cat(rows, dim=2), image)


def test_patches_lie_within_their_cells_at_drawn_places():
    form, side = Patches(grid=3, share=0.5), 24
    down, right = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.stack([down, right, down]).float().expand(50, 3, side, side)
    draws = form.draw(50, torch.Generator().manual_seed(0), side)
    patches = form.apply(image, draws, NONE, ONE)
    assert patches.shape[-1] == form.side(side) == 4
    for cell in range(9):
        for axis, first in ((0, cell // 3 * 8), (1, cell % 3 * 8)):
            corner = patches[:, cell, axis, 0, 0] - first
            assert corner.min() == 0
            assert corner.max() == 4
    fixed = form.apply(image, {}, NONE, ONE)
    assert (fixed[:, 0, :2, 0, 0] == 2).all()  # the middle


def test_patches_of_a_tiny_view_are_refused():
    with pytest.raises(UserError, match="take larger views"):
        Patches(grid=3).draw(2, torch.Generator(), 2)


def images(count: int = 6, side: int = 40) -> torch.Tensor:
    return torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_every_view_has_its_own_size_area_and_form():
    spec = {
        "large": ViewSpec("first"),
        "small": ViewSpec("first", size=12, area=(0.05, 0.14)),
        "turned": ViewSpec("weak", size=16, form=Rotated()),
        "cut": ViewSpec("second", size=30, form=Patches()),
    }
    maker = ViewMaker(policy("simclr-cifar"), 32, spec)
    parameters = maker.sample(6, torch.Generator().manual_seed(0), 40)
    found = maker(images(), parameters)
    shapes = {name: tuple(view.shape) for name, view in found.items()}
    assert shapes == {
        "large": (6, 3, 32, 32),
        "small": (6, 3, 12, 12),
        "turned": (6, 4, 3, 16, 16),
        "cut": (6, 9, 3, 8, 8),
    }
    box = parameters.views["small"][0]["box"]
    share = box[:, 2] * box[:, 3] / 40**2
    assert share.min() > 0.04
    assert share.max() < 0.16
    # A slice of the batch gets the same views, whatever their form.
    for name, view in maker(images()[2:5], parameters.rows(2, 5)).items():
        torch.testing.assert_close(view, found[name][2:5])


def test_a_view_alone_is_the_same_as_beside_views_of_other_sizes():
    one = ViewMaker(policy("simclr-cifar"), 16, {"a": ViewSpec("first")})
    more = ViewMaker(policy("simclr-cifar"), 16, {"a": ViewSpec("first"), "b": ViewSpec("first", size=8)})
    alone = one(images(), one.sample(6, torch.Generator().manual_seed(3), 40))
    beside = more(images(), more.sample(6, torch.Generator().manual_seed(3), 40))
    assert torch.equal(alone["a"], beside["a"])


def test_an_area_needs_a_random_crop():
    with pytest.raises(UserError, match="no random area"):
        ViewMaker(policy("amdim-cifar"), 32, {"a": ViewSpec("first", area=(0.1, 0.2))})


def test_the_test_views_have_the_sizes_and_forms_too():
    spec = {"a": ViewSpec("first"), "b": ViewSpec("first", size=8), "c": ViewSpec("weak", form=Rotated())}
    found = views.test_views(images(side=16), 16, policy("simclr-cifar"), spec)
    assert [tuple(view.shape) for view in found.values()] == [(6, 3, 16, 16), (6, 3, 8, 8), (6, 4, 3, 16, 16)]
    torch.testing.assert_close(found["c"][:, 0], found["a"])


def test_views_of_one_size_pass_the_network_together():
    method, passes = build(CropsConfig()), []
    method.backbone.register_forward_hook(lambda module, inputs, output: passes.append(tuple(inputs[0].shape)))
    batch = batch_for(method, torch.arange(BATCH))
    method(batch, Progress(steps=2))
    assert passes == [(2 * BATCH, 3, 16, 16), (4 * BATCH, 3, 12, 12), (BATCH, 3, 8, 8)]


def test_outputs_come_back_in_the_order_of_the_views():
    given = [torch.full((2, 1, side, side), float(number)) for number, side in enumerate((4, 2, 4, 3, 2))]
    found = per_size(lambda x: x.mean((1, 2, 3)), given)
    assert [one.tolist() for one in found] == [[float(number)] * 2 for number in range(5)]
