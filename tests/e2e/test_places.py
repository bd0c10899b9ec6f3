"""Claims about where things go: nothing of the user's is replaced, and nothing of ours is taken for the user's."""

import shutil
from pathlib import Path

import pytest
import torch

from commandline import TINY, Ended, images_in, viewkin
from viewkin.commands.figures.curves import distinct_names
from viewkin.data.dataset import open_source
from viewkin.data.formats.folder import image_files
from viewkin.evaluation.labels import labels_of
from viewkin.evaluation.probes.knn import KnnConfig, knn
from viewkin.evaluation.results import read_results
from viewkin.runs.models import open_model

JUDGED = ("--holdout", "0.5", "--no-baselines", "--set", "k=2")


def ended(*line: object) -> Ended:
    found = viewkin(*line)
    assert (found.code, found.err) == (0, ""), found
    return found


@pytest.mark.parametrize("test", ["unlabelled", "empty", "broken"])
def test_a_test_split_that_cannot_judge_does_not_cost_the_run(workplace: Path, test: str):
    images_in(workplace / "set" / "train", 32, classes=("a", "b"))
    (workplace / "set" / "test").mkdir()
    if test == "unlabelled":
        images_in(workplace / "set" / "test", 4)
    elif test == "broken":
        (workplace / "set" / "test" / "a").mkdir()
        (workplace / "set" / "test" / "a" / "1.jpg").write_bytes(b"no image")
    found = ended("train", "set", *TINY, "--out", "run")
    assert "A fifth of the training images is judged instead." in found.out
    assert "naming one of 2 classes" in found.out
    assert (workplace / "run" / "report.html").exists()


def test_a_run_that_labels_cannot_judge_is_judged_by_its_views(workplace: Path):
    images_in(workplace / "set", 32, classes=("a", "b"))
    for number in range(31, 1, -1):  # one image of each class has a label of its own, and none is left to hold out
        images_in(workplace / "set" / f"c{number}", 1)
    for name in ("a", "b"):
        for path in sorted((workplace / "set" / name).iterdir())[1:]:
            path.unlink()
    found = ended("train", "set", *TINY, "--out", "run")
    assert "Not judged by labels: " in found.out
    assert "of two views of one image" in found.out


def test_run_directories_are_no_images(workplace: Path, trained: Path):
    images_in(workplace / "photos", 8)
    before = image_files(workplace / "photos")
    shutil.copytree(trained, workplace / "photos" / "runs" / "mine")
    images_in(workplace / "photos" / "runs" / "mine", 3)
    assert image_files(workplace / "photos") == before
    (workplace / "photos" / "runs" / "mine" / "versions.json").unlink()
    assert len(image_files(workplace / "photos")) > len(before)


def test_embeddings_and_results_replace_their_own_kind_only(workplace: Path, trained: Path):
    images_in(workplace / "photos", 8)
    for _ in range(2):
        ended("embed", trained, "photos", "--out", "x.parquet")


def test_results_on_other_images_stay_beside_each_other_and_a_file_s_apart(workplace: Path, trained: Path):
    shutil.copytree(trained, workplace / "run")
    for name in ("one", "two"):
        images_in(workplace / name, 16, classes=("a", "b"))
    for data in ("one", "two", "one"):
        ended("evaluate", "knn", "run", data, *JUDGED)
    results = read_results(workplace / "run" / "evaluation-knn-backbone.json")
    assert [r.data.partition(":")[0] for r in results if r.model != "chance"] == ["two", "one"]
    ended("evaluate", "knn", "run/backbone.safetensors", "one", *JUDGED)
    assert (workplace / "run" / "backbone-evaluation-knn-backbone.json").exists()


def test_runs_of_one_name_are_told_apart():
    assert distinct_names([Path("/a/x/run"), Path("/a/y/run")]) == ["x/run", "y/run"]
    assert distinct_names([Path("/a/x"), Path("/a/y")]) == ["x", "y"]
    assert distinct_names([Path("/a/x")]) == ["x"]


def test_figures_alone_shows_its_help(workplace: Path):
    found = ended("figures")
    assert found.out.startswith("Usage: viewkin figures")
    assert len(found.out.splitlines()) > 10


def test_statistics_that_a_judgement_moves_stay_as_they_were_in_the_file(workplace: Path, trained: Path):
    images_in(workplace / "photos", 16, classes=("a", "b"))
    few = ("--holdout", "0.5", "--no-baselines", "--set", "epochs=1")
    before = (trained / "backbone.safetensors").read_bytes()
    values = []
    for images in ("none", "test"):
        for features in ("backbone", "embedding"):
            line = ("mlp", trained, "photos", *few, "--set", f"bn_recalibrate={images}", "--features", features)
            ended("evaluate", *line, "--out", f"{images}.json")
            values.append(read_results(workplace / f"{images}.json")[-1].settings["bn_recalibrate"])
    assert values == ["none", "none", "test", "test"]
    assert (trained / "backbone.safetensors").read_bytes() == before


def test_random_views_teach_the_heads_where_asked(workplace: Path, trained: Path):
    images_in(workplace / "photos", 16, classes=("a", "b"))
    few = ("--holdout", "0.5", "--no-baselines", "--set", "epochs=2", "--set", "learning_rate=0.1")
    found = {}
    for views in ("test", "augmented"):
        ended("evaluate", "mlp", trained, "photos", *few, "--set", f"views={views}", "--out", f"{views}.json")
        found[views] = read_results(workplace / f"{views}.json")[-1]
    assert {name: result.settings["views"] for name, result in found.items()} == {name: name for name in found}


def test_the_training_bank_votes_where_asked(workplace: Path):
    for split, count in (("train", 32), ("test", 8)):
        images_in(workplace / "photos" / split, count, classes=("a", "b"))
    ended("train", "photos", *TINY, "--method", "npid", "--out", "run")
    asked = ("--features", "embedding", "--no-baselines", "--set", "k=5", "--set", "reference=bank")
    ended("evaluate", "knn", "run", "photos", *asked, "--out", "bank.json")
    found = read_results(workplace / "bank.json")[-1]
    assert found.settings["reference"] == "bank"
    with torch.no_grad():
        run = open_model("run", "embedding", torch.device("cpu"))
        train, test = (open_source("photos", split=split, size=run.image_size) for split in ("train", "test"))
        method = getattr(run.encoder, "__self__")  # noqa: B009
        expected = knn(
            KnnConfig(k=5),
            method.bank.everything(),
            labels_of(train),
            run.features(test, torch.device("cpu")),
            labels_of(test),
        )
    assert found.values["knn@5"] == pytest.approx(expected.values()["knn@5"])
    other = viewkin("evaluate", "knn", "run", "photos", *asked, "--holdout", "0.5")
    assert other.code == 2
    assert "the 32 images that the run was trained on" in other.err
