"""Claims about the Python API: the same numbers as the command line, values back, nothing printed."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import viewkin
from commandline import TINY, images_in
from commandline import viewkin as viewkin_command
from viewkin.collection.embeddings import read_embeddings

SMALL = {"runtime.threads": 1, "data.batch_size": 16}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with ``photos/``, photographs of two classes, as the working directory."""
    folder = tmp_path_factory.mktemp("python")
    images_in(folder / "photos", 48, size=(40, 48), classes=("cat", "dog"))
    before, cache = Path.cwd(), os.environ.get("VIEWKIN_CACHE")
    os.environ["VIEWKIN_CACHE"] = str(folder / "cache")
    os.chdir(folder)
    yield folder
    os.chdir(before)
    os.environ.pop("VIEWKIN_CACHE")
    if cache is not None:
        os.environ["VIEWKIN_CACHE"] = cache


@pytest.fixture(scope="module")
def run(place):
    return viewkin.train("photos/", smoke=True, epochs=2, image_size=16, settings=SMALL, out="runs/mine")


def paths() -> list[str]:
    return sorted(path.as_posix() for path in Path("photos").rglob("*.*"))


def test_python_trains_the_same_bits_as_the_command_line(run, place):
    done = viewkin_command("train", "photos/", *TINY, "--set", "runtime.threads=1", "--out", "runs/command")
    assert done.code == 0, done.err
    mine, command = (torch.load(f"runs/{name}/last.ckpt", weights_only=True)["method"] for name in ("mine", "command"))
    assert mine.keys() == command.keys()
    assert all(torch.equal(value, command[name]) for name, value in mine.items())


def test_python_prints_nothing(run, capfd):
    viewkin.train("photos/", smoke=True, epochs=1, image_size=16, settings=SMALL)
    run.embed("photos/")
    viewkin.evaluate("knn", run, holdout=0.3)
    viewkin.plot.neighbours(run, queries=2)
    assert capfd.readouterr() == ("", "")


def test_a_run_says_what_it_is(run):
    assert run.finished
    assert run.settings.images == 48
    text, html = repr(run), run._repr_html_()
    for shown in (text, html):
        assert "48 of photos/" in shown
        assert "2 of 2" in shown
    assert "report.html" in html
    assert run.log[-1]["step"] == 6
    assert viewkin.open_run("runs/mine").recipe == run.recipe
    assert [result.protocol for result in run.results] == ["knn"] * len(run.results)


def test_embeddings_are_those_of_the_command_line(run):
    mine = run.embed("photos/", out="mine.parquet")
    done = viewkin_command("embed", "runs/mine", "photos/", "--out", "command.parquet")
    assert done.code == 0, done.err
    for file in ("mine.parquet", "command.parquet"):
        stored = read_embeddings(file)
        assert torch.equal(stored.embeddings, mine.embeddings)
        assert stored.keys == mine.keys
        assert stored.classes == mine.classes == ("cat", "dog")
    assert "48 images" in repr(mine)


def test_one_image_is_enough_and_has_the_row_that_it_has_in_its_folder(run):
    every = run.embed("photos/")
    for image in (Path(paths()[5]), Image.open(paths()[5]), np.asarray(Image.open(paths()[5]).convert("RGB"))):
        one = run.embed(image)
        assert one.embeddings.shape == (1, every.embeddings.shape[1])
        torch.testing.assert_close(one.embeddings[0], every.embeddings[5], atol=1e-5, rtol=0)


def test_a_list_keeps_its_order(run):
    every = run.embed("photos/", normalise=False)
    order = [30, 2, 17]
    some = run.embed([paths()[i] for i in order], normalise=False)
    torch.testing.assert_close(some.embeddings, every.embeddings[order], atol=1e-5, rtol=0)
    mixed = run.embed([Image.open(paths()[30]), paths()[2], Path(paths()[17])], normalise=False)
    torch.testing.assert_close(mixed.embeddings, some.embeddings, atol=1e-5, rtol=0)


def test_a_backbone_takes_images_as_people_have_them(run):
    backbone = viewkin.load_backbone("runs/mine")
    views = backbone.preprocess([paths()[4], Image.open(paths()[9])])
    assert views.shape == (2, 3, 16, 16)
    assert views.dtype == torch.float32
    rows = backbone.embed([paths()[4], paths()[9]])
    assert not rows.requires_grad
    torch.testing.assert_close(backbone(views).detach(), rows, atol=1e-5, rtol=0)
    torch.testing.assert_close(run.embed("photos/", normalise=False).embeddings[[4, 9]], rows, atol=1e-5, rtol=0)
    assert isinstance(backbone, torch.nn.Module)
    assert not backbone.training
    assert "16 px" in repr(backbone)
    (backbone(views) ** 2).sum().backward()  # it can be trained further
    assert all(weight.grad is not None for weight in backbone.parameters())


