"""Claims about the ResNets; torchvision is the oracle."""

import pytest
import torch
import torchvision
from torch import nn

from viewkin.nets.resnet import RESNETS, Conv3x3, ResNet
from viewkin.runtime.errors import UserError
from viewkin.training.fabric import takes_channels_last


def _randomise_norms_(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def _torchvision(name: str) -> nn.Module:
    oracle = getattr(torchvision.models, name)()
    oracle.fc = nn.Identity()
    _randomise_norms_(oracle)
    return oracle


@pytest.mark.parametrize("name", sorted(RESNETS))
def test_equals_torchvision_with_its_weights(name):
    oracle, net = _torchvision(name), ResNet(name, stem="imagenet")
    state = oracle.state_dict()
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in state.items()}
    net.load_state_dict(state)
    x = torch.randn(2, 3, 64, 64)
    for mode in (False, True):
        torch.testing.assert_close(net.train(mode)(x), oracle.train(mode)(x), rtol=1e-5, atol=1e-5)
    assert net.feature_dim == {"resnet50": 2048}.get(name, 512)


def test_stages_are_torchvisions_maps_and_the_stem_is_taken_before_max_pool():
    oracle, net = _torchvision("resnet18").eval(), ResNet("resnet18", stem="imagenet").eval()
    net.load_state_dict(oracle.state_dict())
    x = torch.randn(1, 3, 64, 96)
    expected = {"conv1": oracle.relu(oracle.bn1(oracle.conv1(x)))}
    y = oracle.maxpool(expected["conv1"])
    for number in range(1, 5):
        y = expected[f"conv{number + 1}"] = getattr(oracle, f"layer{number}")(y)
    maps = net.stages(x)
    assert list(maps) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert maps["conv1"].shape == (1, 64, 32, 48)
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(maps["conv5"].mean((2, 3)), net(x))


def test_small_resnet18_has_the_published_size_and_maps():
    net = ResNet("resnet18").eval()
    assert sum(p.numel() for p in net.parameters()) == 11_168_832
    shapes = {name: tuple(m.shape[1:]) for name, m in net.stages(torch.randn(1, 3, 32, 32)).items()}
    assert shapes == {
        "conv1": (64, 32, 32),
        "conv2": (64, 32, 32),
        "conv3": (128, 16, 16),
        "conv4": (256, 8, 8),
        "conv5": (512, 4, 4),
    }


@pytest.mark.parametrize(
    ("name", "width", "features"), [("resnet18", 8, 64), ("resnet34", 16, 128), ("resnet50", 8, 256)]
)
def test_width_scales_every_stage(name, width, features):
    net = ResNet(name, width=width, channels=2)
    y = net(torch.randn(2, 2, 32, 32))
    assert y.shape == (2, features)
    assert net.feature_dim == features


def test_global_pool_is_a_mean_over_the_last_map():
    net = ResNet("resnet18", width=8).eval()
    x = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(net(x), net.stages(x)["conv5"].flatten(2).mean(2))


def test_window7_sees_the_top_left_positions_only():
    net = ResNet("resnet18", width=8, pool="window7").eval()
    x = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(net(x), net.stages(x)["conv5"][:, :, :7, :7].mean((2, 3)))


@pytest.mark.parametrize("side", [32, 112])
def test_window7_refuses_maps_that_do_not_give_one_window(side):
    with pytest.raises(UserError, match="last map"):
        ResNet("resnet18", width=8, pool="window7")(torch.randn(2, 3, side, side))


def test_kaiming_is_normal_by_fan_out():
    weight = ResNet("resnet18", init="kaiming").layer4[0].conv1.weight
    assert weight.shape == (512, 256, 3, 3)
    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    assert weight.abs().max() > 4 * weight.std()  # a uniform distribution ends at 1.73


def test_default_init_is_pytorchs():
    torch.manual_seed(1)
    conv = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    torch.manual_seed(1)
    assert torch.equal(ResNet("resnet18").conv1.weight, conv.weight)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_zero_init_residual_starts_every_plain_block_as_the_identity(name):
    net = ResNet(name, width=8, zero_init_residual=True)
    block = net.layer2[1]
    x = torch.rand(2, block.conv1.in_channels, 8, 8)
    torch.testing.assert_close(block(x), x)
    assert not torch.equal(ResNet(name, width=8).layer2[1](x), x)
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [bool(norm.weight.any()) for norm in norms] == [True] * (len(norms) - 1) + [False]


@pytest.mark.parametrize(("width", "accelerator", "safe"), [(4, "cpu", False), (8, "cpu", True), (4, "cuda", True)])
def test_narrow_networks_keep_the_usual_memory_format_on_a_cpu(width, accelerator, safe):
    assert takes_channels_last(ResNet("resnet18", width=width), accelerator) == safe


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_gradients_are_finite_where_the_last_maps_are_one_position(name):
    # Memory that is reused holds NaNs, so that weights whose gradient nobody writes are seen.
    for seed in range(10):
        torch.manual_seed(seed)
        net, x = ResNet(name, stem="imagenet", width=8), torch.rand(8, 3, 16, 16)
        del [torch.full((2**size,), float("nan")) for size in range(8, 19) for _ in range(4)][:]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = net(x)
        features.float().square().sum().backward()
        assert all(weight.grad.isfinite().all() for weight in net.parameters())


def test_one_position_is_convolved_as_by_all_nine_weights():
    net, x = Conv3x3(4, 6, 2).double(), torch.rand(3, 4, 1, 1, dtype=torch.float64)
    plain = nn.functional.conv2d(x, net.weight, stride=2, padding=1)
    torch.testing.assert_close(net(x), plain)
