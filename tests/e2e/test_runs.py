"""Claims about runs from end to end: files, sentences, the same bits again."""

import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import viewkin as library
from commandline import TINY, checkpoint_of, differing, images_in, metrics_of, viewkin
from viewkin.methods.simclr import SimCLR
from viewkin.recipes.catalogue import RECIPES
from viewkin.runtime.errors import UserError
from viewkin.settings import read_assignment, setting_paths

FILES = {
    "backbone.safetensors",
    "best.ckpt",
    "evaluation-knn.json",
    "images.parquet",
    "last.ckpt",
    "metrics.jsonl",
    "previous.ckpt",
    "recipe.json",
    "report.html",
    "tensorboard",
    "versions.json",
}
DATA = "generated:images=64"


def files_of(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def test_a_smoke_test_writes_the_files_of_a_real_run(workplace, trained):
    small = ("--epochs", 1, "--batch-size", 32, "--image-size", 16, "--set", "backbone.width=4")
    ended = viewkin("train", DATA, *small, "--out", "real")
    assert ended.code == 0, ended.err
    assert files_of(workplace / "real") == files_of(trained) == FILES


def test_a_folder_is_trained_on_with_nothing_but_its_name(workplace):
    images_in(workplace / "photos", 20)
    (workplace / "photos" / "broken.jpg").write_bytes(b"no image")
    ended = viewkin("train", "photos", "--epochs", 1, "--set", "backbone.width=4")
    assert (ended.code, ended.err) == (0, "")
    out = workplace / "runs" / "photos-photos"
    assert files_of(out) == FILES - {"best.ckpt", "evaluation-knn.json"}
    assert "Recipe photos (the default" in ended.out
    assert "Images of 32 px, as the shorter side is 20 px" in ended.out
    assert "1 of 21 images cannot be read and are left out: broken.jpg" in ended.out
    assert "400 epochs" not in ended.out
    assert "of two views of one image among 20, the network matches" in ended.out
    assert "by chance 5.0 %" in ended.out
    assert "epoch 1: loss" in ended.out
    assert f"Report:   {Path('runs/photos-photos/report.html')}" in ended.out
    assert viewkin("train", "photos", "--epochs", 1, "--set", "backbone.width=4").code == 0
    assert (workplace / "runs" / "photos-photos-2" / "last.ckpt").exists()


def test_one_table_compares_chance_pixels_untrained_and_trained(workplace):
    images_in(workplace / "pets" / "train", 40, classes=("cat", "dog"))
    images_in(workplace / "pets" / "test", 12, classes=("cat", "dog"))
    ended = viewkin("train", "pets", *TINY, "--out", "run")
    assert ended.code == 0, ended.err
    results = json.loads((workplace / "run" / "evaluation-knn.json").read_text())
    names = [result["model"].split(",")[0] for result in results]
    assert names == ["chance", "raw pixels", "untrained", "backbone", "embedding"]
    assert results[0]["values"] == {"knn@20": 50.0}
    assert ended.out.count("knn@20") == 1
    assert "naming one of 2 classes by nearest neighbours: chance 50.0 %" in ended.out
    report = (workplace / "run" / "report.html").read_text()
    assert all(name in report for name in names)


def test_labels_without_a_test_split_are_judged_on_a_part(workplace):
    images_in(workplace / "pets", 40, classes=("cat", "dog"))
    ended = viewkin("train", "pets", *TINY, "--out", "run")
    assert ended.code == 0, ended.err
    assert "32 train, 8 held out of train" in ended.out


def test_the_chance_level_is_that_of_naming_the_commonest_class(workplace, trained):
    images_in(workplace / "pets", 30, classes=("cat", "cat", "dog"))
    assert viewkin("evaluate", "knn", trained, "pets", "--holdout", 0.5, "--out", "x.json").code == 0
    results = json.loads((workplace / "x.json").read_text())
    # Ten of the twenty cats and five of the ten dogs are held out.
    assert results[0]["values"]["knn@7"] == pytest.approx(100 * 10 / 15)


def test_a_stored_recipe_runs_again_to_the_same_bits(workplace, trained):
    for number, recipe in enumerate((trained / "recipe.json", trained)):
        ended = viewkin("train", DATA, "--recipe", recipe, "--out", f"again-{number}")
        assert ended.code == 0, ended.err
        again = workplace / f"again-{number}"
        assert not differing(checkpoint_of(again), checkpoint_of(trained))
        assert metrics_of(again) == metrics_of(trained)
        assert json.loads((again / "recipe.json").read_text()) == json.loads((trained / "recipe.json").read_text())


def test_a_stored_recipe_can_be_varied(workplace, trained):
    assert viewkin("train", DATA, "--recipe", trained, "--seed", 1, "--out", "other").code == 0
    assert differing(checkpoint_of(workplace / "other"), checkpoint_of(trained))


def test_a_finished_run_resumes_to_itself(workplace, trained):
    shutil.copytree(trained, "run")
    ended = viewkin("train", DATA, "--out", "run", "--resume", "--set", "runtime.log_every=1")
    assert ended.code == 0, ended.err
    assert not differing(checkpoint_of(workplace / "run"), checkpoint_of(trained))
    assert files_of(workplace / "run") == FILES


def test_settings_that_are_valid_only_together_are_set_together(workplace):
    steps = ("--set", "schedule.kind=step", "--set", "schedule.milestones=1", "--set", "schedule.warmup_epochs=0")
    ended = viewkin("train", DATA, *TINY, *steps, "--out", "run")
    assert ended.code == 0, ended.err
    stored = json.loads((workplace / "run" / "recipe.json").read_text())["recipe"]
    assert stored["schedule"]["milestones"] == [1.0]


def test_what_a_recipe_lists_can_be_given_to_set(workplace):
    lines = viewkin("recipes", "photos").out.splitlines()
    recipe = RECIPES["photos"]()
    assert dict(read_assignment(recipe, line) for line in lines) == setting_paths(recipe)
    assert all(name in viewkin("recipes").out for name in RECIPES)


def test_the_demo_replaces_an_earlier_demo_and_nothing_else(workplace, monkeypatch):
    images_in(workplace / "photos", 16)
    monkeypatch.setattr("viewkin.runs.adapt.SEEN_ON_CPU", 400)
    monkeypatch.setattr("viewkin.runs.adapt.SEEN_ON_GPU", 400)
    ended = viewkin("demo", "--data", "photos", "--out", "demo")
    assert (ended.code, ended.err) == (0, "")
    (workplace / "demo" / "mine.txt").touch()
    assert viewkin("demo", "--data", "nothing", "--out", "demo").code == 2
    assert (workplace / "demo" / "mine.txt").exists()
    assert viewkin("demo", "--data", "photos", "--out", "demo").code == 0
    assert not (workplace / "demo" / "mine.txt").exists()
    assert viewkin("demo", "--data", "photos", "--out", "photos").code == 2
    assert len(list((workplace / "photos").iterdir())) == 16


def test_embeddings_have_the_schema_that_is_promised(workplace, trained):
    images_in(workplace / "pets", 10, classes=("cat", "dog"))
    images_in(workplace / "photos", 10)
    assert viewkin("embed", trained, "pets", "--out", "pets.parquet").code == 0
    table = pq.read_table("pets.parquet")
    assert table.column_names == ["id", "path", "split", "label", "class_name", "embedding"]
    kind = table.schema.field("embedding").type
    assert (kind.list_size, kind.value_type) == (64, "float")
    assert table["id"].to_pylist() == list(range(10))
    assert sorted(table["path"].to_pylist())[0] == "cat/000.jpg"
    assert table["label"].to_pylist() == [0] * 5 + [1] * 5
    rows = np.array(table["embedding"].to_pylist())
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    whole = ("--no-normalise", "--features", "embedding")
    assert viewkin("embed", trained / "last.ckpt", "photos", "--no-normalise", "--out", "a.parquet").code == 0
    assert viewkin("embed", trained, "photos", *whole, "--out", "b.parquet").code == 0
    assert pq.read_table("a.parquet").column_names == ["id", "path", "split", "embedding"]
    assert pq.read_schema("b.parquet").field("embedding").type.list_size == 128


def test_embeddings_are_the_backbones_own_features(workplace, trained):
    images_in(workplace / "photos", 6, size=(16, 16))
    assert viewkin("embed", trained, "photos", "--no-normalise", "--out", "a.parquet").code == 0
    backbone = library.load_backbone(trained)
    images = library.open_source("photos").images(torch.arange(6)).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.mean, backbone.std))
    with torch.no_grad():
        wanted = backbone((images - mean) / std)
    found = torch.tensor(pq.read_table("a.parquet")["embedding"].to_pylist())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_an_evaluation_writes_what_it_prints(workplace, trained):
    images_in(workplace / "pets", 40, classes=("cat", "dog"))
    several = ("--holdout", 0.25, "--set", "k=1,5,200")
    ended = viewkin("evaluate", "knn", trained, "pets", *several, "--out", "x.json")
    assert ended.code == 0, ended.err
    results = json.loads((workplace / "x.json").read_text())
    assert all(list(result["values"]) == ["knn@1", "knn@5", "knn@200"] for result in results)
    assert all(f"{value:.2f}" in ended.out for result in results for value in result["values"].values())
    assert results[-1]["settings"]["k"] == [1, 5, 200]
    assert "Note: k = 200 is more than the 30 reference images" in ended.out
    for protocol, first in (("linear", "linear top-1"), ("mlp", "mlp top-1")):
        brief = ("--holdout", 0.25, "--set", "epochs=1", "--no-baselines", "--out", "y.json")
        alone = viewkin("evaluate", protocol, trained / "backbone.safetensors", "pets", *brief)
        assert alone.code == 0, alone.err
        results = json.loads((workplace / "y.json").read_text())
        assert [result["model"].split(",")[0] for result in results] == ["chance", "backbone"]
        assert all(next(iter(result["values"])) == first for result in results)
    assert "evaluation-knn-backbone.json" not in files_of(trained)