def test_a_backbone_leaves_no_image_out_in_silence(run, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    backbone = viewkin.load_backbone("runs/mine")
    for call in (backbone.preprocess, backbone.embed):
        with pytest.raises(viewkin.UserError, match=r"1 image cannot be read, such as .*broken\.png"):
            call([paths()[0], broken])


def test_results_are_a_table(run):
    results = viewkin.evaluate("knn", run, "photos/", holdout=0.25, settings={"k": (3, 5)})
    assert [result.model.partition(",")[0] for result in results] == ["chance", "raw pixels", "untrained", "backbone"]
    assert set(results[-1].values) == {"knn@3", "knn@5"}
    assert "knn@3" in repr(results)
    assert results._repr_html_().count("<tr>") == 5
    assert "knn@5" in repr(results[-1])
    assert (run.path / "evaluation-knn-backbone.json").is_file()
    lines = viewkin.compare(run, "runs/mine")
    assert {line.measure for line in lines} >= {"knn@3", "knn@5"}
    assert "knn@3" in repr(lines)
    assert "knn@3" in lines._repr_html_()


def test_a_model_that_is_no_run_gets_no_file_unless_asked(run, place, tmp_path):
    file = tmp_path / "backbone.safetensors"
    file.write_bytes((run.path / "backbone.safetensors").read_bytes())
    viewkin.evaluate("knn", file, "photos/", holdout=0.25, baselines=False)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("figure", ["map", "neighbours", "similarities", "curves", "ablation"])
def test_figures_are_matplotlibs(run, figure):
    from matplotlib.figure import Figure

    options = {"ablation": {"setting": "method.temperature"}, "neighbours": {"untrained": True, "queries": 2}}
    before = sorted(run.path.iterdir())
    drawn = getattr(viewkin.plot, figure)(run, **options.get(figure, {}))
    assert isinstance(drawn, Figure)
    assert sorted(run.path.iterdir()) == before  # nothing is written


def test_images_in_memory_can_be_trained_on(place):
    pictures = [Image.open(path) for path in paths()]
    run = viewkin.train(pictures, smoke=True, epochs=1, image_size=16, settings=SMALL, out="runs/memory")
    assert run.finished
    assert run.settings.images == 48
    assert run.settings.address is None
    with pytest.raises(viewkin.UserError, match="48 images"):
        run.embed()
    assert len(run.embed(pictures)) == 48


def test_a_stopped_run_goes_on_from_python(place):
    whole = viewkin.train("photos/", smoke=True, epochs=2, image_size=16, settings=SMALL, out="runs/whole")
    before = torch.load("runs/whole/last.ckpt", weights_only=True)["method"]
    again = whole.resume()
    after = torch.load("runs/whole/last.ckpt", weights_only=True)["method"]
    assert again.finished
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: viewkin.train("fotos/"), "There is no fotos/"),
        (lambda: viewkin.train("photos/", recipe="simclr_cifar11"), "did you mean"),
        (lambda: viewkin.train("photos/", settings={"method.temprature": 1}), "method.temperature"),
        (lambda: viewkin.open_run("photos"), "recipe.json"),
        (lambda: viewkin.embed("runs/none", "photos/"), "runs/none"),
        (lambda: viewkin.load_backbone("photos"), "There is no backbone at"),
        (lambda: viewkin.evaluate("knm", "runs/mine", "photos/"), "knn"),
        (lambda: viewkin.compare("photos"), "recipe.json"),
        (lambda: viewkin.embed("runs/mine", []), "image"),
        (lambda: viewkin.embed("runs/mine", [3]), "Images cannot"),
        (lambda: viewkin.embed("runs/mine", np.zeros((4, 4), np.float64)), "uint8"),
    ],
)
def test_bad_input_is_one_sentence(run, call, said):
    with pytest.raises(viewkin.UserError, match=said) as refusal:
        call()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "command",
    [
        ("train", "photos/", *TINY, "--out", "runs/counted"),
        ("embed", "runs/mine", "photos/", "--out", "counted.parquet"),
        ("evaluate", "knn", "runs/mine", "photos/", "--holdout", "0.3", "--no-baselines"),
        ("figures", "neighbours", "runs/mine", "--data", "photos/", "--out", "counted.png"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_lists_its_images_once(run, command, monkeypatch):
    from viewkin.cli import main

    listed: Counter[str] = Counter()
    scandir = os.scandir

    def counted(path="."):
        listed[os.path.realpath(os.fspath(path))] += 1
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    with pytest.raises(SystemExit) as done:
        main([str(part) for part in command])
    assert done.value.code in (0, None)
    for folder in ("photos", "photos/cat", "photos/dog"):
        assert listed[os.path.realpath(folder)] == 1, (folder, listed)
