"""The methods manual's worked values of AMDIM."""

import pytest
import torch

from planar import PRECISIONS, near
from viewkin import losses


@PRECISIONS
def test_two_images_of_two_positions(dtype, tolerance):
    source = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=dtype)
    target = torch.tensor([[[2.0, 0.0], [1.0, 1.0]], [[0.0, 2.0], [-1.0, 1.0]]], dtype=dtype)
    found = losses.infomax_match(source, target, torch.arange(2))
    near(0.05 * found.square, 0.093750, tolerance)
    near(0.04 * found.square, 0.075, tolerance)
    scores = losses.infomax_scores(found.positive, found.negative)
    near(scores, [[-0.310334, -0.551857], [-0.268000, -0.808122]], tolerance)
    near(-scores.mean(), 0.484578, tolerance)


@PRECISIONS
def test_raw_scores_come_out_of_a_wide_clip(dtype, tolerance):
    source = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=dtype)
    target = torch.tensor([[[2.0, 0.0], [1.0, 1.0]], [[0.0, 2.0], [-1.0, 1.0]]], dtype=dtype)
    found = losses.infomax_match(source, target, torch.arange(2), clip=1e4)
    near(found.positive, [[1.414214, 0.707107], [2.828427, 1.414214]], 10 * tolerance)


@PRECISIONS
@pytest.mark.parametrize(
    ("raw", "expected"), [(1.0, 0.999167), (10.0, 9.242343), (20.0, 15.231883), (100.0, 19.998184)]
)
def test_clip_at_twenty(dtype, tolerance, raw, expected):
    vector = torch.tensor([[raw]], dtype=dtype)
    found = losses.infomax_match(vector, torch.ones(1, 1, 1, dtype=dtype), torch.arange(1))
    near(found.positive, expected, 10 * tolerance)
    near(found.square, raw**2, 1e-9)  # the penalty is of the score before the clip


@PRECISIONS
def test_loss_of_a_classifiers_logits(dtype, tolerance):
    logits = torch.tensor([[2.0, 0.0, -1.0]], dtype=dtype)
    near(losses.clipped_cross_entropy(logits, torch.tensor([0])), 0.175801, tolerance)


@pytest.mark.parametrize(
    ("sharpness", "q", "objective"), [(1.0, (0.731059, 0.268941), -0.686738), (2.0, (0.880797, 0.119203), -0.936536)]
)
def test_mixture_of_two_components(sharpness, q, objective):
    scores = torch.tensor([[[-1.0], [-2.0]]], dtype=torch.float64)
    near(losses.responsibilities(scores, sharpness)[0, :, 0], list(q), 1e-6)
    near(losses.mixture_objective(scores, sharpness), objective, 1e-6)


def test_without_features_two_images_of_25_positions():
    found = losses.infomax_match(torch.zeros(2, 5), torch.zeros(2, 25, 5), torch.arange(2))
    near(-losses.infomax_scores(found.positive, found.negative).mean(), 3.258097, 5e-7)
