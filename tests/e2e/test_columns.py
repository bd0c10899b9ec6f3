"""Claims about what is said of a set where it cannot be guessed: its columns, and that its labels are not wanted."""

import io
import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import viewkin as library
from boxes import parquet_of_boxes
from commandline import TINY, Ended, viewkin
from viewkin.runtime.errors import UserError

KINDS = ["a", "b", "c"] * 8


def encoded(number: int) -> bytes:
    stream = io.BytesIO()
    blocks = np.random.default_rng(number).integers(0, 255, (4, 4, 3), np.uint8)
    Image.fromarray(np.kron(blocks, np.ones((6, 6, 1), np.uint8))).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def pairs(workplace: Path) -> Path:
    """A set with two columns of images and two of labels, beside which a run on the right one lies."""
    (workplace / "set").mkdir()
    left, right = ([encoded(100 * side + i) for i in range(24)] for side in range(2))
    table = pa.table({"left": left, "right": right, "kind": KINDS, "half": [0, 1] * 12})
    pq.write_table(table, workplace / "set" / "train.parquet")
    return workplace


def refused(ended: Ended, *words: str) -> None:
    assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended
    for word in words:
        assert word in ended.err


def test_flags_name_the_columns_of_a_training_and_of_what_follows(pairs: Path):
    ended = viewkin("train", "set", *TINY, "--out", "run", "--image-column", "right", "--label-column", "kind")
    assert (ended.code, ended.err) == (0, "")
    assert "Labels come from the column kind: 3 classes (a, b, c)." in ended.out
    stored = json.loads(Path("run/recipe.json").read_text())["recipe"]["data"]
    assert (stored["image_column"], stored["label_column"]) == ("right", "kind")
    (advice,) = (line for line in ended.out.splitlines() if line.startswith("Next:"))
    command = shlex.split(advice.removeprefix("Next:"))
    assert viewkin(*command[1:]).code == 0, advice
    refused(viewkin("embed", "run", "set", "--out", "left.parquet"), "several columns of images", "--image-column left")
    refused(
        viewkin("train", "set", "--out", "run", "--resume", "--image-column", "left"), "--image-column would change"
    )
    again = viewkin("train", "set", *TINY, "--out", "again", "--recipe", "run/recipe.json")
    assert again.code == 0, again.err
    assert "Images come from the column right." in again.out


def test_another_column_is_another_set_of_images(pairs: Path, trained: Path):
    embed = ("embed", trained, "set", "--out", "e.parquet", "--image-column")
    assert viewkin(*embed, "right").code == 0
    right = pq.read_table("e.parquet")
    refused(viewkin(*embed, "left"), "holds embeddings of other images", "--overwrite")
    assert viewkin(*embed, "left", "--overwrite").code == 0
    assert not pq.read_table("e.parquet")["embedding"].equals(right["embedding"])
    refused(viewkin(*embed, "up", "--overwrite"), "no column 'up'")


def test_embeddings_without_labels(pairs: Path, trained: Path):
    flags = ("--image-column", "right", "--label-column", "kind")
    assert viewkin("embed", trained, "set", *flags, "--out", "with.parquet").code == 0
    assert pq.read_table("with.parquet")["class_name"].to_pylist() == KINDS
    assert viewkin("embed", trained, "set", *flags, "--no-labels", "--out", "without.parquet").code == 0
    assert {"label", "class_name"}.isdisjoint(pq.read_table("without.parquet").column_names)


def test_an_evaluation_takes_the_columns_that_are_named(pairs: Path, trained: Path):
    evaluate = ("evaluate", "knn", trained, "set", "--holdout", 0.5, "--no-baselines", "--image-column", "right")
    for column, chance in (("kind", 100 / 3), ("half", 50)):
        ended = viewkin(*evaluate, "--label-column", column, "--out", f"{column}.json")
        assert (ended.code, ended.err) == (0, "")
        (result, *_) = json.loads(Path(f"{column}.json").read_text())
        assert result["model"] == "chance"
        assert next(iter(result["values"].values())) == pytest.approx(chance)
    refused(viewkin(*evaluate, "--label-column", "colour", "--out", "x.json"), "no column 'colour'")


def test_python_takes_the_same(pairs: Path, trained: Path):
    rows = library.embed(trained, "set", image_column="right", label_column="kind")
    assert rows.classes == ("a", "b", "c")
    assert library.embed(trained, "set", image_column="right", labels=False).labels is None
    (result, *_) = library.evaluate(
        "knn", trained, "set", image_column="right", label_column="half", holdout=0.5, baselines=False, save=False
    )
    assert next(iter(result.values.values())) == pytest.approx(50)
    tiny = {"smoke": True, "epochs": 1, "batch_size": 16, "image_size": 16}
    for name, given in (
        ("a", {"image_column": "right", "labels": False}),
        ("b", {"settings": {"data.image_column": "right", "data.labels": False}}),
    ):
        data = library.train("set", out=name, **tiny, **given).settings.recipe.data
        assert (data.image_column, data.labels) == ("right", False)
    with pytest.raises(UserError, match=r"is made already: give image_column='right' to Dataset\(...\)"):
        library.embed(trained, library.Dataset("set", image_column="left"), image_column="right")
    assert len(library.embed(trained, library.Dataset("set", image_column="left"), image_column="left").keys) == 24


def test_detection_takes_the_column_of_images_and_a_set_from_python(workplace: Path, trained: Path):
    parquet_of_boxes(workplace / "cells.parquet", {"train": 2, "test": 1})
    table = pq.read_table("cells.parquet")
    pq.write_table(table.append_column("other", table["image"]), "cells.parquet")
    quick = {"iterations": 1, "precise": 0, "batch_size": 2, "train_sides": (32,), "test_side": 32, "longest": 48}
    small = {**quick, "anchors": (16,), "proposals": 8, "regions": 4}
    for images in ("cells.parquet", library.Dataset("cells.parquet")):
        (result,) = library.evaluate("detection", trained, images, settings=small, baselines=False, save=False)
        assert result.data == "cells.parquet: 2 train, 1 test"
    settings = [part for name in small for part in ("--set", f"{name}={str(small[name]).strip('(,)')}")]
    detect = ("evaluate", "detection", trained, "cells.parquet", *settings, "--no-baselines", "--out", "x.json")
    assert viewkin(*detect, "--image-column", "other").code == 0
    refused(viewkin(*detect, "--image-column", "up"), "no column 'up'")
    refused(viewkin(*detect, "--label-column", "labels"), "leave out --label-column")
    with pytest.raises(UserError, match="give the path of a folder or a Parquet file"):
        library.evaluate("detection", trained, [np.zeros((8, 8, 3), np.uint8)], save=False)


@pytest.mark.parametrize("name", ["caf\udce9", "two words", "a\x1b[31mb'\\", "über"])
def test_the_next_command_works_in_a_shell(workplace: Path, name: str):
    (workplace / name).mkdir()
    for i in range(16):
        (workplace / name / f"{i}.png").write_bytes(encoded(i))
    ended = viewkin("train", name, *TINY)
    assert ended.code == 0, ended.err
    (advice,) = (line for line in ended.out.splitlines() if line.startswith("Next:"))
    shell = ["bash", "-c", f"printf '%s\\0' {advice.removeprefix('Next:').strip()}"]
    words = subprocess.run(shell, capture_output=True, check=True).stdout
    command = [word.decode("utf-8", "surrogateescape") for word in words.split(b"\0")[:-1]]
    again = viewkin(*command[1:])
    assert again.code == 0, again.err
