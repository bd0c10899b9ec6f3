"""Claims about ``viewkin export``: what it writes, says and refuses, and that an export stands in for its run."""

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import viewkin as package
from commandline import Ended, images_in, viewkin
from exports import backbone
from viewkin.collection.embeddings import read_embeddings
from viewkin.commands import export as exporting
from viewkin.evaluation.results import read_results, write_results
from viewkin.export.model_card import MARK
from viewkin.export.targets import TARGETS
from viewkin.nets.backbone_file import save_backbone


def ended(*line: object) -> Ended:
    found = viewkin(*line)
    assert (found.code, found.err) == (0, ""), found
    return found


def refused(*line: object) -> str:
    found = viewkin(*line)
    assert (found.code, len(found.err.splitlines())) == (2, 1), found
    return found.err


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run in ``mine``, with the export ``mine/export-onnx``; read only."""
    place = tmp_path_factory.mktemp("exported")
    shutil.copytree(trained, place / "mine")
    ended("export", place / "mine", "--to", "onnx", "--license", "cc-by-4.0")
    return place


@pytest.fixture
def place(workplace: Path, exported: Path) -> Path:
    """A working directory with the run, its export and some photographs."""
    shutil.copytree(exported / "mine", workplace / "mine")
    images_in(workplace / "photos", 16, size=(90, 70), classes=("cat", "dog"))
    return workplace


def test_an_export_says_how_near_it_is_and_writes_it_into_the_card(place):
    found = ended("export", "mine", "--to", "safetensors", "--images", "photos", "--out", "out")
    said = " ".join(found.out.split())
    sentence = re.search(r"Loaded by safetensors [\d.]+ and compared on 8 images: .*? The images: 8 of photos\.", said)
    assert sentence
    assert "is 0 on the same views" in sentence[0]
    card = Path("out/README.md").read_text()
    assert sentence[0] in card
    assert sorted(path.name for path in Path("out").iterdir()) == ["README.md", "backbone.safetensors"]
    assert ended("embed", "out", "photos", "--out", "x.parquet").out  # the folder is a model


def test_the_model_card_says_what_the_network_is(place):
    card = (place / "mine" / "export-onnx" / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\nlibrary_name: onnx\n")
    stored = json.loads((place / "mine" / "recipe.json").read_text())
    assert f"Trained on {stored['images']} images of generated:images=64, without labels, for 2 epochs" in card
    assert "smoke test" in card
    assert "Training started from random weights." in card
    results = [one for one in read_results(place / "mine" / "evaluation-knn.json") if one.model.startswith("backbone")]
    (name, value), *_ = results[0].values.items()
    assert f"{name} {value:.2f}" in card
    assert "untrained" not in card
    assert "## What it is not good for" in card
    for private in (str(place), str(Path.home()), str(Path.cwd())):
        assert private not in card


def test_numbers_come_with_the_command_that_made_them_and_without_folders(place):
    results = [
        replace(
            one, command="viewkin evaluate knn /home/me/mine /home/me/photos --set k=5", data="/home/me/photos: 9 test"
        )
        for one in read_results("mine/evaluation-knn.json")
    ]
    write_results("mine/evaluation-knn.json", results)
    facts = json.loads(Path("mine/versions.json").read_text())
    facts["command"] = "viewkin train /home/me/photos --out=/home/me/mine --set init.source=/home/me/start"
    Path("mine/versions.json").write_text(json.dumps(facts))
    ended("export", "mine", "--to", "safetensors", "--images", "photos")
    card = Path("mine/export-safetensors/README.md").read_text()
    assert "| photos: 9 test |" in card
    assert "`viewkin evaluate knn mine photos --set k=5`" in card
    assert "viewkin train photos --out=mine --set init.source=start" in card
    assert "/home" not in card


def test_a_run_that_was_not_measured_says_so_and_names_its_start(place):
    for file in Path("mine").glob("evaluation-*.json"):
        file.unlink()
    stored = json.loads(Path("mine/recipe.json").read_text())
    stored["recipe"]["init"] |= {"source": "efficientnet_lite0", "weights": None}
    Path("mine/recipe.json").write_text(json.dumps(stored))
    ended("export", "mine", "--to", "safetensors", "--images", "photos")
    card = Path("mine/export-safetensors/README.md").read_text()
    assert "No numbers were measured." in card
    assert "Training started from efficientnet_lite0." in card
    assert "Apache-2.0" in card
    assert "license: unknown\n" in card
    assert "No licence was named." in card
    assert "Claims of learning without labels" in card


def test_a_card_tells_of_the_weights_that_are_exported_and_of_no_others(place):
    shutil.copy("mine/backbone.safetensors", "mine/start.safetensors")
    lines = [json.loads(text) for text in Path("mine/metrics.jsonl").read_text().splitlines()]
    lines[-1]["epoch"] = 1.5
    Path("mine/metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    cards = {}
    for name in ("mine/backbone.safetensors", "mine/last.ckpt", "mine/start.safetensors"):
        ended("export", name, "--to", "safetensors", "--images", "photos", "--out", Path(name).name + "-out")
        cards[Path(name).stem] = Path(f"{Path(name).name}-out/README.md").read_text()
    assert "for 1.5 of 2 epochs" in cards["backbone"]
    assert ["| knn, backbone" in card for card in cards.values()] == [True, False, False]
    assert ["Trained on" in card for card in cards.values()] == [True, True, False]
    assert "viewkin did not train this network, or its run was not there" in cards["start"]


def test_an_onnx_file_embeds_photographs_as_its_run_does(place):
    ended("embed", "mine", "photos", "--out", "run.parquet")
    ended("embed", "mine/export-onnx/model.onnx", "photos", "--out", "onnx.parquet")
    own, other = (read_embeddings(Path(f"{name}.parquet")) for name in ("run", "onnx"))
    assert own.keys == other.keys
    card = Path("mine/export-onnx/README.md").read_text()
    stated, largest = map(float, re.findall(r"is (\S+) on the same views \(the largest feature is (\S+)\)", card)[0])
    assert stated < 1e-5 * largest
    assert float((own.embeddings - other.embeddings).abs().max()) < 1e-5
    refusal = refused("embed", "mine/export-onnx/model.onnx", "photos", "--out", "x.parquet", "--features", "embedding")
    assert "--features backbone" in refusal
    assert "float32 or auto" in refused(
        "embed", "mine/export-onnx/model.onnx", "photos", "--out", "x.parquet", "--precision", "int8"
    )


def test_a_collection_by_an_onnx_file_is_searched_and_belongs_to_it_alone(place):
    ended("embed", "mine/export-onnx", "photos", "--to", "photos.collection")
    images_in(place / "new", 1, size=(90, 70))
    found = ended("search", "photos.collection", "new/000.jpg", "-k", "1")
    assert "cat/000.jpg" in found.out
    assert "vectors of another model" in refused("embed", "mine", "photos", "--to", "photos.collection")
    shutil.move("mine/export-onnx/model.onnx", "moved.onnx")
    again = ended("embed", "moved.onnx", "photos", "--to", "photos.collection")
    assert "0 computed, 16 kept" in again.out


def test_an_onnx_file_is_evaluated_and_refuses_what_needs_the_network(place):
    file = "mine/export-onnx/model.onnx"
    ended("evaluate", "knn", file, "photos", "--holdout", "0.5", "--set", "k=2")
    ended("evaluate", "knn", "mine", "photos", "--holdout", "0.5", "--set", "k=2")
    by_onnx = read_results("mine/export-onnx/model-evaluation-knn-backbone.json")
    by_run = read_results("mine/evaluation-knn-backbone.json")
    assert [(one.model, one.values) for one in by_onnx] == [(one.model, one.values) for one in by_run]
    for line in (
        ("evaluate", "finetune", file, "photos", "--holdout", "0.5"),
        ("evaluate", "mlp", file, "photos", "--holdout", "0.5", "--no-baselines", "--set", "bn_recalibrate=test"),
        ("train", "photos", "--init", file),
        ("export", file, "--to", "pt2"),
    ):
        assert "name the run or the weights that it was made from" in refused(*line)


def test_an_export_is_replaced_only_where_asked_and_nothing_else_ever(place):
    card = Path("mine/export-onnx/README.md")
    before = card.stat().st_mtime_ns
    assert "add --overwrite" in refused("export", "mine", "--to", "onnx")
    assert card.stat().st_mtime_ns == before
    line = ("export", "mine", "--to", "safetensors", "--images", "photos", "--overwrite", "--out")
    ended(*line, "mine/export-onnx")
    assert sorted(path.name for path in card.parent.iterdir()) == ["README.md", "backbone.safetensors"]
    Path("mine/export-onnx/README.md").write_text(card.read_text().replace(MARK, ""))
    kept = sorted(place.rglob("*"))
    for out in ("photos", "mine", "mine/recipe.json", "mine/export-onnx"):
        assert "is no export" in refused(*line, out)
    assert sorted(place.rglob("*")) == kept


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "mine --to onxx",
            "--to is 'onxx'; it must be one of onnx, timm, torchvision, hf, pt2, safetensors, detectron2",
        ),
        ("mine", "Missing option '--to'"),
        ("nine --to onnx", "did you mean mine?"),
        ("mine --to onnx --out model.onnx", "is a folder that will hold model.onnx and README.md: name it model"),
        ("mine --to pt2 --out none/there", "must be a new folder in one that exists"),
        ("mine --to pt2 --out /proc/there", "--out /proc/there"),
        ("mine --to pt2 --out out --images nothing", "There is no nothing"),
        ("mine --to pt2 --out out --images broken", "No image of broken can be read"),
        ("mine --to pt2 --out out --license 'my own: yes'", "--license is"),
        ("mine --to torchvision --out out", "take --to onnx, pt2 or safetensors"),
        ("mine --to timm --out out", "take --to onnx, pt2 or safetensors"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(place, line, said):
    (place / "broken").mkdir()
    (place / "broken" / "a.jpg").write_bytes(b"no image")
    before = sorted(place.rglob("*"))
    assert said in refused("export", *shlex.split(line))
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(("to", "package"), [("onnx", "onnxscript"), ("timm", "timm")])
def test_a_missing_package_is_one_sentence_with_what_to_install(place, monkeypatch, to, package):
    monkeypatch.setitem(sys.modules, package, None)
    model = "mine" if to == "onnx" else "wide.safetensors"
    if to == "timm":
        network = backbone(stem="imagenet")
        save_backbone(Path(model), network, network.config, mean=network.mean, std=network.std, size=48)
    assert "pip install 'viewkin[export]'" in refused("export", model, "--to", to, "--images", "photos", "--out", "out")
    assert not Path("out").exists()


def test_an_onnx_file_without_onnxruntime_is_one_sentence(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = refused("embed", "mine/export-onnx/model.onnx", "photos", "--out", "x.parquet")
    assert "pip install 'viewkin[export]'" in said


def test_an_export_that_cannot_be_loaded_here_says_that_it_was_not_verified(place, monkeypatch):
    absent = replace(TARGETS["safetensors"], loads_with="a_module_that_is_not_there", install="pip install it")
    monkeypatch.setitem(TARGETS, "safetensors", absent)
    found = ended("export", "mine", "--to", "safetensors", "--images", "photos", "--out", "out")
    said = "Not verified: a_module_that_is_not_there is not installed here; pip install it, and export again"
    assert said in " ".join(found.out.split())
    assert said in Path("out/README.md").read_text()


def test_an_export_that_differs_or_is_interrupted_leaves_nothing(place, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    for failing in (exporting.UserError("It differs."), stopped):
        before = sorted(place.rglob("*"))

        def compare(*_, failing=failing):
            if isinstance(failing, Exception):
                raise failing
            failing()

        monkeypatch.setitem(TARGETS, "pt2", replace(TARGETS["pt2"], compare=compare))
        if isinstance(failing, Exception):
            assert "It differs." in refused("export", "mine", "--to", "pt2", "--images", "photos")
        else:
            assert viewkin("export", "mine", "--to", "pt2", "--images", "photos").code != 0
        assert sorted(place.rglob("*")) == before


def test_from_python_a_run_and_a_network_are_exported(place):
    written = package.open_run("mine").export("safetensors", "one", license="mit", images="photos")
    assert written.comparison is not None
    assert (written.comparison.network, written.file) == (0.0, Path("one/backbone.safetensors"))
    assert "Trained on" in written.card.read_text()
    loaded = package.load_backbone("mine")
    again = loaded.export(to="safetensors", path="two", images="photos")
    assert "Trained on" not in again.card.read_text()
    rows = [package.load_backbone(place).embed("photos") for place in ("mine", "one", "two")]
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])
    with pytest.raises(package.UserError, match="add --overwrite"):
        loaded.export(to="safetensors", path="two")
