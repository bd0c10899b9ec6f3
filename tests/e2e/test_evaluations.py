"""Claims about judging a trained model from the command line, whatever the protocol."""

import json
from pathlib import Path

import pytest

from commandline import TINY, images_in, viewkin
from mosaics import mosaics_in

SPLIT = ("--test-split", "train")
SHOTS = ("--set", "shots=1,2", "--set", "negatives=1")


def results_of(path: Path) -> list[dict]:
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("protocol", "options", "measures"),
    [
        ("retrieval", (*SPLIT, "--set", "k=1,2"), ["R@1", "R@2", "MAP@R"]),
        ("cluster", SPLIT, ["NMI", "ARI", "purity", "alignment", "uniformity", "rank"]),
        ("svm", ("--holdout", "0.5", "--set", "costs=0.5,1"), ["mAP"]),
        ("lowshot", ("--holdout", "0.5", *SHOTS), ["mAP@1", "mAP@2", "mAP"]),
    ],
)
def test_every_protocol_judges_model_and_baselines_and_writes_its_settings(
    workplace, trained, protocol, options, measures
):
    images_in(workplace / "data", 40, classes=("cat", "dog", "fox"))
    ended = viewkin("evaluate", protocol, trained, "data", *options, "--out", "found.json")
    assert (ended.code, ended.err) == (0, "")
    found = results_of(workplace / "found.json")
    chance = [] if protocol == "cluster" else ["chance"]
    assert [one["model"].split(",")[0] for one in found] == [*chance, "raw pixels", "untrained", "backbone"]
    for one in found:
        assert list(one["values"]) == measures
        assert one["settings"]
        assert one["device"]


def test_retrieval_on_some_classes_looks_at_these_alone(workplace, trained):
    images_in(workplace / "data", 40, classes=("cat", "dog", "eel", "fox"))
    command = ("evaluate", "retrieval", trained, "data", *SPLIT, "--no-baselines", "--out", "found.json")
    assert viewkin(*command, "--classes", "2:4").code == 0
    by_number = results_of(workplace / "found.json")
    assert by_number[-1]["data"] == "data: 20 train of the classes 2:4"
    assert viewkin(*command, "--classes", "eel,fox").code == 0
    assert [one["values"] for one in results_of(workplace / "found.json")] == [one["values"] for one in by_number]


def test_a_run_on_some_classes_sees_no_other_and_retrieval_asks_for_these(workplace):
    images_in(workplace / "data", 80, classes=("cat", "dog", "eel", "fox"))
    ended = viewkin("train", "data", *TINY, "--set", "data.classes=0:2", "--out", "run")
    assert ended.code == 0, ended.err
    assert json.loads((workplace / "run" / "recipe.json").read_text())["images"] == 40
    assert "naming one of 2 classes" in ended.out
    (first, *_) = results_of(workplace / "run" / "evaluation-knn.json")
    assert first["data"] == "data: 32 train, 8 held out of train of the classes 0:2"
    ended = viewkin("evaluate", "retrieval", "run", "data", *SPLIT, "--classes", "2:4", "--no-baselines")
    assert (ended.code, ended.err) == (0, "")


def test_images_that_show_several_classes_are_judged_by_machines(workplace, trained):
    mosaics_in(workplace / "voc", 60, 20)
    sgd = ("--set", "steps=4", "--set", "learning_rate=0.1", "--set", "crops=2")
    for protocol, options in (("svm", ("--set", "preset=pcl")), ("lowshot", SHOTS), ("multilabel", sgd)):
        command = ("evaluate", protocol, trained, "voc", "--train-split", "trainval", "--image-size", "32")
        ended = viewkin(*command, *options, "--out", "found.json")
        assert (ended.code, ended.err) == (0, "")
        chance, *others = results_of(workplace / "found.json")
        assert 0 < chance["values"]["mAP"] < 100
        assert {one["data"] for one in others} == {"voc: 60 trainval, 20 test"}


def test_a_low_shot_cost_chosen_on_test_is_marked_in_table_and_file(workplace, trained):
    images_in(workplace / "data", 40, classes=("cat", "dog", "fox"))
    options = ("--holdout", "0.5", *SHOTS, "--set", "costs=0.1,1", "--set", "selection=test", "--no-baselines")
    ended = viewkin("evaluate", "lowshot", trained, "data", *options, "--out", "found.json")
    assert ended.code == 0
    assert "Note: The cost was chosen on the test images" in ended.out
    assert all(name.endswith("on test") for one in results_of(workplace / "found.json") for name in one["values"])


def test_images_that_show_several_classes_are_trained_on_without_labels(workplace):
    mosaics_in(workplace / "voc", 40, 8)
    ended = viewkin("train", "voc", *TINY, "--set", "data.split=trainval", "--out", "run")
    assert ended.code == 0, ended.err
    assert "40 images" in ended.out
