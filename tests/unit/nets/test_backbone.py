"""Claims about backbones by name."""

import sys

import pytest
import torch
from torch import nn

from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.norm import SplitBatchNorm
from viewkin.runtime.errors import UserError


def test_default_is_the_small_resnet18():
    net = build_backbone(BackboneConfig())
    assert sum(p.numel() for p in net.parameters()) == 11_168_832
    assert net.feature_dim == 512


def test_options_reach_the_network():
    config = BackboneConfig(name="resnet50", stem="imagenet", width=8, channels=1, pool="window7", norm="split:2")
    net = build_backbone(config)
    assert net.conv1.weight.shape == (8, 1, 7, 7)
    assert net.pool == "window7"
    assert isinstance(net.bn1, SplitBatchNorm)
    zeroed = build_backbone(BackboneConfig(width=8, zero_init_residual=True, init="kaiming"))
    assert not zeroed.layer1[0].bn2.weight.any()
    assert zeroed.layer1[0].conv1.weight.abs().max() > (1 / 72) ** 0.5  # where PyTorch's own uniform ends


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "resnet81"}, "resnet18"),
        ({"name": "vgg"}, "timm/<model>"),
        ({"stem": "large"}, "stem is .large.; it must be small or imagenet"),
        ({"pool": "max"}, "pool is .max.; it must be global or window7"),
        ({"init": "xavier"}, "init is .xavier.; it must be default or kaiming"),
        ({"norm": "layer"}, "split:8"),
        ({"width": 0}, "at least 1"),
        ({"channels": 0}, "at least 1"),
    ],
)
def test_bad_configurations_say_what_is_right(options, said):
    with pytest.raises(UserError, match=said):
        BackboneConfig(**options)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050"])
def test_timm_models_tell_the_width_of_what_they_return(name):
    pytest.importorskip("timm")
    net = build_backbone(BackboneConfig(name=f"timm/{name}", channels=1)).eval()
    assert net(torch.randn(2, 1, 64, 64)).shape == (2, net.feature_dim)


def test_unknown_timm_model_names_the_nearest():
    pytest.importorskip("timm")
    with pytest.raises(UserError, match="timm/resnet18"):
        build_backbone(BackboneConfig(name="timm/resnet_18"))


def test_missing_timm_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"pip install 'viewkin\[timm\]'"):
        build_backbone(BackboneConfig(name="timm/resnet18"))


def test_every_backbone_is_a_module_with_its_width():
    for name in ("resnet18", "resnet34", "resnet50"):
        net = build_backbone(BackboneConfig(name=name, width=8))
        assert isinstance(net, nn.Module)
        assert net(torch.randn(2, 3, 16, 16)).shape == (2, net.feature_dim)
