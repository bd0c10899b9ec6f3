"""Claims about ISIF and its loss, beside the laws that every method is under."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from lawbook import BATCH, COUNT, SIDE, batch_for, build, noise_source, recipe_for, trainer_for
from viewkin import losses
from viewkin.methods.base import Batch
from viewkin.methods.isif import ISIF, ISIFConfig
from viewkin.methods.terms.eir import EIRConfig
from viewkin.methods.wrapper import Wrapper
from viewkin.runtime.draws import Draw, generator_for
from viewkin.runtime.errors import UserError
from viewkin.schedules import Progress

INDEX = torch.tensor([3, 9, 20, 1])
TAU = 0.3


def isif(**settings: Any) -> ISIF:
    method = build(ISIFConfig(dim=8, temperature=TAU, **settings)).double()
    assert isinstance(method, ISIF)
    return method


def batch(method: ISIF):
    return batch_for(method, INDEX, dtype=torch.float64)


def both_views(method: ISIF) -> Tensor:
    views = batch(method).views
    return losses.unit(method.encoder(torch.cat([views["first"], views["second"]]))).detach()


def rows(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(count, 5, generator=generator, dtype=torch.float64))


def places(count: int) -> tuple[Tensor, Tensor]:
    own = torch.arange(count)
    return own, (own + count // 2) % count


def loop(z: Tensor, negatives: float, synthetic: float = 0.0, extrapolate: float = 0.0) -> list[float]:
    """The loss, anchor by anchor, with blends made as vectors."""
    found, n = [], len(z)
    for a in range(n):
        p = (a + n // 2) % n
        beyond = losses.unit((1 + extrapolate) * z[p : p + 1] - extrapolate * z[a : a + 1])[0]
        positive = math.exp(float(z[a] @ beyond) / TAU)
        others = [z[b] for b in range(n) if b not in (a, p)]
        if synthetic:
            others += [losses.unit((synthetic * z[a] + (1 - synthetic) * w)[None])[0] for w in others]
        scores = [math.exp(float(z[a] @ w) / TAU) for w in others]
        total = positive + negatives * sum(scores)
        spread = sum(math.log(1 - s / total) for s in scores)
        found.append(-math.log(positive / total) - negatives * spread)
    return found


@pytest.mark.parametrize("negatives", [1.0, 2.5])
def test_loss_is_its_formula(negatives):
    z = rows(8)
    found = losses.invariant_spread(z @ z.T, *places(8), TAU, negatives)
    expected = torch.tensor(loop(z, negatives), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_gradient_agrees_with_finite_differences():
    z = rows(6).requires_grad_()
    columns = rows(6, seed=1)
    assert gradcheck(lambda z: losses.invariant_spread(z @ columns.T, *places(6), TAU, 2.0), (z,))
    assert gradcheck(lambda z: losses.invariant_spread(z @ z.T, *places(6), TAU), (z,))
    assert gradcheck(
        lambda s: losses.blended_similarity(s, 0.3, constant=False), ((z @ columns.T).detach().requires_grad_(),)
    )


@pytest.mark.parametrize("share", [0.5, 0.2, -0.4])
def test_blend_is_the_similarity_to_the_blended_vector_and_its_gradient_that_of_a_constant(share):
    v, w = rows(6).requires_grad_(), rows(6, seed=1)
    blend = losses.unit(share * v.detach() + (1 - share) * w)
    found = losses.blended_similarity((losses.unit(v) * w).sum(1), share)
    expected = (losses.unit(v) * blend).sum(1)
    torch.testing.assert_close(found, expected)
    one, other = (torch.autograd.grad(x.sum(), v, retain_graph=True)[0] for x in (found, expected))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "settings", [{}, {"synthetic": 0.4}, {"extrapolate": 0.3}, {"synthetic": 0.4, "extrapolate": 0.3}]
)
def test_isif_compares_every_view_with_all(settings):
    method = isif(**settings)
    expected = sum(loop(both_views(method), 1.0, **settings)) / 8
    assert method(batch(method), Progress()).loss.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("detached", [True, False])
def test_gradient_reaches_columns_only_where_they_are_not_constants(detached, monkeypatch):
    method = isif(detach_columns=detached)
    z = both_views(method).requires_grad_()
    monkeypatch.setattr(method, "query", lambda x: z)
    (found,) = torch.autograd.grad(method(batch(method), Progress()).loss, z)
    own, partner = places(8)
    columns = z.detach() if detached else z
    (expected,) = torch.autograd.grad(losses.invariant_spread(z @ columns.T, own, partner, TAU).mean(), z)
    torch.testing.assert_close(found, expected)


def test_pair_loss_is_the_loss_among_the_keys():
    method = isif()
    q, k = both_views(method).chunk(2)
    found = method.pair_loss(q, k, INDEX)
    for row in range(4):
        e = [math.exp(float(q[row] @ key) / TAU) for key in k]
        p = [one / sum(e) for one in e]
        expected = -math.log(p[row]) - sum(math.log(1 - p[b]) for b in range(4) if b != row)
        assert found[row].item() == pytest.approx(expected, rel=1e-9)


def test_negative_that_takes_all_probability_leaves_finite_values():
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss = losses.invariant_spread(z @ z.detach().T, *places(4), 0.01)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()


def test_second_view_shows_the_nearest_other_image_as_often_as_asked():
    method = isif(neighbour_view=0.25)
    features = torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert not list(method.epoch(lambda what: {"features": features}[what], Progress()))
    cosine = losses.unit(features) @ losses.unit(features).T
    nearest = cosine.fill_diagonal_(-2).argmax(1)
    index = torch.arange(COUNT).repeat(500)
    shown = method.shown(index, Draw(0, 0, len(index), 0, len(index)))
    assert list(shown) == ["second"]
    swapped = shown["second"] != index
    assert torch.equal(shown["second"][swapped], nearest[index[swapped]])
    assert float(swapped.double().mean()) == pytest.approx(0.25, abs=0.02)  # five standard deviations
    assert not isif().shown(index, Draw(0, 0, len(index), 0, len(index)))


@pytest.mark.parametrize("wrapped", [False, True])
def test_training_sees_the_neighbour_in_the_second_view_alone(wrapped, tmp_path):
    config = ISIFConfig(dim=8, neighbour_view=1.0)
    trainer = trainer_for(recipe_for(EIRConfig(base=config) if wrapped else config), noise_source(), tmp_path)
    method = trainer.method.base if isinstance(trainer.method, Wrapper) else trainer.method
    assert isinstance(method, ISIF)
    method.epoch(trainer.encode, Progress())
    assert method.nearest is not None
    seen: list[Batch] = []
    trainer.method.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    [(index, images)] = next(trainer.loader.epoch(0))
    trainer.step([(index, images)])
    drawn = trainer.views.sample(BATCH, generator_for(trainer.recipe.seed, "views", 0), SIDE)
    own, other = (trainer.views(trainer.source.images(image), drawn) for image in (index, method.nearest[index]))
    assert torch.equal(seen[0].views["second"], other["second"])
    assert not torch.equal(own["second"], other["second"])
    assert all(torch.equal(view, own[name]) for name, view in seen[0].views.items() if name != "second")


def test_two_views_of_one_image_cost_nothing():
    z = rows(2)
    torch.testing.assert_close(losses.invariant_spread(z @ z.T, *places(2), TAU), torch.zeros(2).double())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
        ({"dim": 1}, "dim is 1; it must be at least 2"),
        ({"head": "deep"}, "head is 'deep'; it must be linear or mlp"),
        ({"negatives": 0.0}, "negatives is 0.0; it must be above 0"),
        ({"synthetic": 1.0}, "synthetic is 1.0; it must be at least 0 and below 1"),
        ({"neighbour_view": 1.5}, "neighbour_view is 1.5; it must be 0 to 1"),
        ({"extrapolate": -0.1}, "extrapolate is -0.1; it must be at least 0"),
    ],
)
def test_bad_settings_are_one_sentence(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        ISIFConfig(**settings)
