"""Claims about the commands that look at all images of a collection, as a user meets them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

import viewkin as library
from collected import gathered
from commandline import viewkin
from viewkin.collection.marks import MARKS

COMMANDS = {
    "duplicates": (),
    "outliers": (),
    "quality": (),
    "suspects": (),
    "clusters": ("-k", "3"),
    "select": ("-n", "5"),
    "label": (),
}
"""Each command with what it needs."""


def textured(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A picture of shapes, of which no two are alike."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(40, 220, (4, 5, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.array(image)
    for _ in range(30):
        x, y, w, h = *random.integers(0, 64, 2), *random.integers(4, 26, 2)
        pixels[y : y + h, x : x + w] = random.integers(0, 256, 3)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, trained):
    """40 pictures of two classes with planted copies, and their collection by a trained network; read only."""
    place = tmp_path_factory.mktemp("shop")
    photos = place / "photos"
    for number in range(40):
        folder = photos / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        textured(number).save(folder / f"{number:02d}.png")
    for number in (0, 2, 4):
        image = textured(number)
        shutil.copy(photos / "cat" / f"{number:02d}.png", photos / "cat" / f"{number:02d}-exact.png")
        image.save(photos / "cat" / f"{number:02d}-jpeg.jpg", quality=60)
        image.resize((58, 43)).save(photos / "cat" / f"{number:02d}-small.jpg", quality=90)
        image.crop((8, 4, 90, 65)).save(photos / "cat" / f"{number:02d}-crop.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIEWKIN_CACHE", str(place / "cache"))
        patch.chdir(place)
        ended = viewkin("embed", trained, "photos", "--to", "photos.collection")
        assert ended.code == 0, ended.err
    return place


@pytest.fixture
def here(shop, tmp_path, monkeypatch):
    """A copy of it to work in; the images stay where they were."""
    shutil.copytree(shop / "photos.collection", tmp_path / "photos.collection")
    (tmp_path / "photos").symlink_to(shop / "photos")
    monkeypatch.setenv("VIEWKIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(*command: str) -> list[dict[str, object]]:
    ended = viewkin(*command, "--json")
    assert (ended.code, ended.err) == (0, "")
    return json.loads(ended.out)


def groups(rows: list[dict[str, object]], *kinds: str) -> list[set[object]]:
    found: dict[object, set[object]] = {}
    for row in rows:
        if row["kind"] in kinds:
            found.setdefault(row["group"], set()).add(row["key"])
    return list(found.values())


def test_planted_copies_are_found_apart_by_kind_and_the_best_is_kept(here):
    ended = viewkin("duplicates", "photos.collection", "--out", "d.csv")
    assert (ended.code, ended.err) == (0, "")
    assert "Checked by" in ended.out
    assert "% of the cropped are found" in ended.out
    assert "Exact: 3 copies in 3 groups." in ended.out
    with Path("d.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert groups(rows, "exact") == [{f"cat/0{n}.png", f"cat/0{n}-exact.png"} for n in (0, 2, 4)]
    near = groups(rows, "near")
    assert len(near) == 3
    for number, group in zip((0, 2, 4), near):
        copies = {f"cat/0{number}-{kind}" for kind in ("jpeg.jpg", "small.jpg", "crop.png")}
        assert copies < group
        (kept,) = group - copies
        assert kept in (f"cat/0{number}.png", f"cat/0{number}-exact.png")
        assert {row["key"] for row in rows if row["kind"] == "near" and row["keep"] == "true"} >= {kept}
    assert Path(rows[0]["path"]).is_file()


def test_a_mark_keeps_two_apart_and_outlasts_a_new_embedding(here, trained):
    pair = ("cat/00.png", "cat/00-crop.png")
    before = rows_of("duplicates", "photos.collection", "--near", "0.8")
    assert any({"cat/00-crop.png", "cat/00-jpeg.jpg"} <= group for group in groups(before, "near"))
    marked = ("duplicates", "photos.collection", "--near", "0.8", "--not-duplicate", *pair, "cat/02.png", "cat/04.png")
    after = groups(rows_of(*marked), "near")
    assert not any({"cat/00-crop.png", "cat/00-jpeg.jpg"} <= group for group in after)
    assert len(json.loads((Path("photos.collection") / MARKS).read_text())["not_duplicates"]) == 2
    for part in Path("photos.collection/parts").iterdir():
        part.unlink()
    assert viewkin("embed", trained, "photos", "--to", "photos.collection").code == 0
    assert groups(rows_of("duplicates", "photos.collection", "--near", "0.8"), "near") == after


def test_exact_copies_can_be_marked_too(here):
    viewkin("duplicates", "photos.collection", "--not-duplicate", "cat/00.png", "cat/00-exact.png")
    assert groups(rows_of("duplicates", "photos.collection"), "exact") == [
        {f"cat/0{n}.png", f"cat/0{n}-exact.png"} for n in (2, 4)
    ]


@pytest.mark.parametrize("flags", [(), ("--hard",)])
def test_links_are_to_what_is_kept_and_nothing_is_deleted(here, trained, flags):
    shutil.copytree("photos", "mine")
    assert viewkin("embed", trained, "mine", "--to", "mine.collection").code == 0
    before = sorted(Path("mine").rglob("*.*"))
    ended = viewkin("duplicates", "mine.collection", "--near", "0.8", "--link", "clean", *flags)
    assert (ended.code, ended.err) == (0, "")
    links = [link for link in Path("clean").rglob("*") if not link.is_dir()]
    assert len(links) == 40
    assert "40 links in clean" in ended.out
    assert all(link.is_symlink() == (not flags) and link.stat().st_size for link in links)
    assert all(link.samefile(Path("mine") / link.relative_to("clean")) for link in links)
    assert sorted(Path("mine").rglob("*.*")) == before
    again = viewkin("duplicates", "mine.collection", "--link", "clean")
    assert again.code == 2
    assert "is not empty: name a new folder" in again.err


def test_links_are_all_made_or_none(here, trained, monkeypatch):
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link")))
    ended = viewkin("duplicates", "photos.collection", "--link", "clean", "--hard")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "error: clean cannot be filled with links (Invalid cross-device link): leave out --hard, or name a folder on "
        "the disk of the images.\n"
    )
    assert not [path for path in here.iterdir() if "clean" in path.name]


def test_thresholds_can_be_given(here):
    assert groups(rows_of("duplicates", "photos.collection", "--near", "1", "--scene", "1"), "near", "scene") == []
    loose = rows_of("duplicates", "photos.collection", "--near", "1", "--scene", "0.2")
    assert len(groups(loose, "scene")) >= 1
    assert all(row["keep"] for row in loose if row["kind"] == "scene")


def test_a_model_or_images_that_are_gone_are_told(here, shop):
    gathered(Path("other.collection"), "photos")
    ended = viewkin("duplicates", "other.collection")
    assert ended.code == 0, ended.err
    assert "checked by pixels alone, because the model cannot be used" in ended.out
    shutil.copytree(shop / "photos", "gone")
    gathered(Path("gone.collection"), "gone")
    shutil.rmtree("gone")
    ended = viewkin("duplicates", "gone.collection")
    assert ended.code == 0, ended.err
    assert "The images are not where they were, so only exact copies and scenes are looked for." in ended.out
    ended = viewkin("quality", "gone.collection")
    assert "52 images could not be read or are not where they were" in ended.out


def test_an_outlier_is_listed_with_its_neighbours(here):
    rows = rows_of("outliers", "photos.collection", "-n", "7", "-k", "4")
    assert [row["rank"] for row in rows] == list(range(1, 8))
    assert [row["distance"] for row in rows] == sorted((row["distance"] for row in rows), reverse=True)
    assert len(str(rows[0]["neighbours"]).split(" | ")) == 4


def test_poor_pictures_are_listed(here, tmp_path):
    for number in range(20):
        (tmp_path / "set").mkdir(exist_ok=True)
        textured(number).save(tmp_path / "set" / f"{number:02d}.png")
    textured(30).filter(ImageFilter.GaussianBlur(4)).save(tmp_path / "set" / "blurred.png")
    Image.fromarray((np.asarray(textured(31)) * 0.1).astype(np.uint8)).save(tmp_path / "set" / "dark.png")
    gathered(Path("set.collection"), "set")
    found = {(row["key"], row["issue"]) for row in rows_of("quality", "set.collection")}
    assert {("blurred.png", "blurred"), ("dark.png", "dark")} <= found
    assert {row["issue"] for row in rows_of("quality", "set.collection", "--only", "dark")} == {"dark"}


def test_a_table_without_rows_keeps_its_types(here):
    assert rows_of("quality", "photos.collection", "--only", "dark") == []
    viewkin("quality", "photos.collection", "--only", "dark", "--out", "q.parquet")
    types = {field.name: str(field.type) for field in pq.read_schema("q.parquet")}
    assert (types["issue"], types["value"], types["key"], types["width"]) == ("string", "double", "string", "int32")


def test_clusters_are_a_column_with_a_sheet_each(here):
    ended = viewkin("clusters", "photos.collection", "-k", "3", "--sheets", "sheets", "--out", "c.parquet")
    assert (ended.code, ended.err) == (0, "")
    table = pq.read_table("c.parquet")
    assert table.num_rows == 52
    assert set(table["cluster"].to_pylist()) == {1, 2, 3}
    sheets = sorted(Path("sheets").iterdir())
    assert len(sheets) == 3
    assert all(np.asarray(Image.open(sheet)).std() > 10 for sheet in sheets)


def test_a_selection_goes_on_from_what_is_labelled(here):
    first = rows_of("select", "photos.collection", "-n", "6")
    viewkin("select", "photos.collection", "-n", "6", "--out", "first.csv")
    second = rows_of("select", "photos.collection", "-n", "6", "--labelled", "first.csv")
    assert not {row["key"] for row in first} & {row["key"] for row in second}
    ended = viewkin("select", "photos.collection", "-n", "6", "--labelled", "label")
    assert ended.code == 2
    assert "0 images without a label can be chosen from" in ended.err


def test_labels_of_a_file_are_passed_on_or_withheld(here):
    Path("few.csv").write_text("key,label\ncat/00.png,striped\ndog/01.png,plain\ncat/02.png,\n")
    rows = rows_of("label", "photos.collection", "--labels", "few.csv")
    assert len(rows) == 52
    assert {row["predicted"] for row in rows} == {"striped", "plain"}
    assert {row["key"]: row["given"] for row in rows if row["given"]} == {
        "cat/00.png": "striped",
        "dog/01.png": "plain",
    }
    unsure = rows_of("label", "photos.collection", "--labels", "few.csv", "--least-confidence", "0.9")
    assert all((row["predicted"] is None) == (row["confidence"] < 0.9) for row in unsure)
    assert any(row["predicted"] is None for row in unsure)


def test_suspects_name_label_suggestion_and_evidence(here):
    rows = rows_of("suspects", "photos.collection", "-n", "4")
    assert len(rows) == 4
    assert all({row["given"], row["suggested"]} == {"cat", "dog"} for row in rows)
    assert all(str(row["neighbours"]).count(" | ") == 4 for row in rows)
    assert "(cat)" in str(rows[0]["neighbours"]) + str(rows[1]["neighbours"])


def test_python_gives_the_same_tables(here):
    photos = library.open_collection("photos.collection")
    found = photos.duplicates(near=0.8, not_duplicates=[("cat/00.png", "cat/04.png")])
    assert found.table().to_pylist() == rows_of("duplicates", "photos.collection", "--near", "0.8")
    assert photos.outliers(3).keys == [row["key"] for row in rows_of("outliers", "photos.collection", "-n", "3")]
    assert photos.quality(["tiny"]).notes[0].endswith("0 tiny.")
    assert len(photos.suspects(count=2)) == 2
    assert set(photos.clusters(2)["cluster"]) == {1, 2}
    assert len(photos.select(4, labelled=["cat/00.png"], method="k-centre")) == 4
    labels = photos.label({"cat/00.png": "a", "dog/01.png": "b"})
    assert set(labels["predicted"]) == {"a", "b"}
    assert "confidence" in repr(labels)
    assert "<table>" in labels._repr_html_()
    labels.save("labels.parquet")
    assert pq.read_table("labels.parquet").num_rows == 52


@pytest.mark.parametrize("command", COMMANDS)
def test_files_hold_what_is_printed_and_datasets_loads_them(here, command):
    rows = rows_of(command, "photos.collection", *COMMANDS[command])
    for ending in ("csv", "parquet"):
        ended = viewkin(command, "photos.collection", *COMMANDS[command], "--out", f"f.{ending}")
        assert ended.code == 0, ended.err
        assert f"Written to f.{ending}" in ended.out
    assert pq.read_table("f.parquet").to_pylist() == rows
    if not rows:
        pytest.skip("datasets loads no file without a row")
    datasets = pytest.importorskip("datasets")
    for ending in ("csv", "parquet"):
        loaded = datasets.load_dataset(ending, data_files=f"f.{ending}", split="train", cache_dir="hf")
        assert [row["key"] for row in loaded] == [row["key"] for row in rows]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_refusals_are_one_sentence(here, command):
    assert f"Usage: viewkin {command}" in viewkin(command, "--help").out
    for arguments, said in (
        (("nowhere",), "nowhere is no collection"),
        (("photos.collection", "--out", "x.txt"), "must end in .csv, .parquet or .json"),
        (("photos.collection", "--out", "no/x.csv"), "must be a file in a folder that exists"),
    ):
        ended = viewkin(command, *arguments, *COMMANDS[command])
        assert (ended.code, ended.out) == (2, "")
        assert said in ended.err
        assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("duplicates photos.collection --near 2", "--near is 2.0; it must be above 0 and at most 1."),
        ("duplicates photos.collection --not-duplicate a b", "a is no key of photos.collection"),
        ("duplicates photos.collection --not-duplicate a", "--not-duplicate takes two keys, and a has no partner"),
        ("duplicates photos.collection --link photos/clean", "lies among the images: name a folder elsewhere"),
        ("outliers photos.collection -k 0", "-k is 0; it must be at least 1."),
        ("quality photos.collection --only ugly", "--only is 'ugly'; it must be one of blurred"),
        ("clusters photos.collection -k 99", "-k is 99; it must be 1 to 52."),
        ("select photos.collection -n 0", "-n is 0; 52 images without a label can be chosen from."),
        ("select photos.collection -n 3 --method best", "--method is 'best'; it must be one of typical, k-centre"),
        ("select photos.collection -n 3 --labelled no.csv", "There is no file no.csv"),
        ("label photos.collection --labels bad.csv", "bad.csv has no column key"),
        ("label photos.collection --labels other.csv", "other.csv names no image of photos.collection"),
        ("label photos.collection --labels bare.csv", "bare.csv has no column label or class_name"),
        ("label photos.collection --least-confidence 2", "--least-confidence is 2.0; it must be 0 to 1."),
        ("suspects photos.collection --labels one.csv", "has labels of fewer than two classes"),
    ],
)
def test_bad_input_is_told_in_a_sentence(here, arguments, said):
    Path("bad.csv").write_text("name,label\na,b\n")
    Path("other.csv").write_text("key,label\na,b\n")
    Path("bare.csv").write_text("key,colour\ncat/00.png,b\n")
    Path("one.csv").write_text("key,label\ncat/00.png,b\n")
    ended = viewkin(*arguments.split())
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_a_collection_of_one_image_is_refused_where_others_are_needed(here):
    textured(0).save("one.png")
    gathered(Path("one.collection"), "one.png")
    ended = viewkin("outliers", "one.collection")
    assert ended.code == 2
    assert "one.collection holds 1 image, and 2 are needed" in ended.err
    assert viewkin("quality", "one.collection").code == 0
