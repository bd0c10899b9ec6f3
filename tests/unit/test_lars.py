"""Claims about LARS."""

import math

import pytest
import torch
from torch import nn

from viewkin.optim import LARS


def _lars_loop(weights, gradients, *, lr, momentum, decay, eta, clip):
    """Algorithm 1 of You et al. with the rate outside the velocity, on nested lists of plain numbers."""
    weights = list(weights)
    velocity = [0.0] * len(weights)
    for gradient in gradients:
        w_norm = math.sqrt(sum(w * w for w in weights))
        g_norm = math.sqrt(sum(g * g for g in gradient))
        trust = 1.0
        if w_norm > 0 and g_norm > 0:
            trust = eta * w_norm / (g_norm + decay * w_norm)
            trust = min(trust / lr, 1.0) if clip else trust
        for i, g in enumerate(gradient):
            velocity[i] = momentum * velocity[i] + trust * (g + decay * weights[i])
            weights[i] -= lr * velocity[i]
    return weights


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("eta", [0.001, 0.02, 5.0])
def test_lars_is_its_algorithm(eta, clip):
    weight = nn.Parameter(torch.randn(2, 3, dtype=torch.float64))
    gradients = torch.randn(4, 2, 3, dtype=torch.float64)
    expected = _lars_loop(
        weight.flatten().tolist(), gradients.flatten(1).tolist(), lr=0.4, momentum=0.9, decay=0.1, eta=eta, clip=clip
    )
    optimizer = LARS([weight], 0.4, momentum=0.9, weight_decay=0.1, eta=eta, clip=clip)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(weight.detach().flatten(), torch.tensor(expected, dtype=torch.float64))


def test_lars_first_step_by_hand():
    # |w| = 5, |g| = 10, decay 1: trust = 0.3 * 5 / (10 + 5) = 0.1; w - 2 * 0.1 * (g + w).
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    weight.grad = torch.tensor([[10.0, 0.0]])
    LARS([weight], 2.0, weight_decay=1.0, eta=0.3).step()
    torch.testing.assert_close(weight.detach(), torch.tensor([[3.0 - 0.2 * 13, 4.0 - 0.2 * 4]]))


def test_lars_does_not_adapt_biases_and_norms():
    bias = nn.Parameter(torch.tensor([3.0, 4.0]))
    bias.grad = torch.tensor([1.0, -2.0])
    LARS([bias], 0.5, eta=0.001).step()
    torch.testing.assert_close(bias.detach(), torch.tensor([2.5, 5.0]))


@pytest.mark.parametrize("clip", [False, True])
def test_lars_takes_plain_steps_from_zero_weights_and_survives_rate_zero(clip):
    weight = nn.Parameter(torch.zeros(1, 2))
    weight.grad = torch.tensor([[1.0, -2.0]])
    LARS([weight], 0.5, eta=0.001, clip=clip).step()
    assert torch.equal(weight.detach(), torch.tensor([[-0.5, 1.0]]))
    optimizer = LARS([weight], 0.0, clip=clip)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.tensor([[-0.5, 1.0]]))


def test_lars_calls_the_closure_and_skips_weights_without_gradient():
    used, idle = nn.Parameter(torch.ones(1, 2)), nn.Parameter(torch.ones(1, 2))
    optimizer = LARS([used, idle], 0.1)

    def closure():
        used.grad = None
        loss = used.sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2
    assert not torch.equal(used, idle)
    assert torch.equal(idle, torch.ones(1, 2))
