"""Claims about collections as a new user meets them: train, embed, change the folder, embed again, search."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import viewkin as library
from collected import picture, pictures
from commandline import TINY, viewkin
from viewkin.collection.manifest import newest
from viewkin.encode import image_vectors
from viewkin.runtime.errors import UserError

CLASSES = ("cat", "dog")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
LOOK = """<script>addEventListener("load", () => {
  document.body.dataset.seen = [...document.images].map(e => e.naturalWidth).join();
});</script>"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder of photos, a run trained on it from earlier weights, and its collection; read only."""
    place = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIEWKIN_CACHE", str(place / "cache"))
        patch.chdir(place)
        pictures(Path("photos"), range(100), CLASSES)
        for options in (["--out", "weights"], ["--init", "weights", "--out", "run"]):
            ended = viewkin("train", "photos", *TINY, *options)
            assert ended.code == 0, ended.err
        ended = viewkin("embed", "run", "photos", "--to", "photos.collection")
        assert (ended.code, ended.err) == (0, "")
        assert (
            "photos.collection: 100 images: 100 computed, 0 kept, 0 renamed, 0 changed, 0 gone, 0 left out" in ended.out
        )
    return place


@pytest.fixture
def here(shop, tmp_path, monkeypatch):
    """A copy of all of it to work in."""
    for name in ("photos", "photos.collection"):
        shutil.copytree(shop / name, tmp_path / name)
    (tmp_path / "run").symlink_to(shop / "run")
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    viewkin("embed", "run", "photos", "--to", "photos.collection")  # the place of the copy
    return tmp_path


@pytest.fixture
def encoded(monkeypatch):
    """Counts the images that a network encodes."""
    seen = []
    original = image_vectors.encode_block

    def spy(model, images, device):
        block = original(model, images, device)
        seen.extend(block.positions)
        return block

    monkeypatch.setattr(image_vectors, "encode_block", spy)
    return seen


def test_a_folder_that_grows_is_computed_only_where_it_grew_and_a_reencoded_copy_is_found_first(here, encoded):
    pictures(Path("photos"), range(100, 150), CLASSES)
    for number in range(10):
        old = Path("photos") / CLASSES[number % 2] / f"{number:03d}.jpg"
        old.rename(old.with_name(f"renamed-{number}.jpg"))
    for number in range(10, 15):
        (Path("photos") / CLASSES[number % 2] / f"{number:03d}.jpg").unlink()
    ended = viewkin("embed", "run", "photos", "--to", "photos.collection")
    assert ended.code == 0, ended.err
    assert len(encoded) == 50
    counts = "145 images: 50 computed, 85 kept, 10 renamed, 0 changed, 5 gone, 0 left out"
    assert f"photos.collection: {counts}" in ended.out
    Image.open("photos/cat/120.jpg").resize((60, 45)).save("copy.jpg", quality=60)
    ended = viewkin("search", "photos.collection", "copy.jpg", "-k", "3", "--json")
    assert ended.code == 0, ended.err
    matches = json.loads(ended.out)
    assert matches[0]["key"] == "cat/120.jpg"
    assert matches[0]["similarity"] > 0.98
    assert [match["rank"] for match in matches] == [1, 2, 3]


def test_embeddings_are_those_of_a_file(here):
    viewkin("embed", "run", "photos", "--out", "photos.parquet")
    table, held = library.read_embeddings("photos.parquet"), library.open_collection("photos.collection")
    row = {key: place for place, key in enumerate(held.keys)}
    order = [row[key] for key in table.keys]
    torch.testing.assert_close(held.embeddings[order], table.embeddings, atol=2e-3, rtol=0)


def test_python_embeds_what_is_new(here, encoded):
    pictures(Path("photos"), range(100, 103), CLASSES)
    held = library.embed("run", "photos", to="photos.collection")
    assert len(encoded) == 3
    assert len(held) == len(held.keys) == len(held.embeddings) == 103
    assert any("3 computed, 100 kept" in note for note in held.notes)


def test_a_collection_shows_itself_in_python(here):
    held = library.open_collection("photos.collection")
    assert held.table()["key"].to_pylist() == held.keys
    assert "embedding" not in held.table(embeddings=False).column_names
    assert "of photos of 2 classes" in repr(held)
    assert "photos.collection" in held._repr_html_()


def test_a_path_a_picture_an_array_and_a_key_ask_the_same(here):
    held, path = library.open_collection("photos.collection"), "photos/cat/004.jpg"
    by_path = held.search(Path(path), k=5)
    assert by_path.keys[0] == "cat/004.jpg"
    assert held.search("cat/004.jpg", k=4).keys == by_path.keys[1:]
    assert held.search(Image.open(path), k=5).keys == by_path.keys
    assert held.search([np.asarray(Image.open(path))], k=5).keys == by_path.keys
    assert len(held.search(["cat/004.jpg", "dog/005.jpg"], k=2).queries) == 2


