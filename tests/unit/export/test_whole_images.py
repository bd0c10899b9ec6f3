"""Claims about the preprocessing that stands before a network in an export: it makes the views of the library."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from exports import smooth
from viewkin.augment.policies import policy
from viewkin.augment.views import test_view as view_of
from viewkin.data.decode import central_square, squashed
from viewkin.encode.image_vectors import stored_side
from viewkin.encode.model import Model
from viewkin.export.whole_images import WholeImages

LARGE = [(375, 500), (300, 300), (400, 230), (1300, 90)]
SMALL = [(224, 224), (90, 100), (37, 37), (36, 40), (32, 32), (20, 21), (8, 8)]


def both(shape, size, **changes):
    """The views of one image by the library's own functions and by the module, in grey levels."""
    chosen = replace(policy("moco-v2"), **changes)
    model = Model("", nn.Identity(), size, chosen)
    image = Image.fromarray(smooth(*shape))
    square = (squashed if chosen.squash else central_square)(image, stored_side(image.size, size))
    grey = torch.tensor(chosen.std).view(3, 1, 1) * 255
    own = view_of(torch.from_numpy(square)[None], size, chosen)
    with torch.no_grad():
        made = WholeImages(model).views(torch.from_numpy(np.array(image))[None])
    assert made.shape == own.shape == (1, 3, size, size)
    return own * grey, made * grey


@pytest.mark.parametrize("shape", LARGE)
@pytest.mark.parametrize("size", [224, 96, 32])
def test_views_of_large_images_differ_by_the_rounding_of_few_pixels(shape, size):
    own, made = both(shape, size)
    apart = (own - made).abs()
    assert float(apart.max()) < 2.01  # a grey level for each of two resizes, where a sum lies between two levels
    assert float((apart > 0.01).float().mean()) < 0.01


@pytest.mark.parametrize("shape", SMALL)
def test_views_of_images_that_are_not_shrunk_are_the_same(shape):
    own, made = both(shape, 224)
    torch.testing.assert_close(made, own, rtol=0, atol=2e-3)


@pytest.mark.parametrize("changes", [{"squash": True}, {"test_fraction": 1.0}, {"test_fraction": 0.5}])
def test_whole_images_are_squashed_and_centres_cut_where_the_policy_does(changes):
    own, made = both((90, 140), 48, **changes)
    plain, _ = both((90, 140), 48)
    assert float((own - plain).abs().max()) > 20, "the policy changes the view"
    assert float((own - made).abs().max()) < 2.01


def test_images_of_one_call_do_not_touch_each_other():
    whole = WholeImages(Model("", nn.Flatten(), 32, policy("moco-v2")))
    images = torch.stack([torch.from_numpy(smooth(50, 40, seed).copy()) for seed in (1, 2)])
    torch.testing.assert_close(whole(images), torch.cat([whole(one[None]) for one in images]))
