"""Every recipe runs from end to end, shrunk, on data of its layout."""

import io
import json
import shutil

import pytest
from rich.console import Console

from commandline import images_in, metrics_of, viewkin
from layouts import cifar_in, stl_in
from viewkin.cli.output import show_training
from viewkin.commands.train import train
from viewkin.recipes.catalogue import RECIPES
from viewkin.runs.resolve import TrainRequest
from viewkin.settings import setting_paths

ARCHIVES = ("cifar100", "cifar10", "stl10")
FOLDERS = ("imagenet", "cub", "cars", "photos", "moco", "svhn")
WIDE = ("dim", "hidden", "outputs", "predictor_hidden", "prototypes")
"""Widths of heads."""


def narrow(recipe: str) -> list[str]:
    """Settings that shrink the widest heads: three layers of 8,192 and their momentum take 1.6 GB in a checkpoint."""
    given = setting_paths(RECIPES[recipe]().method)
    return [
        f"method.{path}=64" for path, value in given.items() if path.rpartition(".")[2] in WIDE and (value or 0) > 1024
    ]


@pytest.fixture(autouse=True)
def room(workplace):
    """Leave no run behind: those of all recipes take gigabytes together."""
    yield
    shutil.rmtree(workplace / "run", ignore_errors=True)


def ran(workplace, recipe: str, printed: str) -> None:
    """A run of this recipe ended whole."""
    assert "naming one of" in printed
    assert json.loads((workplace / "run" / "recipe.json").read_text())["recipe"]["name"] == recipe
    losses = [line["loss"] for line in metrics_of(workplace / "run")]
    assert losses
    assert all(isinstance(loss, float) for loss in losses)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if not any(kind in name for kind in ARCHIVES)])
def test_a_recipe_for_photographs_runs_on_a_folder_of_classes(workplace, recipe):
    data = "generated:images=64"
    if any(kind in recipe for kind in FOLDERS):
        images_in(workplace / "set" / "train", 64, size=(60, 45), classes=("n01", "n02", "n03"))
        images_in(workplace / "set" / "val", 24, size=(40, 50), classes=("n01", "n02", "n03"))
        data = "set"
    else:
        assert recipe in ("demo",), "say of which layout the recipe's data are"
    settings = [word for setting in narrow(recipe) for word in ("--set", setting)]
    ended = viewkin("train", data, "--recipe", recipe, "--smoke", "--out", "run", "--epochs", 1, *settings)
    assert (ended.code, ended.err) == (0, "")
    ran(workplace, recipe, ended.out)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if any(kind in name for kind in ARCHIVES)])
def test_a_recipe_for_an_archive_runs_on_its_files(workplace, recipe, monkeypatch):
    taught, judged = [1 + number % 3 for number in range(64)], [1, 2, 3] * 4
    if "stl10" in recipe:
        data = stl_in(workplace, monkeypatch, taught, 32, judged)
    else:
        data = cifar_in(workplace, monkeypatch, taught, judged, hundred="cifar100" in recipe)
    console = Console(file=io.StringIO(), width=200)
    request = TrainRequest(
        data=str(data), recipe=recipe, smoke=True, out=workplace / "run", epochs=1, settings=tuple(narrow(recipe))
    )
    training = train(request)
    assert training.finished
    show_training(console, training)
    ran(workplace, recipe, console.file.getvalue())