def test_a_killed_run_has_a_backbone_already(workplace, trained):
    images_in(workplace / "photos", 6)
    shutil.copytree(trained, "run")
    (workplace / "run" / "backbone.safetensors").unlink()
    assert viewkin("embed", "run", "photos", "--out", "a.parquet").code == 0


def stopped(ended, *words: str) -> None:
    """A run that ended by itself: one line, exit code 1."""
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert all(word in ended.err for word in words)
    assert "Traceback" not in ended.out


def test_a_rate_that_is_too_high_stops_the_run_and_keeps_the_last_good_checkpoint(workplace):
    ended = viewkin("train", DATA, *TINY, "--set", "optim.name=sgd", "--set", "optim.lr=1e30", "--out", "run")
    stopped(ended, "NaN or infinite at step", "run/last.ckpt", "optim.lr")
    assert all(v.isfinite().all() for v in checkpoint_of(workplace / "run").values() if isinstance(v, torch.Tensor))
    images_in(workplace / "photos", 6)
    assert viewkin("embed", "run", "photos", "--out", "a.parquet").code == 0


def test_a_poisoned_step_keeps_the_checkpoint_before_it(workplace, monkeypatch):
    forward, calls = SimCLR.forward, []

    def poisoned(self, batch, at):
        calls.append(at.step)
        found = forward(self, batch, at)
        return found if at.step < 6 else type(found)({"bad": found.loss * torch.nan}, found.pairs, found.record)

    monkeypatch.setattr(SimCLR, "forward", poisoned)
    saves = ("--set", "runtime.checkpoint_steps=1", "--set", "runtime.log_every=1")
    ended = viewkin("train", DATA, *TINY, *saves, "--out", "run")
    stopped(ended, "at step 7", "of step 6")
    assert calls == list(range(7))
    state = checkpoint_of(workplace / "run")
    assert state[".progress.step"] == 6
    assert all(v.isfinite().all() for v in state.values() if isinstance(v, torch.Tensor) and v.is_floating_point())
    lines = [
        json.loads(line, parse_constant=pytest.fail) for line in Path("run/metrics.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == list(range(1, 7))


@pytest.mark.parametrize("error", [UserError("It cannot start; do something else."), SystemExit(2)])
def test_a_run_that_never_began_leaves_no_directory_and_touches_no_other_file(workplace, monkeypatch, error):
    def start(self, encode, at):
        raise error

    monkeypatch.setattr(SimCLR, "start", start)
    assert viewkin("train", DATA, *TINY, "--out", "run").code == 2
    assert not (workplace / "run").exists()
    (workplace / "mine").mkdir()
    (workplace / "mine" / "notes.txt").touch()
    assert viewkin("train", DATA, *TINY, "--out", "mine").code == 2
    assert (workplace / "mine" / "notes.txt").exists()
    monkeypatch.undo()
    monkeypatch.chdir(workplace)
    assert viewkin("train", DATA, *TINY, "--out", "mine").code == 0


def test_a_full_disk_is_one_sentence_and_keeps_the_checkpoint(server, workplace):
    # The limit on a file's size stands for the disk: the checkpoint of step 0 has no optimiser state yet and fits.
    assert viewkin("train", DATA, *TINY, "--out", "small").code == 0
    room = (workplace / "small" / "last.ckpt").stat().st_size - 50_000
    log = workplace / "log"
    child = server.start("train", DATA, *TINY, "--out", "run", cwd=workplace, log=log, VIEWKIN_TEST_FILE_BYTES=room)
    assert server.wait(child) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("error: run/")
    assert "cannot be written" in last
    assert "make room" in last
    assert checkpoint_of(workplace / "run")[".progress.step"] == 0
    assert not list((workplace / "run").glob("*.part"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
