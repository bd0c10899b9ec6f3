"""Claims about sets that others wrote: they are read as they are meant, and what was guessed is said."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from commandline import TINY, Ended, viewkin

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(number: int) -> bytes:
    stream = io.BytesIO()
    blocks = np.random.default_rng(number).integers(0, 255, (4, 4, 3), np.uint8)
    Image.fromarray(np.kron(blocks, np.ones((6, 6, 1), np.uint8))).save(stream, "PNG")
    return stream.getvalue()


def images(count: int = 24) -> pa.Array:
    return pa.array([{"bytes": encoded(i), "path": None} for i in range(count)], STRUCT)


def table(path: Path, **columns: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def trained(data: object, *options: object) -> Ended:
    ended = viewkin("train", data, *TINY, "--out", "run", *options)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    return ended


def test_columns_that_cannot_be_guessed_are_set_and_kept_by_the_run(workplace: Path):
    table(workplace / "set" / "train.parquet", left=images(), right=images(), kind=["a", "b", "c"] * 8)
    refused = viewkin("train", "set", *TINY)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert (
        "several columns of images, left and right: name one by --image-column left (setting data.image_column)"
        in refused.err
    )
    ended = trained("set", "--set", "data.image_column=right", "--set", "data.label_column=kind")
    assert "Images come from the column right." in ended.out
    assert "Labels come from the column kind: 3 classes (a, b, c)." in ended.out
    stored = json.loads((workplace / "run" / "recipe.json").read_text())["recipe"]["data"]
    assert (stored["image_column"], stored["label_column"]) == ("right", "kind")
    figure = viewkin("figures", "neighbours", "run", "--out", "page.png")
    assert figure.code == 0, figure.err


def test_labels_of_two_kinds_give_a_sentence_and_no_accuracy(workplace: Path):
    table(workplace / "set" / "train.parquet", image=images(), label=[0, 1, 2] * 8)
    table(workplace / "set" / "test.parquet", image=images(12), label=["a", "b", "c"] * 4)
    refused = viewkin("train", "set", *TINY)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert "whole numbers in train.parquet and texts in test.parquet" in refused.err
    assert "accuracy" not in refused.out
    assert "classes" not in trained("set", "--no-labels").out


def test_two_folders_are_said_to_be_classes_and_can_be_ignored(workplace: Path):
    for folder in ("images", "masks"):
        (workplace / "set" / folder).mkdir(parents=True)
        for i in range(12):
            (workplace / "set" / folder / f"{i}.png").write_bytes(encoded(i))
    ended = trained("set", "--no-labels")
    assert "kNN" not in ended.out
    assert not json.loads((workplace / "run" / "recipe.json").read_text())["recipe"]["data"]["labels"]
    again = viewkin("train", "set", *TINY, "--out", "other")
    assert "The folders are taken for 2 classes (images, masks); --no-labels ignores them." in again.out


@pytest.mark.parametrize("given", [False, True])
def test_the_range_of_values_goes_from_training_into_every_use_of_the_backbone(workplace: Path, given: bool):
    random = np.random.default_rng(0)
    for name, top in (("set", 4000), ("darker", 2000)):
        (workplace / name).mkdir()
        for i in range(24):
            coarse = random.integers(0, top, (4, 4)).astype(np.uint16)
            Image.fromarray(np.kron(coarse, np.ones((6, 6), np.uint16))).save(workplace / name / f"{i}.png")
    ended = trained("set", *(["--set", "data.value_range=0,8000"] if given else []))
    assert "Images of more than 8 bits: the values" in ended.out
    low, high = json.loads((workplace / "run" / "recipe.json").read_text())["recipe"]["data"]["value_range"]
    assert (low, high) == (0, 8000) if given else (low < 100 and 3800 < high < 4000)
    embedded = viewkin("embed", "run/backbone.safetensors", "darker", "--out", "e.parquet")
    assert embedded.code == 0, embedded.err
    assert f"the values {low:g} to {high:g} become black to white" in embedded.out
    resumed = viewkin("train", "set", "--out", "run", "--resume")
    assert resumed.code == 0, resumed.err


@pytest.mark.usefixtures("no_heif")
def test_what_is_left_out_is_said_by_the_run_and_images_without_an_ending_are_read(workplace: Path):
    (workplace / "set").mkdir()
    for i in range(24):
        (workplace / "set" / f"{i:032x}").write_bytes(encoded(i))
    for i in range(4):
        (workplace / "set" / f"IMG_{i}.HEIC").write_bytes(b"\0" * 100)
    ended = trained("set")
    assert "4 .heic files: install pillow-heif (IMG_0.HEIC, IMG_1.HEIC, IMG_2.HEIC, ...)." in ended.out
    assert "on 24 images of set" in ended.out
    assert "No labels and no splits: every image is for training." in ended.out


def test_a_set_as_detectors_want_it_has_its_splits_and_no_classes(workplace: Path):
    for split, count in (("train", 24), ("val", 6)):
        for i in range(count):
            for folder, content in (("images", encoded(i)), ("labels", b"0 0.5 0.5 0.1 0.1")):
                path = workplace / "set" / folder / split / f"{i}{'.png' if folder == 'images' else '.txt'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    (workplace / "set" / "data.yaml").write_text("names: [cat]")
    ended = trained("set")
    assert "Split train of train (images/train/), val (images/val/), by the names of the folders." in ended.out
    assert "31 other files: not read (.yaml, .txt)." in ended.out
    assert "on 24 images of set" in ended.out
    assert "no splits" not in ended.out
    (workplace / "set" / "images" / "val").rename(workplace / "val")
    alone = viewkin("train", "set", *TINY, "--out", "alone")
    assert "No labels and no other splits: every image is for training." in alone.out
    assert not any(word in ended.out for word in ("classes", "kNN", ".txt (", "0.txt"))


@pytest.mark.parametrize("data", ["", "/proc", "x" * 300, "no\x1b[31mfolder"])
def test_what_is_no_folder_is_one_sentence(workplace: Path, data: str):
    ended = viewkin("train", data, *TINY)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("error: ")
    assert "\x1b" not in ended.err
