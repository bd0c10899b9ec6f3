"""Claims about slowly moving copies."""

import pytest
import torch
from torch import nn

from viewkin.nets.ema import ema_update_, make_target


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_target_is_an_equal_copy_without_gradient():
    online = _network()
    target = make_target(online)
    for name, value in online.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)
        assert target.state_dict()[name].data_ptr() != value.data_ptr()
    assert not any(p.requires_grad for p in target.parameters())
    assert all(p.requires_grad for p in online.parameters())
    assert target.training


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.99, 1.0])
def test_momentum_is_the_weight_of_the_old_value(momentum):
    target, online = make_target(_network()), _network()
    expected = [momentum * old + (1 - momentum) * new for old, new in zip(target.parameters(), online.parameters())]
    before = [p.clone() for p in online.parameters()]
    ema_update_(target, online, momentum)
    for moved, wanted in zip(target.parameters(), expected):
        torch.testing.assert_close(moved, wanted.detach())
    assert all(torch.equal(p, old) for p, old in zip(online.parameters(), before))


def test_update_leaves_running_statistics_alone():
    online = _network()
    target = make_target(online)
    online(torch.randn(8, 3) + 5)
    statistics = {name: value.clone() for name, value in target.named_buffers()}
    ema_update_(target, online, 0.5)
    assert all(torch.equal(value, statistics[name]) for name, value in target.named_buffers())
    assert not torch.equal(online[1].running_mean, target[1].running_mean)


def test_target_moves_its_own_statistics_when_it_runs():
    target = make_target(_network())
    before = target[1].running_mean.clone()
    target(torch.randn(8, 3) + 5)
    assert not torch.equal(target[1].running_mean, before)


def test_networks_of_different_length_are_refused():
    with pytest.raises(ValueError, match="parameters"):
        ema_update_(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0.5)
