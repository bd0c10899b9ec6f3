"""Claims about AMDIM's loss: against plain loops, finite differences and its limits."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from viewkin import losses

B, K, L, R = 3, 2, 4, 5


def vectors(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def loss_of(source: Tensor, target: Tensor, clip: float = 20.0) -> Tensor:
    """One direction of one task in a single process, with no penalty: source (B, r), target (B, L, r)."""
    found = losses.infomax_match(source, target, torch.arange(len(source)), clip)
    return -losses.infomax_scores(found.positive, found.negative).mean()


def loop_scores(source: Tensor, target: Tensor, clip: float) -> list[list[float]]:
    """The scores as printed: [i][l] with the sum over the other images' locations only."""
    r, count, places = source.shape[1], len(target), target.shape[1]

    def clipped(i: int, j: int, place: int) -> float:
        raw = sum(float(a) * float(b) for a, b in zip(source[i], target[j, place])) / math.sqrt(r)
        return clip * math.tanh(raw / clip)

    found = []
    for i in range(count):
        others = sum(math.exp(clipped(i, j, m)) for j in range(count) if j != i for m in range(places))
        own = [clipped(i, i, place) for place in range(places)]
        found.append([c - math.log(math.exp(c) + others) for c in own])
    return found


def near(value: Tensor, expected: object, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(
        value.detach().double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=tolerance
    )


# ---------------------------------------------------------------- the formula, however it is computed


@pytest.mark.parametrize("clip", [20.0, 1.5])
@pytest.mark.parametrize("at_once", [1, 2 * B * L, 10**9])
def test_scores_are_their_formula_for_any_block(clip, at_once):
    source, target = vectors(B, R), vectors(B, L, R, seed=1)
    found = losses.infomax_match(source, target, torch.arange(B), clip, at_once)
    near(losses.infomax_scores(found.positive, found.negative), loop_scores(source, target, clip))
    raw = [float(s @ t) / math.sqrt(R) for s in source for place in target for t in place]
    near(found.square, sum(x * x for x in raw) / len(raw))


def test_blocks_change_no_gradient_and_may_be_gone_through_twice():
    source, target = vectors(B, R).requires_grad_(), vectors(B, L, R, seed=1).requires_grad_()

    def loss(at_once: int) -> Tensor:
        found = losses.infomax_match(source, target, torch.arange(B), 20.0, at_once)
        return found.square - losses.infomax_scores(found.positive, found.negative).mean()

    expected, blockwise = torch.autograd.grad(loss(10**9), (source, target)), loss(1)
    for _ in range(2):  # the loop measures each term's gradient before it goes backward
        for one, other in zip(torch.autograd.grad(blockwise, (source, target), retain_graph=True), expected):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_maps_in_parts_give_what_maps_in_one_give():
    # What ranks do: everyone's sources against own maps, negatives added up, positives from where the maps are.
    source, target, own = vectors(4, R), vectors(4, L, R, seed=1), torch.arange(4)
    whole = losses.infomax_match(source, target, own)
    parts = [losses.infomax_match(source, target[start : start + 2], own - start) for start in (0, 2)]
    torch.testing.assert_close(torch.stack([part.negative for part in parts]).logsumexp(0), whole.negative)
    torch.testing.assert_close(torch.cat([parts[0].positive[:2], parts[1].positive[2:]]), whole.positive)
    torch.testing.assert_close((parts[0].square + parts[1].square) / 2, whole.square)


def test_other_positions_of_the_own_image_do_not_count():
    source, target = vectors(B, R), vectors(B, L, R, seed=1)
    found = losses.infomax_match(source, target, torch.arange(B))
    changed = target.clone()
    changed[0, 1:] += 5
    again = losses.infomax_match(source, changed, torch.arange(B))
    scores, others = (losses.infomax_scores(f.positive, f.negative) for f in (found, again))
    assert torch.equal(scores[0, 0], others[0, 0])
    assert not torch.equal(scores[0, 1:], others[0, 1:])
    assert not torch.equal(scores[1], others[1])


def test_gradients_agree_with_finite_differences():
    source, target = vectors(B, R).requires_grad_(), vectors(B, L, R, seed=1).requires_grad_()
    own = torch.tensor([2, 0, -1])  # the last one's image is not among these
    assert gradcheck(lambda s, t: tuple(losses.infomax_match(s, t, own, 2.0)), (source, target))
    assert gradcheck(loss_of, (source, target))
    assert gradcheck(lambda z: losses.clipped_cross_entropy(z, torch.tensor([0, 2, 1])), (source,))


def test_rows_left_out_of_the_heads_loss_are_in_its_penalty_alone():
    logits = vectors(B, R).requires_grad_()
    found = losses.clipped_cross_entropy(logits, torch.tensor([1, -100, 4]), weight=0.1)
    kept = losses.clipped_cross_entropy(logits[[0, 2]], torch.tensor([1, 4]), weight=0.0)
    torch.testing.assert_close(found, kept + 0.1 * logits.square().mean())
    nothing = losses.clipped_cross_entropy(logits, torch.full((B,), -100), weight=0.1)
    torch.testing.assert_close(nothing, 0.1 * logits.square().mean())


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_mixture_is_a_soft_maximum_in_value_and_gradient(sharpness):
    scores = vectors(B, K, L).requires_grad_()
    soft = (sharpness * scores).logsumexp(1) / sharpness
    found = losses.mixture_objective(scores, sharpness)
    torch.testing.assert_close(found, soft)
    weight = vectors(B, L, seed=1)
    expected, *_ = torch.autograd.grad((soft * weight).sum(), scores)
    torch.testing.assert_close(torch.autograd.grad((found * weight).sum(), scores)[0], expected)


def test_no_other_responsibilities_reach_a_higher_objective():
    scores, best = vectors(B, K, L), losses.mixture_objective(vectors(B, K, L), 2.0)
    for seed in range(5):
        q = vectors(B, K, L, seed=seed + 1).softmax(1)
        assert ((q * scores).sum(1) + torch.special.entr(q).sum(1) / 2 <= best).all()


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(("images", "places", "expected"), [(2, 25, 3.258097), (7, 49, math.log(1 + 6 * 49))])
def test_without_features_the_loss_is_that_of_guessing(images, places, expected):
    near(loss_of(torch.zeros(images, R), torch.zeros(images, places, R)), expected, 1e-5)


def test_a_single_image_costs_nothing_and_teaches_nothing():
    source, target = vectors(1, R).requires_grad_(), vectors(1, L, R, seed=1).requires_grad_()
    loss = loss_of(source, target)
    loss.backward()
    assert loss.item() == 0
    for gradient in (source.grad, target.grad):
        assert gradient is not None
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_one_component_is_its_score_whatever_its_sharpness():
    scores = vectors(B, 1, L)
    for sharpness in (0.1, 1.0, 10.0):
        torch.testing.assert_close(losses.mixture_objective(scores, sharpness), scores[:, 0])


def test_a_sharp_mixture_takes_the_best_component():
    scores = vectors(B, 3, L)
    torch.testing.assert_close(losses.mixture_objective(scores, 1e6), scores.amax(1), rtol=0, atol=1e-5)
    assert torch.equal(losses.responsibilities(scores, 1e6).argmax(1), scores.argmax(1))


def test_no_score_passes_the_clip_and_no_loss_is_infinite():
    source, target = 1e4 * vectors(B, R).float(), 1e4 * vectors(B, L, R, seed=1).float()
    found = losses.infomax_match(source, target, torch.arange(B))
    assert found.positive.abs().max() <= 20
    assert found.negative.max() <= 20 + math.log((B - 1) * L)
    assert loss_of(source, target).isfinite()


def test_length_of_vectors_matters():
    source, target = vectors(B, R), vectors(B, L, R, seed=1)
    assert not torch.allclose(loss_of(source, target), loss_of(3 * source, target))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scores_are_float32_products_under_autocast_and_of_half_precision(dtype):
    source, target = vectors(B, 64).to(dtype), vectors(B, L, 64, seed=1).to(dtype)
    exact = losses.infomax_match(source.double(), target.double(), torch.arange(B))
    found = losses.infomax_match(source, target, torch.arange(B))
    with torch.autocast("cpu", torch.bfloat16):
        cast = losses.infomax_match(source.float(), target.float(), torch.arange(B))
    for one in (found, cast):
        for value, expected in zip(one, exact):
            assert value.dtype == torch.float32
            torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
