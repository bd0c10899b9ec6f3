"""Claims about AMDIM's encoders: sizes, receptive fields, parameter counts, and how they begin."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from viewkin.nets.amdim import AMDIM_SIDES, AMDIMNet, ConvRes, EmbeddingHead, Mixture, MultiscaleEncoder
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.backbone_file import load_backbone, save_backbone
from viewkin.runtime.errors import UserError

N, R = 4, 40
NAMES = pytest.mark.parametrize("name", AMDIM_SIDES)
# Receptive field and stride of f7 and f5.
FIELDS = {
    "amdim32": {"f7": (8, 4), "f5": (16, 4)},
    "amdim64": {"f7": (16, 8), "f5": (32, 8)},
    "amdim128": {"f7": (35, 16), "f5": (67, 16)},
}


def net_of(name: str, depth: int = 2, norm: bool = False) -> AMDIMNet:
    torch.manual_seed(0)
    return AMDIMNet(name, width=N, rkhs=R, depth=depth, norm=norm)


def awake(net: nn.Module) -> nn.Module:
    """Let the second convolutions, which start at zero, take part."""
    for module in net.modules():
        if isinstance(module, (ConvRes, EmbeddingHead)):
            nn.init.normal_(module.conv2.weight, std=0.1)
    return net


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def counted(name: str, width: int, rkhs: int, depth: int) -> tuple[int, int]:
    """Parameters of the trunk and of both heads with every BatchNorm that the release creates, used or not."""
    with torch.device("meta"):
        net = AMDIMNet(name, width=width, rkhs=rkhs, depth=depth, norm=True)
        heads = [EmbeddingHead(net.stage_widths[stage], rkhs, norm=True) for stage in ("f5", "f7")]
    return parameters(net), parameters(*heads)


@pytest.mark.parametrize(("name", "total"), [("amdim32", 73_200), ("amdim64", 200_608), ("amdim128", 201_576)])
def test_parameters_are_those_of_the_release(name, total):
    assert sum(counted(name, 8, 64, 2)) == total


@pytest.mark.parametrize(
    ("name", "sizes", "trunk", "heads"),
    [
        ("amdim32", (256, 2048, 10), 111.1, 16.8),
        ("amdim64", (192, 1536, 8), 194.0, 14.2),
        ("amdim128", (128, 1024, 6), 72.5, 6.3),
        ("amdim128", (192, 1536, 8), 194.4, 14.2),
        ("amdim128", (256, 2048, 10), 401.1, 25.2),
        ("amdim128", (320, 2560, 10), 626.6, 39.3),
    ],
)
def test_millions_of_parameters_are_those_of_the_papers(name, sizes, trunk, heads):
    assert tuple(round(count / 1e6, 1) for count in counted(name, *sizes)) == (trunk, heads)


@NAMES
def test_maps_are_7_5_and_1_positions_a_side(name):
    net, side = net_of(name, depth=1).eval(), AMDIM_SIDES[name]
    image = torch.randn(2, 3, side, side)
    maps = net.stages(image)
    wide = (4 if name == "amdim32" else 8) * N
    shapes = {key: tuple(value.shape) for key, value in maps.items()}
    assert shapes == {"f7": (2, wide, 7, 7), "f5": (2, wide, 5, 5), "f1": (2, R, 1, 1)}
    assert net.stage_widths == {"f7": wide, "f5": wide, "f1": R}
    assert torch.equal(net(image), maps["f1"].flatten(1))


@pytest.mark.parametrize(("kernel", "stride", "grow"), [(1, 1, 0), (4, 2, 3), (2, 2, 0), (3, 1, 5)])
def test_new_block_is_an_average_pool_with_zero_channels_appended(kernel, stride, grow):
    x = torch.randn(2, 4, 10, 10)
    found = ConvRes(4, 4 + grow, kernel, stride, norm=False)(x)
    assert torch.equal(found[:, :4], functional.avg_pool2d(x, kernel, stride))
    assert not found[:, 4:].any()


# The release as a table: how many plain convolutions, each with ReLU, stand first, with their stride; then kernel and
# stride of the blocks of f7, of f5 and of f1, where "..." are depth - 1 of kernel 1.
LAYERS = {
    "amdim32": ((1,), ((1, 1), (4, 2), ..., (2, 2), ...), ((3, 1), ...), ((3, 1), ..., (3, 1))),
    "amdim64": ((1,), ((4, 2), ..., (4, 2), ..., (2, 2), ...), ((3, 1), ...), ((3, 1), ..., (3, 1))),
    "amdim128": ((2, 1), ((4, 2), ..., (4, 2), ..., (2, 2), ...), ((3, 1), ...), ((3, 1), ..., (3, 1))),
}


def of_batch(x: Tensor, norm: nn.Module) -> Tensor:
    """BatchNorm by the statistics of the batch; nothing where it is switched off."""
    if isinstance(norm, nn.Identity):
        return x
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    weight, bias = (p[:, None, None] for p in norm.parameters())
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def of_block(x: Tensor, block: ConvRes, kernel: int, stride: int) -> Tensor:
    inner = of_batch(functional.conv2d(x, block.conv1.weight, stride=stride), block.norm).relu()
    residual = functional.conv2d(inner, block.conv2.weight)
    pooled = functional.avg_pool2d(x, kernel, stride)
    lacking = torch.zeros(len(x), residual.shape[1] - x.shape[1], *pooled.shape[2:], dtype=x.dtype)
    return residual + torch.cat([pooled, lacking], 1)


def of_net(x: Tensor, net: AMDIMNet, depth: int) -> dict[str, Tensor]:
    """The maps of a network, layer by layer."""
    strides, *parts = LAYERS[net.name]
    blocks = iter([module for module in net.modules() if isinstance(module, ConvRes)])
    convs = [module for module in net.to7 if isinstance(module, nn.Conv2d)]
    if net.name == "amdim128":  # two rows and columns mirrored at each edge, the edge itself not repeated
        mirrored = [2, 1, *range(128), 126, 125]
        x = x[:, :, mirrored][:, :, :, mirrored]
    for conv, stride in zip(convs, strides, strict=True):
        x = functional.conv2d(x, conv.weight, conv.bias, stride).relu()
    maps = {}
    for stage, part in zip(("f7", "f5", "f1"), parts):
        for layer in part:
            for kernel, stride in [(1, 1)] * (depth - 1) if layer is ... else [layer]:
                x = of_block(x, next(blocks), kernel, stride)
        if stage == "f7" and isinstance(net.to7[-1], nn.BatchNorm2d):
            x = of_batch(x, net.to7[-1])
        maps[stage] = of_batch(x, net.norm1) if stage == "f1" else x
    assert next(blocks, None) is None
    return maps


def drawn(module: nn.Module) -> nn.Module:
    """Draw all weights anew, so that each takes part, in float64."""
    for p in module.parameters():
        nn.init.normal_(p, std=0.3)
    return module.double().train()


@NAMES
@pytest.mark.parametrize("norm", [False, True])
def test_maps_are_those_of_the_release_layer_by_layer(name, norm):
    net = drawn(net_of(name, depth=2, norm=norm))
    image = torch.randn(3, 3, AMDIM_SIDES[name], AMDIM_SIDES[name], dtype=torch.float64)
    expected = of_net(image, net, depth=2)
    torch.testing.assert_close(net.stages(image), expected)  # float64: to 1e-7


def test_an_image_of_one_colour_looks_the_same_at_its_edges():
    image = torch.rand(1, 3, 1, 1, dtype=torch.float64).expand(1, 3, 128, 128)
    f7 = drawn(net_of("amdim128", depth=1)).eval().stages(image)["f7"]
    torch.testing.assert_close(f7, f7[:, :, 3:4, 3:4].expand_as(f7))


@pytest.mark.parametrize("norm", [False, True])
def test_head_is_the_norm_of_a_residual_and_a_shortcut(norm):
    head, x = drawn(EmbeddingHead(6, 9, norm)), torch.randn(4, 6, 5, 5, dtype=torch.float64)
    inner = of_batch(functional.conv2d(x, head.conv1.weight), head.norm1).relu()
    shortcut = functional.conv2d(x, head.shortcut.weight, head.shortcut.bias)
    expected = of_batch(functional.conv2d(inner, head.conv2.weight) + shortcut, head.norm)
    torch.testing.assert_close(head(x), expected)


def test_new_head_is_nearly_the_identity_before_its_norm():
    head = EmbeddingHead(6, 9)
    assert not head.conv2.weight.any()
    weight = head.shortcut.weight.detach()[:, :, 0, 0]
    assert torch.equal(weight.diagonal(), torch.ones(6))
    off = weight - torch.eye(9, 6)
    assert 0 < off.abs().max() <= 0.01
    assert EmbeddingHead(9, 6).shortcut.weight.flatten(1).diagonal().tolist() == [1.0] * 6


@NAMES
def test_a_pixel_reaches_only_the_positions_whose_field_holds_it(name):
    net, side = awake(net_of(name, depth=1)).double().eval(), AMDIM_SIDES[name]
    image = torch.randn(1, 3, side, side, dtype=torch.float64)
    before = net.stages(image)
    # amdim128 starts with a padding of 2; the first field of f7 then begins 2 pixels outside.
    outside = 2 if name == "amdim128" else 0
    for row, column in ((side // 2, side // 2), (5, side - 6)):
        changed = image.clone()
        changed[0, :, row, column] += 1
        after = net.stages(changed)
        for stage, (field, stride) in FIELDS[name].items():
            moved = (after[stage] != before[stage])[0].any(0)
            starts = torch.arange(moved.shape[0]) * stride - outside
            holds = [(starts <= at) & (at < starts + field) for at in (row, column)]
            assert torch.equal(moved, holds[0][:, None] & holds[1][None]), (stage, row, column)


def test_batch_norm_stands_at_the_end_alone_unless_asked_for():
    def norms(net: nn.Module) -> int:
        return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())

    assert norms(net_of("amdim32")) == 1
    # One a block of 1 + 2 + 2 + 2 + 2 + 1 convolution blocks, one behind f7, one at the end.
    assert norms(net_of("amdim32", norm=True)) == 12
    assert norms(EmbeddingHead(4, 8)) == 1
    assert norms(EmbeddingHead(4, 8, norm=True)) == 2


def test_f7_and_f1_are_taken_behind_their_norms():
    net = net_of("amdim32", norm=True).train()
    maps = net.stages(torch.randn(8, 3, 32, 32))
    for stage in ("f7", "f1"):
        assert maps[stage].transpose(0, 1).flatten(1).mean(1).abs().max() < 1e-5
    assert maps["f5"].transpose(0, 1).flatten(1).mean(1).abs().max() > 1e-3


@NAMES
def test_images_of_another_size_are_one_sentence(name):
    with pytest.raises(UserError, match=rf"{name} takes views of {AMDIM_SIDES[name]} px only, not 40x48; .*amdim64"):
        net_of(name)(torch.zeros(1, 3, 40, 48))


# ---------------------------------------------------------------- by name, stored


@pytest.mark.parametrize("name", ["amdim32", "amdim64"])
def test_encoder_is_a_backbone_by_name_and_survives_a_file(name, tmp_path):
    config = BackboneConfig(name=name, width=N, rkhs=R, depth=1)
    net, side = build_backbone(config).eval(), AMDIM_SIDES[name]
    assert net.feature_dim == R
    save_backbone(tmp_path / "b.safetensors", net, config, mean=(0.5,) * 3, std=(0.2,) * 3, size=side)
    again = load_backbone(tmp_path / "b.safetensors")
    image = torch.randn(2, 3, side, side)
    assert again(image).shape == (2, R)
    assert torch.equal(again(image), net(image))


def test_norms_of_the_encoder_can_be_exchanged():
    net = build_backbone(BackboneConfig(name="amdim32", width=N, rkhs=R, norm="none"))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rkhs": 4 * N - 1, "name": "amdim32"}, "at least 16, 4 times width"),
        ({"rkhs": 8 * N - 1, "name": "amdim64"}, "at least 32, 8 times width"),
        ({"depth": 0, "name": "amdim128", "rkhs": R}, "depth is 0; it must be 1 to 1000"),
        ({"name": "amdim96"}, "the nearest are amdim"),
    ],
)
def test_bad_encoders_are_one_sentence(options, said):
    with pytest.raises(UserError, match=said):
        BackboneConfig(width=N, **options)


# ---------------------------------------------------------------- three scales of any network


def test_three_scales_share_one_space_on_both_kinds_of_network():
    own = MultiscaleEncoder(net_of("amdim32"), ("f7", "f5"), None, norm=False)
    image = torch.randn(4, 3, 32, 32)
    vector, coarse, fine = own(image)
    assert (vector.shape, coarse.shape, fine.shape) == ((4, R), (4, 25, R), (4, 49, R))
    assert isinstance(own.head["1"], nn.Identity)

    resnet = build_backbone(BackboneConfig(width=8))
    other = MultiscaleEncoder(resnet, ("conv3", "conv4"), 24, norm=False)
    vector, coarse, fine = other(torch.randn(4, 3, 48, 48))  # maps of 24 and 12 are pooled
    assert (vector.shape, coarse.shape, fine.shape) == ((4, 24), (4, 25, 24), (4, 49, 24))
    small = other(torch.randn(4, 3, 16, 16))  # maps of 8 and 4: only the first is
    assert (small.coarse.shape, small.fine.shape) == ((4, 16, 24), (4, 49, 24))


@pytest.mark.parametrize("name", ["amdim32", "resnet18"])
def test_whole_images_are_embedded_alike_with_and_without_their_parts(name):
    backbone = build_backbone(BackboneConfig(name=name, width=8, rkhs=R))
    stages = ("f7", "f5") if name == "amdim32" else ("conv4", "conv5")
    encoder, image = MultiscaleEncoder(backbone, stages, None, norm=False).eval(), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder.whole(image), encoder(image).vector)
    for stage in stages:
        assert any(p is backbone.last_weight(stage) for p in backbone.parameters())


def test_stages_of_a_resnet_have_the_widths_they_say():
    net = build_backbone(BackboneConfig(name="resnet50", width=4)).eval()
    image = torch.randn(1, 3, 16, 16)
    maps = net.stages(image)
    assert {name: value.shape[1] for name, value in maps.items()} == net.stage_widths
    torch.testing.assert_close(net.pooled(maps), net(image))
    assert net.last_weight("conv1") is net.conv1.weight
    assert net.last_weight("conv4") is net.layer3[-1].conv3.weight


def test_another_dimension_than_the_encoders_own_is_one_sentence():
    with pytest.raises(UserError, match=r"dim is 7; it must be 40, the size of amdim32.s features; set backbone.rkhs"):
        MultiscaleEncoder(net_of("amdim32"), ("f7", "f5"), 7, norm=False)


def test_mixture_adds_to_the_vector_and_starts_with_unlike_components():
    mixture, x = Mixture(6, 3), torch.randn(4, 6)
    found = mixture(x)
    assert found.shape == (4, 3, 6)
    hidden = functional.relu(x @ mixture.hidden.weight.T + mixture.hidden.bias)
    for j in range(3):
        rows = slice(6 * j, 6 * j + 6)
        expected = x + hidden @ mixture.out.weight[rows].T + mixture.out.bias[rows]
        torch.testing.assert_close(found[:, j], expected)
    assert (found[:, 0] - found[:, 1]).abs().max() > 0.01
