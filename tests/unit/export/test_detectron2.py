"""Claims about the names that Detectron2 gives to a ResNet's weights, and what its network makes of them."""

import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from exports import backbone, model_with, pictures_of
from viewkin.export.detectron2 import (
    DETECTRON2,
    detectron2_name,
    detectron2_settings,
    detectron2_weights,
    usual_name,
)
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


def transcribed(weights, x, blocks, convolutions):
    """Detectron2's BasicStem, BasicBlock and BottleneckBlock (modeling/backbone/resnet.py), stride in the 3x3."""
    weights = {name: torch.from_numpy(value) for name, value in weights.items()}

    def conv(name, x, stride=1):
        kernel = weights[f"{name}.weight"]
        y = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        scale, shift, mean, variance = (weights[f"{name}.norm.{part}"] for part in NORM)
        return F.batch_norm(y, mean, variance, scale, shift, training=False, eps=1e-5)

    x = F.max_pool2d(F.relu(conv("stem.conv1", x, 2)), 3, 2, 1)
    for stage, count in enumerate(blocks, start=2):
        for block in range(count):
            name, stride = f"res{stage}.{block}", 2 if stage > 2 and block == 0 else 1
            strides = (stride, 1) if convolutions == 2 else (1, stride, 1)
            y = x
            for number, step in enumerate(strides, start=1):
                y = conv(f"{name}.conv{number}", y, step)
                y = y if number == convolutions else F.relu(y)
            x = F.relu(y + (conv(f"{name}.shortcut", x, stride) if f"{name}.shortcut.weight" in weights else x))
    return x.mean((2, 3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet50", published((3, 4, 6, 3), 3, True)), ("resnet18", published((2, 2, 2, 2), 2, False))],
)
def test_names_are_those_of_detectron2(name, expected):
    network = backbone(name=name, width=8 if name == "resnet50" else 64, stem="imagenet")
    weights = detectron2_weights(network)
    assert set(weights) == expected
    if name == "resnet50":
        assert len(weights) == 265  # 53 convolutions with 1 + 4 arrays each
        state = network.state_dict()
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
def test_each_kind_of_name_is_turned_there_and_back(ours, theirs):
    assert detectron2_name(ours) == theirs
    assert usual_name(theirs) == ours


@pytest.mark.parametrize(
    ("name", "width", "blocks", "convolutions"),
    [("resnet50", 8, (3, 4, 6, 3), 3), ("resnet18", 64, (2, 2, 2, 2), 2)],
)
def test_its_network_gives_our_features(name, width, blocks, convolutions):
    network = backbone(name=name, width=width, stem="imagenet")
    x = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        own, theirs = network(x), transcribed(detectron2_weights(network), x, blocks, convolutions)
    assert float(own.abs().max()) > 0.01
    torch.testing.assert_close(theirs, own, rtol=1e-4, atol=1e-5)


def test_the_file_is_what_detectron2_reads_and_its_settings_are_those_of_the_network(tmp_path):
    model = model_with(name="resnet50", width=8, stem="imagenet")
    pictures = pictures_of(model)
    DETECTRON2.write(tmp_path, model, pictures)
    stored = pickle.loads((tmp_path / "model.pkl").read_bytes())
    assert (stored["__author__"], stored["matching_heuristics"]) == ("viewkin", True)
    np.testing.assert_array_equal(stored["model"]["stem.conv1.weight"], model.encoder.state_dict()["conv1.weight"])
    compared = DETECTRON2.compare(tmp_path, model, pictures)
    assert (compared.network, compared.whole) == (0.0, None)
    settings = detectron2_settings(model)
    assert settings["MODEL.PIXEL_MEAN"] == [127.5, 102.0, 76.5]
    assert settings["MODEL.RESNETS.DEPTH"] == 50
    assert settings["MODEL.RESNETS.STRIDE_IN_1X1"] is False
    assert (settings["MODEL.RESNETS.STEM_OUT_CHANNELS"], settings["MODEL.RESNETS.RES2_OUT_CHANNELS"]) == (8, 32)
    said = DETECTRON2.loading(model, pictures)
    assert "settings.MODEL.PIXEL_MEAN = [127.5, 102.0, 76.5]\n" in said
    compile(said, "card", "exec")


def test_networks_that_detectron2_has_not_are_one_sentence():
    with pytest.raises(UserError, match=r"small stem.*take --to onnx, pt2 or safetensors"):
        detectron2_weights(backbone(name="resnet50", width=8))
    with pytest.raises(UserError, match=r"backbone\.width=8"):
        detectron2_weights(backbone(name="resnet18", width=8, stem="imagenet"))
    with pytest.raises(UserError, match="Linear has another architecture"):
        detectron2_weights(torch.nn.Linear(2, 2))
