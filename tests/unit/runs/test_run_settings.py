"""Claims about recipe.json: numbers beyond any range, and where the images of a run are."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

import viewkin as library
from commandline import TINY, images_in, viewkin
from viewkin.recipes.catalogue import recipe_named
from viewkin.runs.run_settings import RunSettings, read_run_settings, write_settings
from viewkin.runtime.errors import UserError
from viewkin.settings import with_text

PATIENCE = 2.0
"""Processor seconds within which a sentence comes."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a recipe.json holds."""
    place = tmp_path_factory.mktemp("stored")
    write_settings(place, RunSettings(data="photos", images=64, recipe=recipe_named("demo")))
    return json.loads((place / "recipe.json").read_text())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("recipe.schedule.epochs", 10**12),
        ("recipe.schedule.epochs", 99999999999999999999),
        ("recipe.schedule.epochs", -1),
        ("recipe.schedule.rounds", 10**10),
        ("recipe.augment.image_size", 10**9),
        ("recipe.augment.view_size", -16),
        ("recipe.backbone.width", -8),
        ("recipe.seed", 10**30),
        ("recipe.optim.lr", float("inf")),
        ("recipe.optim.weight_decay", float("inf")),
        ("recipe.runtime.workers", 10**9),
        ("recipe.method.temperature", float("inf")),
        ("images", -1),
    ],
)
def test_a_number_beyond_any_range_is_refused_with_its_place(stored, tmp_path, path, value):
    content = json.loads(json.dumps(stored))
    owner = content
    *owners, last = path.split(".")
    for name in owners:
        owner = owner[name]
    owner[last] = value
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    began = time.process_time()
    with pytest.raises(UserError, match=r"recipe\.json"):
        read_run_settings(tmp_path)
    assert time.process_time() - began < PATIENCE


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, json.dumps({"k" * 100_000: 1})])
def test_a_deep_or_huge_recipe_is_one_short_sentence(tmp_path, text):
    (tmp_path / "recipe.json").write_text(text)
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        read_run_settings(tmp_path)
    assert time.process_time() - began < PATIENCE
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "setting",
    ["schedule.epochs=10000000000", "schedule.rounds=99999999999", "optim.lr=1e400", "runtime.workers=99999999999"],
)
def test_a_setting_beyond_any_range_is_refused_by_name(setting):
    with pytest.raises(UserError, match=setting.partition("=")[0]):
        with_text(recipe_named("photos"), setting)


@pytest.mark.parametrize("width", [1_000_000_000, 100_000, 30_000])
def test_a_network_larger_than_the_memory_is_refused_before_it_is_built(workplace, width):
    began = time.process_time()
    width_of = ("--set", f"backbone.width={width}")
    ended = viewkin("train", "generated:images=64", "--smoke", *width_of, "--out", "run")
    assert ended.code == 2
    assert "has more weights than this machine's memory holds; lower backbone.width." in ended.err
    assert time.process_time() - began < 2 * PATIENCE
    assert not Path("run").exists()


@pytest.mark.parametrize(("data", "said"), [("", "is empty"), (" ", "is empty"), ("/proc", "/proc holds no")])
def test_data_that_cannot_be_images_is_refused_at_once(workplace, trained, data, said):
    for command in (("train", data, "--out", "run"), ("embed", trained, data, "--out", "x.parquet")):
        began = time.process_time()
        ended = viewkin(*command)
        assert ended.code == 2
        assert said in ended.err
        assert time.process_time() - began < PATIENCE


# ---------------------------------------------------------------- where the images are


def test_images_are_found_from_any_folder_and_another_set_of_that_name_is_not_taken(tmp_path, monkeypatch):
    images_in(tmp_path / "a" / "photos", 4)
    images_in(tmp_path / "b" / "photos", 5)
    (tmp_path / "c").mkdir()
    address = library.Dataset(tmp_path / "a" / "photos").address
    stored = RunSettings(data="photos", address=address, images=4, recipe=recipe_named("demo"))
    for place, name in (("a", "photos"), ("b", address), ("c", address)):
        monkeypatch.chdir(tmp_path / place)
        found = stored.images_from()
        assert (found.address, found.name) == (address, name)
    # The set has moved: what has its name here is taken, and where nothing has, the sentence says how to name it.
    shutil.rmtree(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "b")
    assert stored.images_from().name == "photos"
    monkeypatch.chdir(tmp_path / "c")
    with pytest.raises(UserError, match=r"no longer at .*a/photos; say where they are now: --data DATA"):
        stored.images_from()


def test_a_run_works_from_another_folder_and_says_how_to_name_images_that_moved(workplace, monkeypatch):
    images_in(workplace / "photos", 24, classes=("cat", "dog"))
    assert viewkin("train", "photos", *TINY, "--recipe", "demo", "--out", "run").code == 0
    (workplace / "run" / "report.html").unlink()
    (workplace / "elsewhere").mkdir()
    monkeypatch.chdir(workplace / "elsewhere")
    run = library.open_run("../run")
    assert len(run.embed().keys) == 24
    assert library.evaluate("knn", run, holdout=0.5, baselines=False, save=False)
    assert viewkin("figures", "neighbours", "../run", "--out", "n.svg").code == 0
    assert run.resume().finished
    (workplace / "photos").rename(workplace / "moved")
    (workplace / "run" / "report.html").unlink()
    for call in (run.embed, run.resume, lambda: library.evaluate("knn", run, holdout=0.5)):
        with pytest.raises(UserError, match=r"no longer at .*/photos; say where they are now"):
            call()
    ended = viewkin("figures", "neighbours", "../run", "--out", "n.svg")
    assert (ended.code, ended.out) == (2, "")
    assert "--data DATA for a figure" in ended.err
    assert run.resume("../moved").finished
    assert viewkin("figures", "neighbours", "../run", "--data", "../moved", "--out", "n.svg").code == 0
