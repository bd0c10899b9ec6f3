"""Claims about heads."""

import pytest
import torch
from torch import nn

from viewkin.nets.heads import Encoder, HeadConfig, build_head
from viewkin.runtime.errors import UserError


def _kinds(head: nn.Sequential) -> list[str]:
    return [type(module).__name__ for module in head]


def test_linear_head_of_the_small_resnet_has_the_published_size():
    head = build_head(HeadConfig(layers=(128,)), 512)
    assert sum(p.numel() for p in head.parameters()) == 65_664
    assert _kinds(head) == ["Linear"]


def test_moco_head_is_two_linear_layers_with_biases_and_no_norm():
    head = build_head(HeadConfig(layers=(2048, 128)), 2048)
    assert _kinds(head) == ["Linear", "ReLU", "Linear"]
    assert [tuple(p.shape) for p in head.parameters()] == [(2048, 2048), (2048,), (128, 2048), (128,)]


def test_mlp_head_is_its_formula():
    head = build_head(HeadConfig(layers=(6, 4)), 5)
    w1, b1, w2, b2 = head.parameters()
    x = torch.randn(3, 5)
    torch.testing.assert_close(head(x), (x @ w1.T + b1).clamp(min=0) @ w2.T + b2)


def test_byol_head_has_one_norm_in_the_middle():
    head = build_head(HeadConfig(layers=(4096, 256), norm=True), 512)
    assert _kinds(head) == ["Linear", "BatchNorm1d", "ReLU", "Linear"]


def test_simsiam_projector_ends_in_a_norm_without_scale_and_shift():
    config = HeadConfig(layers=(16, 16, 16), norm=True, bias=False, last_bias=False, last_norm="plain")
    head = build_head(config, 8)
    assert _kinds(head) == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear", "BatchNorm1d"]
    assert not any(module.bias is not None for module in head if isinstance(module, nn.Linear))
    assert list(head[-1].parameters()) == []
    assert len(list(head[1].parameters())) == 2
    y = head(torch.randn(32, 8))
    torch.testing.assert_close(y.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(16), atol=1e-2, rtol=0)


def test_affine_last_norm_has_scale_and_shift():
    assert len(list(build_head(HeadConfig(layers=(4,), last_norm="affine"), 3)[-1].parameters())) == 2


def test_kaiming_head_is_xavier_uniform_with_zero_biases():
    linear = build_head(HeadConfig(layers=(300,), init="kaiming"), 500)[0]
    bound = (6 / (300 + 500)) ** 0.5
    assert linear.weight.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert not linear.bias.any()


def test_encoder_is_head_after_backbone_and_keeps_the_raw_length():
    encoder = Encoder(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), build_head(HeadConfig(layers=(4,)), 5))
    x = torch.randn(2, 3, 2, 2)
    torch.testing.assert_close(encoder(x), encoder.head(encoder.backbone(x)))
    assert {name.split(".")[0] for name in encoder.state_dict()} == {"backbone", "head"}


@pytest.mark.parametrize("options", [{"layers": ()}, {"layers": (0, 4)}, {"last_norm": "layer"}, {"init": "zero"}])
def test_bad_heads_are_refused(options):
    with pytest.raises(UserError, match=f"^{next(iter(options))} is "):
        HeadConfig(**options)