def test_matches_show_themselves_in_python(here):
    found = library.open_collection("photos.collection").search("cat/004.jpg", k=3, where={"label": "dog"})
    assert {match.class_name for match in found} == {"dog"}
    assert found.table()["key"].to_pylist() == found.keys
    assert found._repr_html_().count("data:image/jpeg;base64,") == 4
    assert "similarity" in repr(found)
    assert isinstance(found[0], library.Match)


def test_examples_and_counter_examples_make_one_query(here):
    held = library.open_collection("photos.collection")
    rows = dict(zip(held.keys, held.embeddings.numpy()))
    keys = {"like": ["cat/004.jpg", "cat/006.jpg"], "unlike": ["dog/005.jpg"]}
    found = held.search(**keys, k=6)
    wanted = (rows["cat/004.jpg"] + rows["cat/006.jpg"]) / 2 - rows["dog/005.jpg"]
    others = {key: float(row @ wanted) for key, row in rows.items() if key not in [*keys["like"], *keys["unlike"]]}
    assert found.keys == sorted(others, key=others.__getitem__, reverse=True)[:6]
    ended = viewkin(
        "search", "photos.collection", "--like", *keys["like"], "--not", *keys["unlike"], "-k", "6", "--json"
    )
    assert [match["key"] for match in json.loads(ended.out)] == found.keys
    assert {match["query"] for match in json.loads(ended.out)} == {"cat/004.jpg + cat/006.jpg - dog/005.jpg"}


def test_several_queries_and_a_folder_are_searched_at_once(here):
    pictures(Path("new"), range(300, 304))
    ended = viewkin("search", "photos.collection", "new", "cat/004.jpg", "-k", "2", "--out", "m.parquet")
    assert ended.code == 0, ended.err
    table = pq.read_table("m.parquet").to_pylist()
    assert [row["query"] for row in table[::2]] == [*(f"new/{n}.jpg" for n in range(300, 304)), "cat/004.jpg"]
    assert "Written to m.parquet" in ended.out
    assert "new/300.jpg" in ended.out


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        (["label=cat"], lambda row: row["class_name"] == "cat"),
        (["folder=dog"], lambda row: row["key"].startswith("dog/")),
        (["split=train", "width>=40"], lambda row: row["split"] == "train"),
    ],
)
def test_matches_meet_the_conditions(here, where, fits):
    ended = viewkin("search", "photos.collection", "cat/004.jpg", "--where", *where, "--json")
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)
    assert len(rows) == 10
    assert all(map(fits, rows))


def test_a_key_needs_no_model_and_a_moved_one_is_named(here, shop):
    (here / "run").unlink()
    assert viewkin("search", "photos.collection", "cat/004.jpg").code == 0
    picture(Path("query.jpg"), 77)
    ended = viewkin("search", "photos.collection", "query.jpg")
    assert ended.code == 2
    assert re.search(
        r"error: The model of photos.collection was at .*run and is not there; say where .* --model", ended.err
    )
    ended = viewkin("search", "photos.collection", "query.jpg", "--model", shop / "run" / "backbone.safetensors")
    assert ended.code == 0, ended.err


def test_another_model_is_refused_by_embed_and_search(here, trained):
    picture(Path("query.jpg"), 77)
    for command in (("embed", trained, "photos", "--to"), ("search", "--model", trained)):
        arguments = (
            [command[0], "photos.collection", "query.jpg", *command[1:]]
            if command[0] == "search"
            else [*command, "photos.collection"]
        )
        ended = viewkin(*arguments)
        assert ended.code == 2
        assert re.search(
            r"error: photos.collection holds vectors of another model, run \(backbone, \w{8}\), and not of", ended.err
        )
        assert "use that model, or name another collection." in ended.err
        assert ended.err.count("\n") == 1


def test_files_of_matches_hold_the_same(here):
    for ending in ("csv", "parquet", "json"):
        ended = viewkin("search", "photos.collection", "cat/004.jpg", "-k", "4", "--out", f"m.{ending}")
        assert ended.code == 0, ended.err
    rows = json.loads(Path("m.json").read_text())
    assert pq.read_table("m.parquet").to_pylist() == rows
    with Path("m.csv").open(newline="") as file:
        assert [row["key"] for row in csv.DictReader(file)] == [row["key"] for row in rows]
    assert [Path(row["path"]).is_file() for row in rows] == [True] * 4


