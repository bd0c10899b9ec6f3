"""Claims about what an update computes, keeps, takes over and forgets."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from collected import WIDTH, counts, gathered, model, picture, pictures, rows_of, seen_by
from viewkin.collection import stamps, writer
from viewkin.collection.manifest import generations, newest
from viewkin.collection.places import PARTS
from viewkin.collection.reader import Reader
from viewkin.collection.store import Store
from viewkin.data.dataset import Dataset
from viewkin.data.identity import content_of_file
from viewkin.runtime.errors import UserError


@pytest.fixture
def settled(monkeypatch):
    """Let stamps count at once: on the file systems of these tests every write has a time of its own."""
    monkeypatch.setattr(stamps, "SETTLED", 0.0)


@pytest.fixture
def place(tmp_path, settled):
    return tmp_path / "photos", tmp_path / "photos.collection"


def test_every_image_is_computed_once_and_described(place):
    photos, to = place
    pictures(photos, range(12), ("cat", "dog"))
    one = model()
    assert counts(gathered(to, photos, one)) == {"images": 12, "computed": 12}
    assert seen_by(one) == 12
    table = Reader(to).table()
    row = {
        name: values[0]
        for name, values in table.filter(pa.array([k == "dog/003.jpg" for k in table["key"].to_pylist()]))
        .to_pydict()
        .items()
    }
    file = photos / "dog" / "003.jpg"
    assert row["path"] == str(file)
    assert (row["split"], row["label"], row["class_name"]) == ("train", 1, "dog")
    assert (row["width"], row["height"], row["size"]) == (40, 30, file.stat().st_size)
    assert row["content"] == content_of_file(file).hex()
    assert row["whole"] is None
    assert np.linalg.norm(row["embedding"]) == pytest.approx(1, abs=1e-6)
    assert table.schema.field("embedding").type.list_size == WIDTH


def test_a_second_update_computes_only_what_is_new_or_changed(place):
    photos, to = place
    pictures(photos, range(20), ("cat", "dog"))
    gathered(to, photos)
    before = rows_of(to)
    pictures(photos, range(20, 25), ("cat", "dog"))
    picture(photos / "cat" / "000.jpg", 900)
    (photos / "dog" / "001.jpg").rename(photos / "cat" / "renamed.jpg")
    (photos / "dog" / "003.jpg").unlink()
    one = model()
    assert counts(gathered(to, photos, one)) == {
        "images": 24,
        "computed": 6,
        "changed": 1,
        "kept": 17,
        "renamed": 1,
        "gone": 1,
    }
    assert seen_by(one) == 6
    after = rows_of(to)
    assert set(after) == {str(p.relative_to(photos)) for p in photos.rglob("*.jpg")}
    np.testing.assert_array_equal(after["cat/renamed.jpg"], before["dog/001.jpg"])
    np.testing.assert_array_equal(after["cat/002.jpg"], before["cat/002.jpg"])
    assert not np.allclose(after["cat/000.jpg"], before["cat/000.jpg"], atol=1e-3)


def test_an_unchanged_folder_is_not_read(place, monkeypatch):
    photos, to = place
    pictures(photos, range(8))
    gathered(to, photos)
    monkeypatch.setattr("viewkin.collection.listed_images.content_at", None)  # calling it raises
    one = model()
    assert counts(gathered(to, photos, one)) == {"images": 8, "kept": 8}
    assert seen_by(one) == 0


def test_a_renamed_image_is_seen_as_one_of_its_new_folder(place):
    photos, to = place
    pictures(photos, range(6), ("cat", "dog"))
    gathered(to, photos)
    (photos / "cat" / "000.jpg").rename(photos / "dog" / "000.jpg")
    gathered(to, photos)
    (row,) = [row for row in Reader(to).table(vectors=False).to_pylist() if row["key"] == "dog/000.jpg"]
    assert (row["label"], row["class_name"], row["path"]) == (1, "dog", str(photos / "dog" / "000.jpg"))


def test_images_that_change_places_are_taken_over(place):
    photos, to = place
    pictures(photos, range(4))
    gathered(to, photos)
    before = rows_of(to)
    one, two, three = photos / "000.jpg", photos / "001.jpg", photos / "other.jpg"
    one.rename(three), two.rename(one), three.rename(two)
    one_model = model()
    assert counts(gathered(to, photos, one_model)) == {"images": 4, "kept": 2, "renamed": 2}
    assert seen_by(one_model) == 0
    after = rows_of(to)
    np.testing.assert_array_equal(after["000.jpg"], before["001.jpg"])
    np.testing.assert_array_equal(after["001.jpg"], before["000.jpg"])


def test_a_copy_is_taken_over(place):
    photos, to = place
    pictures(photos, range(4))
    gathered(to, photos)
    shutil.copy(photos / "000.jpg", photos / "copy.jpg")
    assert counts(gathered(to, photos)) == {"images": 5, "kept": 4, "copied": 1}


def test_new_classes_leave_the_numbers_of_the_others(place):
    photos, to = place
    pictures(photos, range(6), ("cat", "dog"))
    gathered(to, photos)
    picture(photos / "bird" / "b.jpg", 50)
    assert counts(gathered(to, photos)) == {"images": 7, "computed": 1, "kept": 6}
    table = Reader(to).table(vectors=False).to_pylist()
    assert {(row["label"], row["class_name"]) for row in table} == {(0, "cat"), (1, "dog"), (2, "bird")}


def test_images_that_get_labels_keep_their_vectors(place):
    photos, to = place
    pictures(photos / "cat", range(4))
    gathered(to, photos)
    pictures(photos / "dog", range(4, 6))
    one = model()
    assert counts(gathered(to, photos, one)) == {"images": 6, "computed": 2, "relabelled": 4}
    assert seen_by(one) == 2


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_file_replaced_by_one_of_the_same_size_is_seen(place, keep_times):
    photos, to = place
    pictures(photos, range(3))
    file = picture(photos / "x.bmp", 70)
    gathered(to, photos)
    facts, before = file.stat(), rows_of(to)["x.bmp"]
    picture(file, 71)
    assert file.stat().st_size == facts.st_size
    if keep_times:
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert counts(gathered(to, photos)) == {"images": 4, "computed": 1, "changed": 1, "kept": 3}
    assert not np.allclose(rows_of(to)["x.bmp"], before, atol=1e-3)


def changed_inside(file: Path) -> None:
    """Darken the middle of a BMP, beyond the 64 KiB at either end that a content id reads."""
    data = bytearray(file.read_bytes())
    data[80_000:-80_000] = bytes(len(data) - 160_000)
    content = content_of_file(file)
    file.write_bytes(data)
    assert content_of_file(file) == content


def test_a_change_that_the_content_id_does_not_see_is_seen(place):
    photos, to = place
    file = picture(photos / "large.bmp", 5, (400, 300))
    pictures(photos, range(2))
    gathered(to, photos)
    before = rows_of(to)["large.bmp"]
    changed_inside(file)
    assert counts(gathered(to, photos)) == {"images": 3, "computed": 1, "changed": 1, "kept": 2}
    assert not np.allclose(rows_of(to)["large.bmp"], before, atol=1e-3)
    assert counts(gathered(to, photos)) == {"images": 3, "kept": 3}


def test_a_change_inside_is_seen_also_after_a_kill_between_reading_and_computing(place, monkeypatch):
    photos, to = place
    file = picture(photos / "large.bmp", 5, (400, 300))
    gathered(to, photos)
    changed_inside(file)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer.Writer, "compute", killed)
        with pytest.raises(KeyboardInterrupt):
            gathered(to, photos)
    assert gathered(to, photos).computed == 1


def test_two_images_that_differ_only_inside_are_two(place):
    photos, to = place
    one = picture(photos / "one.bmp", 5, (400, 300))
    two = photos / "two.bmp"
    gathered(to, photos)
    shutil.copy(one, two)
    changed_inside(two)
    assert counts(gathered(to, photos)) == {"images": 2, "computed": 1, "kept": 1}


def test_a_large_unchanged_file_is_not_read_whole_again(place, monkeypatch):
    photos, to = place
    picture(photos / "large.bmp", 5, (400, 300))
    gathered(to, photos)
    monkeypatch.setattr("viewkin.collection.update.whole_at", None)
    assert counts(gathered(to, photos)) == {"images": 1, "kept": 1}


def test_stamps_of_files_that_were_just_written_are_not_trusted(tmp_path):
    photos, to = tmp_path / "photos", tmp_path / "c"
    pictures(photos, range(3))
    gathered(to, photos)
    assert stamps.load_stamps(to) == {}
    old = time.time() - 100
    real = stamps.stamp_at

    def aged(path):
        size, modified, _, inode = real(path)
        return size, modified, int(old * 1e9), inode

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stamps, "stamp_at", aged)
        gathered(to, photos)
    assert set(stamps.load_stamps(to)) == {"000.jpg", "001.jpg", "002.jpg"}


def test_damaged_stamps_are_none(place):
    photos, to = place
    pictures(photos, range(3))
    gathered(to, photos)
    (to / "stamps.parquet").write_bytes(b"PAR1 and nothing else")
    assert counts(gathered(to, photos)) == {"images": 3, "kept": 3}


def test_a_vector_depends_on_its_image_alone(place):
    photos, to = place
    picture(photos / "small.png", 1, (10, 10))
    gathered(to, photos)
    alone = rows_of(to)["small.png"]
    picture(photos / "large.jpg", 2, (300, 200))
    gathered(to.with_name("both"), photos)
    np.testing.assert_allclose(rows_of(to.with_name("both"))["small.png"], alone, atol=1e-6)


@pytest.mark.parametrize("side", [10, 17, 18])
def test_images_of_one_size_have_the_vectors_that_a_file_of_embeddings_has(place, side):
    photos, to = place
    for number in range(5):
        picture(photos / f"{number}.png", number, (side, side))
    gathered(to, photos)
    one, dataset = model(), Dataset(photos)
    rows = torch.nn.functional.normalize(one.features(dataset.source(size=None, least=1), torch.device("cpu")), dim=1)
    np.testing.assert_allclose(np.stack(list(rows_of(to).values())), rows.numpy(), atol=1e-6)


def test_unreadable_images_are_left_out_and_named(place):
    photos, to = place
    pictures(photos, range(3))
    (photos / "broken.jpg").write_bytes(b"not an image")
    done = gathered(to, photos)
    assert counts(done) == {"images": 3, "computed": 3, "left_out": 1}
    assert "1 image cannot be read and is left out: broken.jpg (not an image that Pillow can read)." in done.notes
    assert set(rows_of(to)) == {"000.jpg", "001.jpg", "002.jpg"}


def test_an_image_that_becomes_unreadable_loses_its_row(place):
    photos, to = place
    pictures(photos, range(3))
    gathered(to, photos)
    (photos / "001.jpg").write_bytes(b"not an image")
    assert counts(gathered(to, photos)) == {"images": 2, "kept": 2, "left_out": 1}
    assert set(rows_of(to)) == {"000.jpg", "002.jpg"}


def test_a_folder_without_a_readable_image_is_refused(place):
    photos, to = place
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"no image that can be read.*broken\.jpg"):
        gathered(to, photos)


def test_files_that_vanish_or_change_between_listing_and_decoding_are_never_wrong(place, monkeypatch):
    photos, to = place
    pictures(photos, range(6))
    listed = writer.Writer.compute

    def meanwhile(self, images):
        (photos / "002.jpg").unlink()
        picture(photos / "003.jpg", 333)
        listed(self, images)

    monkeypatch.setattr(writer.Writer, "compute", meanwhile)
    done = gathered(to, photos)
    assert counts(done) == {"images": 5, "computed": 5, "left_out": 1}
    assert done.left_out == {"002.jpg": "No such file or directory"}
    (row,) = [row for row in Reader(to).table(vectors=False).to_pylist() if row["key"] == "003.jpg"]
    assert row["content"] == content_of_file(photos / "003.jpg").hex()
    fresh = to.with_name("fresh")
    monkeypatch.undo()
    gathered(fresh, photos)
    wanted = rows_of(fresh)
    for key, row in rows_of(to).items():
        np.testing.assert_allclose(row, wanted[key], atol=1e-6)
    assert gathered(to, photos).computed == 0


def parquet(path: Path, numbers: range) -> None:
    """A Parquet file of pictures with labels."""
    folder = path.with_suffix(".pictures")
    data = [picture(folder / f"{n}.jpg", n).read_bytes() for n in numbers]
    shutil.rmtree(folder)
    pq.write_table(pa.table({"image": data, "label": [n % 2 for n in numbers]}), path)


def test_rows_of_a_parquet_file_are_images(place):
    photos, to = place
    photos.mkdir()
    parquet(photos / "a.parquet", range(5))
    assert counts(gathered(to, photos)) == {"images": 5, "computed": 5}
    (row,) = [row for row in Reader(to).table(vectors=False).to_pylist() if row["key"] == "a.parquet#3"]
    assert (row["path"], row["label"]) == (str(photos / "a.parquet"), 1)
    parquet(photos / "a.parquet", range(7))
    one = model()
    assert counts(gathered(to, photos, one)) == {"images": 7, "computed": 2, "kept": 5}
    assert seen_by(one) == 2


def test_images_in_memory_are_known_by_their_content(place):
    _, to = place
    images = [Image.new("RGB", (20, 20), (i * 40, 90, 200 - i * 30)) for i in range(5)]
    assert counts(gathered(to, images)) == {"images": 5, "computed": 5}
    assert counts(gathered(to, images[:4])) == {"images": 4, "kept": 4, "gone": 1}
    with pytest.raises(UserError, match="4 of them are not in"):
        gathered(to, [Image.new("RGB", (20, 20), "white")])


def test_a_split_is_brought_up_to_date_alone(place):
    photos, to = place
    pictures(photos / "train", range(4))
    pictures(photos / "test", range(4, 8))
    assert gathered(to, photos).images == 8
    (photos / "test" / "004.jpg").unlink()
    (photos / "train" / "000.jpg").unlink()
    assert counts(gathered(to, photos, split="test")) == {"images": 7, "kept": 3, "gone": 1}
    assert counts(gathered(to, photos)) == {"images": 6, "kept": 6, "gone": 1}
    assert {row["split"] for row in Reader(to).table(vectors=False).to_pylist()} == {"train", "test"}


def test_a_folder_that_moved_keeps_its_vectors(place):
    photos, to = place
    pictures(photos, range(4))
    gathered(to, photos)
    moved = photos.with_name("moved")
    photos.rename(moved)
    assert counts(gathered(to, moved)) == {"images": 4, "kept": 4}
    assert Reader(to).table(vectors=False)["path"][0].as_py() == str(moved / "000.jpg")


def test_other_images_are_refused_unless_asked_for(place):
    photos, to = place
    pictures(photos, range(4))
    gathered(to, photos)
    other = pictures(photos.with_name("other"), range(10, 13))
    with pytest.raises(UserError, match=r"holds 4 images of .*photos, and 4 of them are not in .*other.*--overwrite"):
        gathered(to, other)
    assert len(Reader(to)) == 4
    assert counts(gathered(to, other, overwrite=True)) == {"images": 3, "computed": 3, "gone": 4}


def test_another_model_is_refused_with_what_to_do(place):
    photos, to = place
    pictures(photos, range(3))
    gathered(to, photos, model(0), "first")
    before = generations(to)
    with pytest.raises(UserError, match=r"another model, first .* not of second .* use that model, or name another"):
        gathered(to, photos, model(1), "second")
    assert generations(to) == before


def test_another_place_of_the_same_model_is_noted(place):
    photos, to = place
    pictures(photos, range(3))
    gathered(to, photos, model(0), "first")
    gathered(to, photos, model(0), "moved")
    assert newest(to).model.place == "/models/moved"


@pytest.mark.parametrize("number", ["float32", "float16"])
def test_vectors_are_kept_in_the_type_asked_for(place, number):
    photos, to = place
    pictures(photos, range(6))
    gathered(to, photos, number=number)
    (part,) = (to / PARTS).iterdir()
    assert (
        str(pq.read_schema(part).field("embedding").type.value_type)
        == {"float32": "float", "float16": "halffloat"}[number]
    )
    gathered(to.with_name("exact"), photos)
    cosine = sum(rows_of(to)["003.jpg"] * rows_of(to.with_name("exact"))["003.jpg"])
    assert cosine == pytest.approx(1, abs=1e-6 if number == "float32" else 1e-3)
    with pytest.raises(UserError, match=f"holds numbers of {number}"):
        gathered(to, photos, number={"float32": "float16", "float16": "float32"}[number])


def test_parts_are_written_as_images_come(place, monkeypatch):
    photos, to = place
    pictures(photos, range(10))
    monkeypatch.setattr(writer, "PART_ROWS", 4)
    gathered(to, photos)
    assert [part.rows for part in newest(to).parts] == [4, 4, 2]
    assert len(rows_of(to)) == 10


def test_whoever_stops_the_work_keeps_what_is_done(place, monkeypatch):
    photos, to = place
    pictures(photos, range(40))
    monkeypatch.setattr("viewkin.encode.image_vectors.BLOCK", 16)
    monkeypatch.setattr(writer.Writer, "_flush", stopping_after(2, writer.Writer._flush))
    with pytest.raises(KeyboardInterrupt):
        gathered(to, photos)
    monkeypatch.undo()
    assert len(Reader(to)) == 32
    one = model()
    gathered(to, photos, one)
    assert seen_by(one) == 8


def stopping_after(times, flush):
    called = 0

    def stop(self, *, whole):
        nonlocal called
        called += 1
        if called == times:
            raise KeyboardInterrupt
        flush(self, whole=whole)

    return stop


def test_a_folder_of_something_else_is_refused(place):
    photos, to = place
    pictures(photos, range(3))
    to.mkdir()
    (to / "thesis.tex").write_text("dear")
    with pytest.raises(UserError, match="exists and is no collection"):
        gathered(to, photos)
    assert [path.name for path in to.iterdir()] == ["thesis.tex"]


def test_a_missing_folder_of_images_leaves_no_collection(place):
    photos, to = place
    photos.mkdir()
    with pytest.raises(UserError, match="no image files"):
        gathered(to, photos)
    assert not to.exists()


def test_a_collection_of_more_places_is_a_store(place):
    photos, to = place
    pictures(photos, range(3))
    gathered(to, photos)
    assert Store.open(to).manifest.live == 3


def deep(path: Path, seed: int, most: int) -> None:
    """A picture of 16 bits whose values reach up to ``most``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, most, (20, 20), dtype=np.uint16)
    values[0, :2] = 0, most
    Image.fromarray(values).save(path)


def test_the_range_of_deep_images_is_chosen_once(place):
    photos, to = place
    for number in range(20):
        deep(photos / f"{number}.png", number, 4095)
    gathered(to, photos)
    chosen, before = newest(to).value_range, rows_of(to)
    assert chosen is not None
    assert chosen[1] <= 4095
    for number in range(20, 60):
        deep(photos / f"{number}.png", number, 65535)
    assert gathered(to, photos).computed == 40
    assert newest(to).value_range == chosen
    fresh = to.with_name("fresh")
    gathered(fresh, photos)
    assert newest(fresh).value_range != chosen  # what a set of these images would choose
    picture(photos / "again.jpg", 1)
    deep(photos / "last.png", 0, 4095)  # the content of 0.png
    assert counts(gathered(to, photos))["copied"] == 1
    np.testing.assert_array_equal(rows_of(to)["last.png"], before["0.png"])
