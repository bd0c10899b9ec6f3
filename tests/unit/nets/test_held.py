"""Claims about what training leaves as it was."""

import copy

import pytest
import torch
from torch import nn

from viewkin.methods.moco import MoCoConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.held import freeze_stages, hold_statistics, stages_of
from viewkin.runtime.errors import UserError


def statistics(net: nn.Module) -> list[torch.Tensor]:
    return [module.running_mean.clone() for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", ["resnet18", "timm/tf_efficientnet_lite0"])
def test_held_statistics_stay_in_training_and_normalise(name):
    if "timm" in name:
        pytest.importorskip("timm")
    torch.manual_seed(0)
    net, x = build_backbone(BackboneConfig(name=name, width=8)), torch.rand(4, 3, 32, 32) + 1
    hold_statistics(net)
    method = SimCLRConfig().build(net, count=8)
    method.train()
    before = statistics(net)
    with torch.no_grad():
        trained = method.backbone(x)
        assert all(torch.equal(a, b) for a, b in zip(before, statistics(net)))
        torch.testing.assert_close(trained, net.eval()(x))
    # The head's own norm still learns.
    method.train()
    method.encoder(x)
    assert any(m.num_batches_tracked for m in method.encoder.head.modules() if isinstance(m, nn.BatchNorm1d))


def test_copies_of_a_network_hold_too_and_split_norms_leave_it_alone():
    net = build_backbone(BackboneConfig(width=8))
    hold_statistics(net)
    method = MoCoConfig(norm="split:2", queue_size=4).build(net, count=8)
    method.train()
    held = [m for m in copy.deepcopy(method).modules() if isinstance(m, nn.BatchNorm2d)]
    assert {type(module) for module in held} == {nn.BatchNorm2d}
    assert not any(module.training for module in held if module.num_features != method.dim)


def test_frozen_stages_get_no_gradient_and_the_rest_does():
    net = build_backbone(BackboneConfig(width=8))
    freeze_stages(net, 2)
    net(torch.rand(4, 3, 32, 32)).sum().backward()
    without = {name.partition(".")[0] for name, weight in net.named_parameters() if weight.grad is None}
    assert without == {"conv1", "bn1", "layer1"}


STAGES = {
    "resnet18": 5,
    "amdim32": 4,
    "timm/tf_efficientnet_lite0": 9,
    "timm/vit_tiny_patch16_224": 14,
    "timm/convnext_atto": 6,
    "timm/regnetx_002": 5,
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_cover_a_network_once_and_in_order(name):
    if "timm" in name:
        pytest.importorskip("timm")
    net = build_backbone(BackboneConfig(name=name))
    stages = stages_of(net)
    assert len(stages) == STAGES[name]
    inside = [id(weight) for modules in stages for module in modules for weight in module.parameters()]
    every = [id(weight) for weight in net.parameters()]
    assert len(inside) == len({*inside})
    own = {id(weight) for (weight,) in zip(net._parameters.values())}  # such as a ViT's position embedding
    assert [weight for weight in every if weight not in own] == inside


@pytest.mark.parametrize("count", [-1, 5])
def test_more_stages_than_there_are_cannot_be_frozen(count):
    with pytest.raises(UserError, match=f"init.frozen is {count}; it must be 0 to 4"):
        freeze_stages(build_backbone(BackboneConfig(width=8)), count)