@pytest.mark.skipif(BROWSER is None, reason="needs the browser Chromium")
def test_the_page_shows_every_picture_in_a_browser_without_a_network(here):
    evil = "<img src=x onerror=alert(1)>&'\".jpg"
    shutil.copy("photos/cat/004.jpg", Path("photos/dog") / evil)
    assert "1 copied" in viewkin("embed", "run", "photos", "--to", "photos.collection").out
    picture(Path("query.jpg"), 4)
    ended = viewkin("search", "photos.collection", "query.jpg", "dog/005.jpg", "-k", "8", "--out", "m.html")
    assert ended.code == 0, ended.err
    page = Path("m.html").read_text()
    assert "<img src=x" not in page
    Path("look.html").write_text(re.sub(r"<meta http-equiv[^>]*>", LOOK, page))
    command = [BROWSER, *FLAGS, "--dump-dom", f"file://{here}/look.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    widths = re.search(r'data-seen="([\d,]*)"', done.stdout)[1].split(",")
    assert len(widths) == 2 * 9
    assert min(map(int, widths)) > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.jpg"], "nothing.jpg is no key of photos.collection and no file"),
        (["004.jpg"], "did you mean cat/004.jpg?"),
        (["broken.jpg"], "broken.jpg cannot be read (not an image that Pillow can read): name another image."),
        (["empty"], "empty holds no image files"),
        ([], "Nothing to search for: name an image, a folder, or a key"),
        (["--not", "cat/004.jpg"], "Counter-examples need examples beside them"),
        (["--like", "cat/004.jpg", "--not", "cat/004.jpg"], "cancel out"),
        (["cat/004.jpg", "-k", "0"], "k is 0; it must be at least 1."),
        (["cat/004.jpg", "--where", "colour=red"], "There is no column 'colour' to filter by"),
        (["cat/004.jpg", "--where", "label=cow"], "No image meets label=cow; there are cat, dog."),
        (["cat/004.jpg", "--out", "m.txt"], "--out m.txt must end in .csv, .parquet, .json or .html."),
        (["cat/004.jpg", "--out", "none/m.csv"], "must be a file in a folder that exists"),
        (["cat/004.jpg", "--index", "tree"], "The index is 'tree'; it must be one of"),
        (["cat/004.jpg", "--model", "none"], "none"),
    ],
)
def test_a_bad_search_is_one_sentence(here, arguments, said):
    Path("broken.jpg").write_bytes(b"no image")
    Path("empty").mkdir()
    ended = viewkin("search", "photos.collection", *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert ended.out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Say where the embeddings go: --out FILE for a file, or --to DIR for a collection."),
        (["--to", "c", "--no-normalise"], "A collection keeps rows of length 1"),
        (["--out", "e.parquet", "--half"], "--half is for a collection"),
        (["--to", "photos"], "--to photos is the folder of the images"),
        (["--to", "run"], "run exists and is no collection"),
        (["--to", "photos.collection", "--half"], "photos.collection holds numbers of float32"),
        (["--to", "photos.collection", "--split", "test"], "has no test split"),
        (["--to", "photos.collection", "--features", "embedding"], "another model, run (backbone,"),
    ],
)
def test_a_bad_embedding_is_one_sentence(here, arguments, said):
    before = newest(here / "photos.collection")
    ended = viewkin("embed", "run", "photos", *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert newest(here / "photos.collection") == before


def test_no_collection_is_one_sentence(here):
    ended = viewkin("search", "photos", "cat/004.jpg")
    assert (ended.code, ended.err) == (
        2,
        "error: photos is no collection: make one by `viewkin embed MODEL IMAGES --to photos`.\n",
    )
    with pytest.raises(UserError, match="is no collection"):
        library.open_collection("nowhere")


def test_fewer_images_than_asked_for_are_all_found_and_that_is_said(here):
    ended = viewkin("search", "photos.collection", "cat/004.jpg", "-k", "1000")
    assert ended.code == 0
    assert "There are only 99 images to find, fewer than the 1000 asked for." in ended.out


def test_a_damaged_part_is_told_by_search_and_mended_by_embed(here, encoded):
    (part,) = newest(here / "photos.collection").parts
    path = here / "photos.collection" / "parts" / part.name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    ended = viewkin("search", "photos.collection", "cat/004.jpg")
    assert ended.code == 2
    assert "is damaged (its checksum does not match): run the same `viewkin embed` again" in ended.err
    ended = viewkin("embed", "run", "photos", "--to", "photos.collection")
    assert "its 100 images are computed anew" in ended.out
    assert len(encoded) == 100
    assert viewkin("search", "photos.collection", "cat/004.jpg").code == 0


def test_a_collection_on_a_read_only_place_can_be_searched(here, monkeypatch):
    monkeypatch.setattr("viewkin.collection.update.os.access", lambda _, mode: not mode & os.W_OK)
    ended = viewkin("embed", "run", "photos", "--to", "photos.collection")
    assert (ended.code, ended.err) == (
        2,
        "error: photos.collection cannot be written: choose a place that you may write to.\n",
    )
    for folder, _, files in os.walk("photos.collection"):
        for name in [folder, *(os.path.join(folder, file) for file in files)]:  # noqa: PTH118
            Path(name).chmod(0o500 if Path(name).is_dir() else 0o400)
    assert viewkin("search", "photos.collection", "cat/004.jpg").code == 0
    for folder, _, _ in os.walk("photos.collection"):
        Path(folder).chmod(0o700)
