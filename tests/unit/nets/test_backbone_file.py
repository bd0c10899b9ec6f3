"""Claims about files that hold a backbone."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import viewkin
from viewkin.nets import backbone_file
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.backbone_file import KEY, describe_backbone, load_backbone, save_backbone
from viewkin.runtime.errors import UserError

CONFIG = BackboneConfig(width=8, norm="split:2")
FACTS = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3), "size": 32, "extra": {"method": "eir", "epochs": 200}}


@pytest.fixture
def backbone() -> nn.Module:
    net = build_backbone(CONFIG)
    net(torch.randn(4, 3, 32, 32) + 1)
    return net


@pytest.fixture
def run(tmp_path, backbone):
    save_backbone(tmp_path / "backbone.safetensors", backbone, CONFIG, **FACTS)
    return tmp_path


def _checkpoint(path, backbone, prefix="backbone.") -> None:
    method = {f"{prefix}{name}": value for name, value in backbone.state_dict().items()}
    method |= {"target.backbone.conv1.weight": torch.zeros(1), "bank.rows": torch.zeros(3, 2)}
    torch.save({"method": method, "backbone": describe_backbone(CONFIG, **FACTS, prefix=prefix), "step": 3}, path)


def _same_features(loaded, backbone) -> None:
    x = torch.randn(3, 3, 32, 32)
    assert not loaded.training
    assert torch.equal(loaded(x), backbone.eval()(x))


def test_loads_from_a_run_directory_with_all_that_is_needed(run, backbone):
    loaded = load_backbone(run)
    _same_features(loaded, backbone)
    assert loaded.feature_dim == 64
    assert loaded.config == BackboneConfig(width=8)
    assert (loaded.mean, loaded.std, loaded.image_size) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 32)
    assert loaded.extra == {"method": "eir", "epochs": 200}


def test_loads_from_a_safetensors_file_given_as_text(run, backbone):
    _same_features(viewkin.load_backbone(str(run / "backbone.safetensors")), backbone)


@pytest.mark.parametrize("prefix", ["backbone.", "base.encoder.backbone."])
def test_loads_the_backbone_out_of_a_checkpoint(tmp_path, backbone, prefix):
    _checkpoint(tmp_path / "last.ckpt", backbone, prefix)
    loaded = load_backbone(tmp_path / "last.ckpt")
    _same_features(loaded, backbone)
    assert loaded.image_size == 32


def test_split_norms_become_plain_so_that_any_batch_can_be_tuned_on(run):
    assert load_backbone(run).train()(torch.randn(3, 3, 32, 32)).shape == (3, 64)


def test_backbone_without_norms_round_trips(tmp_path):
    config = BackboneConfig(width=8, norm="none")
    net = build_backbone(config)
    save_backbone(tmp_path / "b.safetensors", net, config, **FACTS)
    _same_features(load_backbone(tmp_path / "b.safetensors"), net)


@pytest.mark.parametrize("pretrained", [False, True])
def test_timm_backbone_round_trips_without_a_download(tmp_path, monkeypatch, pretrained):
    pytest.importorskip("timm")
    net = build_backbone(BackboneConfig(name="timm/resnet10t"))
    config = BackboneConfig(name="timm/resnet10t")
    # Older versions had a setting for timm's own weights; the file has the weights that count.
    monkeypatch.setattr(backbone_file, "asdict", lambda config: {**vars(config), "pretrained": pretrained})
    save_backbone(tmp_path / "b.safetensors", net, config, **FACTS)
    _same_features(load_backbone(tmp_path / "b.safetensors"), net)


def test_saved_keys_are_torchvisions(run):
    torchvision = pytest.importorskip("torchvision")
    keys = set(torchvision.models.resnet18().state_dict()) - {"fc.weight", "fc.bias"}
    assert set(load_file(run / "backbone.safetensors")) == keys


def test_saving_again_replaces_the_file_and_leaves_nothing_else(run, backbone):
    backbone.conv1.weight.data.zero_()
    save_backbone(run / "backbone.safetensors", backbone, CONFIG, **FACTS)
    assert not load_backbone(run).conv1.weight.any()
    assert [path.name for path in run.iterdir()] == ["backbone.safetensors"]


def test_a_failed_write_keeps_the_old_file(run, backbone, monkeypatch):
    def fill_the_disk(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(UserError, match="No space left"):
        save_backbone(run / "backbone.safetensors", backbone, CONFIG, **FACTS)
    assert [path.name for path in run.iterdir()] == ["backbone.safetensors"]
    load_backbone(run)


def test_writing_into_a_missing_folder_is_a_user_error(tmp_path, backbone):
    with pytest.raises(UserError, match="cannot be written"):
        save_backbone(tmp_path / "no" / "b.safetensors", backbone, CONFIG, **FACTS)


def _refused(path) -> str:
    with pytest.raises(UserError) as caught:
        load_backbone(path)
    sentence = str(caught.value)
    assert path.name in sentence
    assert "\n" not in sentence
    return sentence


def test_missing_files_are_said(tmp_path):
    assert "There is no backbone" in _refused(tmp_path / "gone.safetensors")
    assert "There is no backbone" in _refused(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.99])
@pytest.mark.parametrize("name", ["backbone.safetensors", "last.ckpt"])
def test_truncated_files_are_said(run, backbone, name, share):
    _checkpoint(run / "last.ckpt", backbone)
    path = run / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "cannot be read" in _refused(path)


def test_no_flipped_bit_of_a_backbone_is_loaded(run):
    path = run / "backbone.safetensors"
    content, places = path.read_bytes(), random.Random(0)
    header = 8 * (8 + int.from_bytes(content[:8], "little"))
    bits = [*places.sample(range(header), 200), *places.sample(range(8 * len(content)), 60)]
    bits += range(64)
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        _refused(path)
    path.write_bytes(content)
    load_backbone(path)


def test_a_file_without_a_checksum_is_read_and_one_that_lost_it_is_not(run, backbone):
    path = run / "backbone.safetensors"
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()[KEY]
    save_file(load_file(path), path, {KEY: facts})
    assert "checksum is missing" in _refused(path)
    save_file(load_file(path), path, {KEY: describe_backbone(CONFIG, **FACTS)})
    _same_features(load_backbone(path), backbone)


def test_a_damaged_backbone_names_what_has_the_same_weights(run):
    (run / "last.ckpt").touch()
    (run / "backbone.safetensors").write_bytes(b"half")
    assert f"or use {run / 'last.ckpt'}" in _refused(run / "backbone.safetensors")


def test_foreign_files_are_said(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert "not a viewkin backbone" in _refused(tmp_path / "a.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors", {"format": "pt"})
    assert "not a viewkin backbone" in _refused(tmp_path / "b.safetensors")
    for number, content in enumerate([{"state_dict": {}}, [1, 2], {"method": {}, "backbone": 3}, {"backbone": "{}"}]):
        path = tmp_path / f"{number}.ckpt"
        torch.save(content, path)
        assert "not a viewkin backbone" in _refused(path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"method": {}, "backbone": print}, tmp_path / "bad.ckpt")
    assert "cannot be read" in _refused(tmp_path / "bad.ckpt")


def _rewrite(run, **changes) -> None:
    path = run / "backbone.safetensors"
    facts = json.loads(describe_backbone(CONFIG, **FACTS)) | changes
    save_file(load_file(path), path, {KEY: json.dumps({k: v for k, v in facts.items() if v is not None})})


@pytest.mark.parametrize(
    "changes",
    [
        {"config": None},
        {"config": {"colour": 1}},
        {"config": [1]},
        {"mean": None},
        {"std": 3},
        {"size": "big"},
        {"format": None},
    ],
)
def test_descriptions_that_lack_something_are_said(run, changes):
    _rewrite(run, **changes)
    assert "not a viewkin backbone" in _refused(run / "backbone.safetensors")


def test_descriptions_that_are_not_json_are_said(run):
    path = run / "backbone.safetensors"
    for text in ("{", "[1]", "3"):
        save_file(load_file(path), path, {KEY: text})
        assert "not a viewkin backbone" in _refused(path)


def test_a_later_format_asks_for_an_update(run):
    _rewrite(run, format="viewkin backbone 2")
    assert "update viewkin" in _refused(run / "backbone.safetensors")


def test_wrong_shapes_missing_and_unknown_weights_are_said(run):
    path = run / "backbone.safetensors"
    state, metadata = load_file(path), {KEY: describe_backbone(CONFIG, **FACTS)}
    for change, said in (
        ({"conv1.weight": torch.zeros(4, 3, 3, 3)}, r"conv1.weight of shape (4, 3, 3, 3) instead of (8, 3, 3, 3)"),
        ({"more": torch.zeros(1)}, "an unknown more"),
        ({"conv1.weight": None}, "no conv1.weight"),
    ):
        changed = {name: value for name, value in {**state, **change}.items() if value is not None}
        save_file(changed, path, metadata)
        assert said in _refused(path)


def test_importing_viewkin_is_light_and_loading_needs_no_trainer(run):
    code = (
        "import sys, viewkin; assert 'torch' not in sys.modules; assert 'load_backbone' in dir(viewkin);"
        f"viewkin.load_backbone({str(run)!r});"
        "assert not {'lightning_fabric', 'torchvision', 'timm', 'viewkin.training'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_attributes_of_viewkin_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing"):
        viewkin.nothing  # noqa: B018
