"""Claims about the names that Detectron2 gives to a ResNet's weights."""

import pickle

import numpy as np
import pytest
import to_detectron2
import torch

from viewkin.export.detectron2 import detectron2_name, detectron2_weights
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.backbone_file import save_backbone
from viewkin.runtime.errors import UserError

NORM = ("weight", "bias", "running_mean", "running_var")


def published(blocks, convolutions, first_has_shortcut):
    """Detectron2's names by its own rule: stem.conv1, resS.B.convK, resS.B.shortcut, and .norm behind each."""
    layers = ["stem.conv1"]
    for stage, count in enumerate(blocks, start=2):
        for block in range(count):
            layers += [f"res{stage}.{block}.conv{k}" for k in range(1, convolutions + 1)]
            if block == 0 and (stage > 2 or first_has_shortcut):
                layers.append(f"res{stage}.0.shortcut")
    return {f"{layer}.{part}" for layer in layers for part in ("weight", *(f"norm.{name}" for name in NORM))}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet50", published((3, 4, 6, 3), 3, True)), ("resnet18", published((2, 2, 2, 2), 2, False))],
)
def test_names_are_those_of_detectron2(name, expected):
    backbone = build_backbone(BackboneConfig(name=name, width=8, stem="imagenet"))
    weights = detectron2_weights(backbone)
    assert set(weights) == expected
    if name == "resnet50":
        assert len(weights) == 265  # 53 convolutions with 1 + 4 arrays each
        state = backbone.state_dict()
        np.testing.assert_array_equal(weights["res4.5.conv3.norm.running_var"], state["layer3.5.bn3.running_var"])
        np.testing.assert_array_equal(weights["res2.0.shortcut.weight"], state["layer1.0.downsample.0.weight"])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("conv1.weight", "stem.conv1.weight"),
        ("bn1.running_mean", "stem.conv1.norm.running_mean"),
        ("layer1.0.conv1.weight", "res2.0.conv1.weight"),
        ("layer3.5.bn3.bias", "res4.5.conv3.norm.bias"),
        ("layer4.0.downsample.0.weight", "res5.0.shortcut.weight"),
        ("layer4.0.downsample.1.running_var", "res5.0.shortcut.norm.running_var"),
    ],
)
def test_each_kind_of_name_is_turned(ours, theirs):
    assert detectron2_name(ours) == theirs


def test_the_script_writes_what_detectron2_reads_and_prints_its_settings(tmp_path, capsys):
    config = BackboneConfig(name="resnet18", width=8, stem="imagenet")
    backbone = build_backbone(config)
    save_backbone(tmp_path / "b.safetensors", backbone, config, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1), size=64)
    to_detectron2.main([str(tmp_path / "b.safetensors"), str(tmp_path / "out.pkl")])
    stored = pickle.loads((tmp_path / "out.pkl").read_bytes())
    assert (stored["__author__"], stored["matching_heuristics"]) == ("viewkin", True)
    np.testing.assert_array_equal(stored["model"]["stem.conv1.weight"], backbone.state_dict()["conv1.weight"])
    said = capsys.readouterr().out
    assert "MODEL.PIXEL_MEAN [127.5, 102.0, 76.5]\n" in said
    assert "MODEL.RESNETS.DEPTH 18\n" in said
    assert "MODEL.RESNETS.STRIDE_IN_1X1 False\n" in said
    with pytest.raises(SystemExit, match=r"error: The weights cannot be written"):
        to_detectron2.main([str(tmp_path / "b.safetensors"), str(tmp_path / "none" / "out.pkl")])


def test_networks_that_detectron2_has_not_are_one_sentence():
    with pytest.raises(UserError, match=r"backbone\.stem=imagenet"):
        detectron2_weights(build_backbone(BackboneConfig(name="resnet18", width=8)))
    with pytest.raises(UserError, match="Only resnet18"):
        detectron2_weights(torch.nn.Linear(2, 2))
