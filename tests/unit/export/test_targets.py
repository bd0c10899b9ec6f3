"""Claims about every target: it is loaded again by its own library, and gives the features of the network."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from exports import backbone, features_by_card, model_with, pictures_of, smooth
from viewkin.commands.export import ExportRequest, export_network
from viewkin.encode.fingerprint import fingerprint_of
from viewkin.encode.model import model_of
from viewkin.encode.onnx_file import read_onnx
from viewkin.encode.precision import in_precision
from viewkin.export.target import Pictures, compared
from viewkin.export.targets import TARGETS
from viewkin.export.timm import crop_share
from viewkin.export.usual_view import UsualView
from viewkin.runs.models import baselines, open_model
from viewkin.runtime.errors import UserError

CPU = torch.device("cpu")
ANY = ("onnx", "pt2", "safetensors")
STANDARD = ("timm", "hf", "torchvision")


@pytest.fixture(scope="module")
def small() -> nn.Module:
    """A network that fits no other library."""
    return backbone(width=8)


@pytest.fixture(scope="module")
def standard() -> nn.Module:
    """A ResNet-18 as torchvision has it."""
    return backbone(stem="imagenet")


@pytest.fixture(scope="module")
def exports(small, standard, tmp_path_factory) -> dict[str, Path]:
    """Target to the folder of an export; written once, read only."""
    place = tmp_path_factory.mktemp("exports")
    for name in (*ANY, *STANDARD):
        network = small if name in ANY else standard
        images = [smooth(90, 120, seed) for seed in range(3)]
        export_network(network, ExportRequest(model="", to=name, out=place / name, images=images))
    return {name: place / name for name in (*ANY, *STANDARD)}


def needs(name):
    """Skip where the library of a target is not installed."""
    if importlib.util.find_spec(TARGETS[name].loads_with) is None:
        pytest.skip(f"{TARGETS[name].loads_with} is not installed, so {name} is not loaded")


@pytest.mark.parametrize("name", [*ANY, *STANDARD])
def test_the_library_of_a_target_gives_the_features_of_the_network(exports, small, standard, name):
    needs(name)
    model = model_of(small if name in ANY else standard)
    pictures = pictures_of(model)
    found = TARGETS[name].compare(exports[name], model, pictures)
    assert found.images == 4
    assert found.largest == pytest.approx(float(pictures.features.abs().max()))
    assert found.network <= 1e-5 * found.largest
    assert found.cosine > (0.9999 if name in ANY else 0.97)


@pytest.mark.parametrize("name", [*ANY, *STANDARD])
def test_the_code_of_the_model_card_gives_the_features_of_a_photograph(exports, small, standard, name, tmp_path):
    needs(name)
    model = model_of(small if name in ANY else standard)
    folder = shutil.copytree(exports[name], tmp_path / "copy")
    Image.fromarray(smooth(200, 300, seed=5)).save(folder / "photo.jpg", format="PNG")  # no loss, for this test
    own, other = Pictures(model, [smooth(200, 300, seed=5), smooth(200, 300, seed=6)]).features.split(1)
    made = torch.from_numpy(features_by_card(folder, apart=name == "pt2"))
    assert made.shape == own.shape
    assert float((made - own).norm()) < 0.1 * float((other - own).norm()), "nearer than another photograph by far"


@pytest.mark.parametrize("name", [*ANY, *STANDARD])
def test_an_export_names_no_folder_of_the_machine(exports, name):
    for file in exports[name].iterdir():
        content = file.read_bytes()
        for place in (Path(__file__).parents[3], Path(torch.__file__).parents[1], exports[name].parent):
            assert str(place).encode() not in content, file


def test_images_of_any_size_and_number_go_through_one_graph(exports, small):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exports["onnx"] / "model.onnx"))
    program = torch.export.load(exports["pt2"] / "model.pt2").module()
    model = model_of(small)
    for count, height, width in ((1, 48, 48), (3, 100, 61), (2, 9, 300)):
        arrays = [smooth(height, width, seed) for seed in range(count)]
        own = Pictures(model, arrays).features
        (rows,) = session.run(None, {"images": np.stack(arrays)})
        with torch.no_grad():
            others = program(torch.from_numpy(np.stack(arrays)))
        for made in (torch.from_numpy(rows), others):
            assert made.shape == own.shape
            assert float(torch.cosine_similarity(made, own).min()) > 0.9999


def test_an_onnx_file_is_a_model_like_its_network(exports, small, tmp_path):
    file = exports["onnx"] / "model.onnx"
    own, opened = model_of(small), open_model(str(file), "backbone", CPU)
    assert (opened.name, opened.image_size) == (own.name, own.image_size)
    assert (opened.policy.mean, opened.policy.std) == (own.policy.mean, own.policy.std)
    views = torch.randn(5, 3, 48, 48)
    torch.testing.assert_close(opened.encode(views, CPU), own.encode(views, CPU), rtol=1e-5, atol=1e-6)
    assert open_model(str(exports["onnx"]), "backbone", CPU).encoder.content == opened.encoder.content
    assert [one.name for one in baselines(str(file))] == ["raw pixels", "untrained, 64-d"]
    for asked in ("auto", "float32"):
        assert in_precision(opened, asked, views, CPU).precision == "float32"
    for asked in ("bfloat16", "int8"):
        with pytest.raises(UserError, match="float32 or auto with an ONNX file"):
            in_precision(opened, asked, views, CPU)


def test_the_fingerprint_of_an_onnx_file_is_of_its_network_and_views(exports, tmp_path):
    import onnx

    file = exports["onnx"] / "model.onnx"
    whole = onnx.load(file)
    first = fingerprint_of(read_onnx(file), "backbone")
    assert fingerprint_of(read_onnx(Path(shutil.copy(file, tmp_path / "copy.onnx"))), "backbone") == first

    def changed(change) -> str:
        other = onnx.ModelProto()
        other.CopyFrom(whole)
        change(other)
        onnx.save(other, tmp_path / "other.onnx")
        return fingerprint_of(read_onnx(tmp_path / "other.onnx"), "backbone")

    def nudge(other):
        weight = next(one for one in other.graph.initializer if "layer4" in one.name and "weight" in one.name)
        values = onnx.numpy_helper.to_array(weight).copy()
        values.flat[0] += 1e-6
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))

    def renormalise(other):
        facts = next(one for one in other.metadata_props if one.key == "viewkin")
        facts.value = json.dumps({**json.loads(facts.value), "mean": [0.1, 0.4, 0.3]})

    def bypass(other):
        next(node for node in other.graph.node if node.op_type == "Relu").op_type = "Abs"

    assert len({first, *map(changed, (nudge, renormalise, bypass))}) == 4


def test_a_transformer_whose_graph_reads_the_number_of_images_is_cut_out_too(tmp_path):
    pytest.importorskip("timm")
    model = model_with(160, name="timm/test_vit")
    written = export_network(model.encoder, ExportRequest(model="", to="onnx", out=tmp_path / "out"))
    assert written.comparison.network <= 1e-5 * written.comparison.largest
    views = torch.randn(3, 3, 160, 160)
    made = open_model(str(written.file), "backbone", CPU).encode(views, CPU)
    torch.testing.assert_close(made, model.encode(views, CPU), rtol=1e-4, atol=1e-5)


def test_networks_of_timm_go_back_to_timm(tmp_path):
    pytest.importorskip("timm")
    network = backbone(64, name="timm/test_resnet")
    written = export_network(network, ExportRequest(model="", to="timm", out=tmp_path / "out"))
    assert written.comparison.network <= 1e-5 * written.comparison.largest


@pytest.mark.parametrize("name", ["torchvision", "timm", "hf", "detectron2"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 64}, "small stem"),
        ({"width": 16, "stem": "imagenet"}, r"backbone\.width=16"),
        ({"stem": "imagenet", "pool": "window7"}, r"backbone\.pool=window7"),
        ({"name": "amdim32", "width": 8, "rkhs": 32}, "amdim32 has another architecture"),
    ],
)
def test_a_network_that_no_standard_model_is_says_so_and_what_takes_it(name, settings, said, tmp_path):
    network = backbone(**settings)
    request = ExportRequest(model="", to=name, out=tmp_path / "out")
    with pytest.raises(UserError, match=rf"--to {name} takes .*{said}.*take --to onnx, pt2 or safetensors"):
        export_network(network, request)
    assert not any(tmp_path.iterdir())


def test_a_network_of_timm_that_torchvision_has_not_says_that_timm_takes_it(tmp_path):
    pytest.importorskip("timm")
    with pytest.raises(UserError, match="take --to onnx, pt2, safetensors, timm or hf for it"):
        TARGETS["torchvision"].check(model_with(name="timm/test_resnet"))


def test_features_of_another_network_are_not_kept(small, exports, tmp_path):
    model = model_of(small)
    pictures = pictures_of(model)
    with pytest.raises(UserError, match="is not kept"):
        compared("x", pictures, pictures.features + 0.1)
    with pytest.raises(UserError, match="is not kept"):
        compared("x", pictures, pictures.features * float("nan"))
    with pytest.raises(UserError, match="numbers instead of 64"):
        compared("x", pictures, pictures.features[:, :3])
    with torch.no_grad():
        other = model_of(backbone(width=8))
        other.encoder.layer1[0].conv1.weight.mul_(1.1)
    for name in ANY:
        with pytest.raises(UserError, match="is not kept"):
            TARGETS[name].compare(exports[name], other, pictures_of(other))


def test_timm_resizes_to_the_side_that_is_meant():
    for size in (32, 64, 96, 98, 224, 384):
        for resized in range(size, 2 * size):
            view = UsualView(resized, size, "bicubic", False, (0, 0, 0), (1, 1, 1))
            assert int(size / crop_share(view)) == resized


def test_small_images_are_enlarged_as_a_whole_in_other_libraries_too(standard, tmp_path):
    model = model_of(standard)
    pictures = Pictures(model, [smooth(*sides, seed=number) for number, sides in enumerate(((30, 30), (20, 40)))])
    target = TARGETS["torchvision"]
    target.write(tmp_path, model, pictures)
    assert target.compare(tmp_path, model, pictures).cosine > 0.999
    assert "Resize(48, transforms.InterpolationMode.BILINEAR)" in target.loading(model, pictures)
    assert "Resize(55, transforms.InterpolationMode.BICUBIC)" in target.loading(model, pictures_of(model))


@pytest.mark.parametrize("content", [b"", b"no file of ONNX", b"\x08\x01"])
def test_other_onnx_files_are_one_sentence(content, tmp_path):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.onnx"):
        open_model(str(tmp_path / "x.onnx"), "backbone", CPU)


def test_a_damaged_onnx_file_is_one_sentence(exports, tmp_path):
    content = (exports["onnx"] / "model.onnx").read_bytes()
    (tmp_path / "x.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"x\.onnx .*write it again"):
        open_model(str(tmp_path / "x.onnx"), "backbone", CPU)
