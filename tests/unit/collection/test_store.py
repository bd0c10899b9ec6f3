"""Claims about files: what a kill, another writer, damage, a full disk or a read-only folder can do to a collection."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from collected import counts, gathered, model, picture, pictures, rows_of, seen_by
from viewkin.collection import compaction, manifest, places, writer
from viewkin.collection.manifest import DamagedManifestError, generations, newest, place_of
from viewkin.collection.parts import DamagedPartError, read_part
from viewkin.collection.places import MANIFESTS, PARTS
from viewkin.collection.reader import Reader
from viewkin.collection.store import Store
from viewkin.data.identity import content_of_file
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import ENDING

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path):
    return pictures(tmp_path / "photos", range(12)), tmp_path / "photos.collection"


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def consistent(folder: Path) -> Reader:
    """Open a collection and check that every row is there once and every part is whole."""
    reader = Reader(folder)
    assert len(reader.rows.keys) == len(set(reader.rows.keys)) == len(reader)
    assert np.isfinite(reader.vectors).all()
    return reader


# A kill at any moment: every call that changes the file system is a moment.

CHANGING = ("rename", "link", "unlink", "mkdir", "open", "write", "fsync")


class Killed(BaseException):
    """Stands for a kill: nothing after it may run, so the calls that tidy up do nothing either."""


def killed_at(moment: int, patch: pytest.MonkeyPatch) -> list[int]:
    """Let the process end at a call that changes files; counts the calls."""
    count, dead = [0], [False]

    def guarded(call):
        def act(*args, **options):
            if dead[0]:
                raise Killed
            count[0] += 1
            if count[0] == moment:
                dead[0] = True
                raise Killed
            return call(*args, **options)

        return act

    for name in ("link", "fsync", "write", "open"):
        patch.setattr(places.os, name, guarded(getattr(os, name)))
    for name in ("rename", "unlink", "mkdir"):
        patch.setattr(Path, name, guarded(getattr(Path, name)))
    return count


@pytest.fixture(scope="module")
def moments(tmp_path_factory):
    """How many calls an update makes that changes, renames and removes images, in parts of four."""
    folder = tmp_path_factory.mktemp("moments")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "PART_ROWS", 4)
        prepared(folder)
        count = killed_at(-1, patch)
        gathered(folder / "c", folder / "photos")
    return count[0]


def prepared(folder: Path) -> None:
    """A collection of twelve images, four of which then change, are renamed, go; four are added."""
    photos = pictures(folder / "photos", range(12))
    gathered(folder / "c", photos)
    picture(photos / "000.jpg", 500)
    (photos / "001.jpg").rename(photos / "new name.jpg")
    (photos / "002.jpg").unlink()
    pictures(photos, range(20, 26))


def test_a_kill_at_any_moment_loses_at_most_the_running_part(tmp_path, moments, monkeypatch):
    assert moments > 30
    monkeypatch.setattr(writer, "PART_ROWS", 4)
    prepared(tmp_path / "start")
    for moment in range(1, moments + 1, 2):
        folder = tmp_path / str(moment)
        shutil.copytree(tmp_path / "start" / "c", folder)
        with pytest.MonkeyPatch.context() as patch:
            killed_at(moment, patch)
            with pytest.raises(Killed):
                gathered(folder, tmp_path / "start" / "photos")
        photos = tmp_path / "start" / "photos"
        held = set(consistent(folder).rows.table["content"].to_pylist())
        wanted = {content_of_file(path).hex() for path in photos.iterdir()}
        assert len(wanted & held) >= 10  # all that stays, or has another name, is there at any moment
        one = model()
        assert gathered(folder, photos, one).images == 17
        assert seen_by(one) == len(wanted - held), moment
        assert set(consistent(folder).rows.keys) == {path.name for path in photos.iterdir()}
        assert not [name for name in files_in(folder) if name.endswith(ENDING)]
        named = {part.name for part in newest(folder).parts}
        kept = {p.name for g in generations(folder)[-3:] for p in manifest.read_generation(place_of(folder, g)).parts}
        assert named <= files_in(folder / PARTS) <= kept
        shutil.rmtree(folder)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import time, torch
torch.set_num_threads(1)
from pathlib import Path
import viewkin.encode.image_vectors as vectors, viewkin.collection.writer as writer
from collected import gathered
writer.PART_ROWS, vectors.BLOCK = {rows}, 4
print("ready", flush=True)
sys.stdin.readline()
done = gathered(Path(sys.argv[1]), sys.argv[2])
print(done.images, done.computed)
"""


def started(to: Path, photos: Path, rows: int = 4) -> subprocess.Popen:
    script = SCRIPT.format(tests=str(ROOT / "tests"), rows=rows)
    command = [sys.executable, "-c", script, str(to), str(photos)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_killed_process_leaves_what_it_wrote(tmp_path):
    photos, to = pictures(tmp_path / "photos", range(400)), tmp_path / "c"
    process = started(to, photos)
    process.stdin.write("go\n")
    process.stdin.flush()
    end = time.monotonic() + 60
    while len(generations(to)) < 3 and time.monotonic() < end:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = len(consistent(to))
    assert 0 < before < 400
    one = model()
    assert counts(gathered(to, photos, one)) == {"images": 400, "computed": 400 - before, "kept": before}
    assert not [name for name in files_in(to) if name.endswith(ENDING)]


def test_two_processes_at_once_leave_every_row_once(tmp_path):
    photos, to = pictures(tmp_path / "photos", range(60)), tmp_path / "c"
    both = [started(to, photos) for _ in range(2)]
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [images for images, _ in told] == ["60", "60"]
    assert set(consistent(to).rows.keys) == {f"{n:03d}.jpg" for n in range(60)}
    one = model()
    assert counts(gathered(to, photos, one)) == {"images": 60, "kept": 60}


def test_two_writers_in_turn_keep_the_newer_of_each_row(place, monkeypatch):
    photos, to = place
    gathered(to, photos)
    picture(photos / "000.jpg", 700)
    (photos / "001.jpg").unlink()
    original = writer.Writer.compute

    def meanwhile(self, images):
        monkeypatch.setattr(writer.Writer, "compute", original)
        picture(photos / "new.jpg", 701)
        gathered(to, photos)  # the other writer sees and writes all of it, one image more, and joins the parts
        original(self, images)

    monkeypatch.setattr(writer.Writer, "compute", meanwhile)
    monkeypatch.setattr(compaction, "MANY_SMALL", 1)
    gathered(to, photos)
    assert set(consistent(to).rows.keys) == {p.name for p in photos.iterdir()}
    assert counts(gathered(to, photos)) == {"images": 12, "kept": 12}


def test_a_writer_waits_for_the_lock_and_says_when_it_waits_in_vain(place, monkeypatch):
    photos, to = place
    gathered(to, photos)
    said = r"has been writing to .* for 0 s: try again later"
    with places.locked(to), pytest.raises(UserError, match=said), places.locked(to, patience=0.02):
        pass
    with places.locked(to, patience=0.02):
        pass


def test_generations_are_added_once_also_without_locks(place, monkeypatch):
    photos, to = place
    monkeypatch.setattr(places, "_lock", lambda number: None)
    gathered(to, photos)
    state = newest(to)
    assert not manifest.publish(to, state)  # its number is taken
    pictures(photos, range(30, 33))
    assert counts(gathered(to, photos)) == {"images": 15, "computed": 3, "kept": 12}


def test_no_link_is_needed(place, monkeypatch):
    photos, to = place

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(manifest.os, "link", refuse)
    gathered(to, photos)
    pictures(photos, range(30, 33))
    assert counts(gathered(to, photos)) == {"images": 15, "computed": 3, "kept": 12}


def test_another_writer_of_another_model_is_noticed(place, monkeypatch):
    photos, to = place
    gathered(to, photos)
    pictures(photos, range(30, 33))
    original = writer.Writer.compute

    def meanwhile(self, images):
        monkeypatch.setattr(writer.Writer, "compute", original)
        shutil.rmtree(to)
        gathered(to, photos, model(1))
        original(self, images)

    monkeypatch.setattr(writer.Writer, "compute", meanwhile)
    with pytest.raises(UserError, match="made anew by another model meanwhile"):
        gathered(to, photos)
    assert len(consistent(to)) == 15


# Damage.


def test_no_flipped_bit_of_a_part_is_read(place):
    photos, to = place
    gathered(to, photos)
    (part,) = newest(to).parts
    path = to / PARTS / part.name
    data, draw = path.read_bytes(), random.Random(0)
    for _ in range(200):
        bit = draw.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedPartError, match="run the same `viewkin embed` again, which computes its 12 images"):
            read_part(to, part)
    path.write_bytes(data[:-1])
    with pytest.raises(DamagedPartError):
        read_part(to, part)


def test_no_flipped_bit_of_a_manifest_is_read(place):
    photos, to = place
    gathered(to, photos)
    path = place_of(to, generations(to)[-1])
    data, draw, kept = path.read_bytes(), random.Random(0), newest(to)
    for _ in range(200):
        bit = draw.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        said = ""
        try:
            found = newest(to)
        except UserError as error:
            found, said = kept, str(error)
        assert found == kept  # a space within the layout says nothing
        assert not said or "is damaged: run the same" in said or "update viewkin" in said


def test_a_search_refuses_a_damaged_part_and_an_update_mends_it(place, monkeypatch):
    photos, to = place
    monkeypatch.setattr(writer, "PART_ROWS", 4)
    gathered(to, photos)
    path = to / PARTS / newest(to).parts[1].name
    path.write_bytes(path.read_bytes()[:-9] + b"damaged!!")
    with pytest.raises(UserError, match=r"is damaged \(its checksum does not match\): run the same"):
        consistent(to)
    one = model()
    done = gathered(to, photos, one)
    assert counts(done) == {"images": 12, "computed": 4, "kept": 8}
    assert seen_by(one) == 4
    assert any("is damaged, so its 4 images are computed anew" in note for note in done.notes)
    consistent(to)


def test_a_missing_part_is_computed_anew(place):
    photos, to = place
    gathered(to, photos)
    (to / PARTS / newest(to).parts[0].name).unlink()
    with pytest.raises(UserError, match=r"is damaged \(it is not there\)"):
        consistent(to)
    assert counts(gathered(to, photos)) == {"images": 12, "computed": 12}


def test_a_damaged_manifest_is_refused_and_an_update_goes_on_from_the_one_before(place):
    photos, to = place
    gathered(to, photos)
    pictures(photos, range(30, 33))
    gathered(to, photos)
    path = place_of(to, generations(to)[-1])
    path.write_text(path.read_text().replace("float32", "float16"))
    with pytest.raises(DamagedManifestError, match="goes on from the generation before"):
        Reader(to)
    done = gathered(to, photos)
    assert counts(done) == {"images": 15, "computed": 3, "kept": 12}
    assert any(f"{path.name} is damaged" in note for note in done.notes)
    assert generations(to)[-1] > int(path.stem)
    consistent(to)


def test_where_every_manifest_is_damaged_that_is_said(place):
    photos, to = place
    gathered(to, photos)
    for path in (to / MANIFESTS).glob("*.json"):
        path.write_text("{}")
    with pytest.raises(UserError, match=r"No manifest in .* can be read: delete .* and embed the images again"):
        gathered(to, photos)


def test_a_manifest_of_a_newer_version_is_not_guessed_at(place):
    photos, to = place
    gathered(to, photos)
    path = place_of(to, generations(to)[-1])
    body = json.loads(path.read_text())
    body.pop("checksum")
    body["format"] = "viewkin collection 2"
    path.write_text(json.dumps(body | {"checksum": manifest._checksum(body)}))
    for act in (lambda: Reader(to), lambda: gathered(to, photos)):
        with pytest.raises(UserError, match=r"'viewkin collection 2' and this version reads .*: update viewkin"):
            act()


# Space.


def full_after(count: int, patch: pytest.MonkeyPatch) -> None:
    real, written = places.sync, [0]

    def sync(path):
        written[0] += 1
        if written[0] > count:
            raise OSError(28, "No space left on device")
        real(path)

    patch.setattr(places, "sync", sync)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_a_full_disk_is_one_sentence_and_keeps_what_is_there(place, count, monkeypatch):
    photos, to = place
    monkeypatch.setattr(writer, "PART_ROWS", 4)
    with pytest.MonkeyPatch.context() as patch:
        full_after(count, patch)
        with pytest.raises(
            UserError, match=r"cannot be written \(No space left on device\): make room and run the same"
        ):
            gathered(to, photos)
    assert not [name for name in files_in(to) if name.endswith(ENDING)]
    before = len(consistent(to)) if generations(to) else 0
    one = model()
    assert gathered(to, photos, one).images == 12
    assert seen_by(one) == 12 - before


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounts a small file system")
def test_a_small_disk_that_is_full_is_one_sentence(tmp_path):
    photos = pictures(tmp_path / "photos", range(200))
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        (small / "ballast").write_bytes(bytes(32 * 1024))
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\): make room"):
            gathered(small / "c", photos)
        (small / "ballast").unlink()
        assert gathered(small / "c", photos).images == 200
        consistent(small / "c")
    finally:
        subprocess.run(["umount", small], check=False)


def test_a_folder_that_may_not_be_written_is_refused_before_any_work(place, monkeypatch):
    photos, to = place
    gathered(to, photos)
    monkeypatch.setattr("viewkin.collection.update.os.access", lambda *_: False)
    one = model()
    with pytest.raises(UserError, match="cannot be written: choose a place that you may write to"):
        gathered(to, photos, one)
    assert seen_by(one) == 0


def test_a_place_that_may_not_be_made_is_refused(place, monkeypatch):
    photos, _ = place
    (photos.parent / "file").write_text("")
    with pytest.raises(UserError, match=r"file/c cannot be written \(Not a directory\)"):
        gathered(photos.parent / "file" / "c", photos)


# Compaction and leftovers.


def test_many_small_parts_are_joined(place, monkeypatch):
    photos, to = place
    monkeypatch.setattr(writer, "PART_ROWS", 3)
    monkeypatch.setattr(compaction, "MANY_SMALL", 4)
    gathered(to, photos)
    assert [part.rows for part in newest(to).parts] == [12]
    before = rows_of(to)
    (photos / "003.jpg").unlink()
    assert counts(gathered(to, photos)) == {"images": 11, "kept": 11, "gone": 1}
    for key, row in rows_of(to).items():
        np.testing.assert_array_equal(row, before[key])


def test_a_part_of_which_most_is_gone_is_rewritten(place):
    photos, to = place
    gathered(to, photos)
    for number in range(7):
        (photos / f"{number:03d}.jpg").unlink()
    gathered(to, photos)
    assert [part.rows for part in newest(to).parts] == [5]
    assert newest(to).gone == {}
    assert set(rows_of(to)) == {f"{n:03d}.jpg" for n in range(7, 12)}


def test_what_killed_writers_left_is_removed_and_what_others_write_is_not(place):
    photos, to = place
    gathered(to, photos)
    left = [
        to / PARTS / f".dead{ENDING}",
        to / PARTS / "part-0123456789abcdef.parquet",
        to / MANIFESTS / f".x{ENDING}",
    ]
    for path in left:
        path.write_bytes(b"half")
    with places.written(to / PARTS, b"being written") as mine:
        gathered(to, photos)
        assert mine.exists()
    assert not any(path.exists() for path in left)
    consistent(to)


def test_a_reader_of_an_earlier_generation_can_finish(place, monkeypatch):
    photos, to = place
    gathered(to, photos)
    early, lazy = Reader(to), Reader(to)
    assert len(early.rows.keys) == 12
    for number in range(8):
        (photos / f"{number:03d}.jpg").unlink()
    gathered(to, photos)
    assert early.vectors.shape[0] == 12  # the generations that are kept hold its parts
    for number in range(40, 46):
        picture(photos / f"{number:03d}.jpg", number)
        gathered(to, photos)
    assert len(lazy.rows.keys) == len(lazy.vectors) == 10  # its parts are gone, so it reads the newest


def test_a_reader_whose_parts_went_between_rows_and_vectors_says_so(place):
    photos, to = place
    gathered(to, photos)
    early = Reader(to)
    assert len(early.rows.keys) == 12
    for number in range(9):
        (photos / f"{number:03d}.jpg").unlink()
        gathered(to, photos)
    with pytest.raises(UserError, match="has changed since it was opened: open it again"):
        early.nearest([], 3)


def test_only_a_few_generations_are_kept(place):
    photos, to = place
    for number in range(20, 28):
        picture(photos / f"{number}.jpg", number)
        gathered(to, photos)
    assert len(generations(to)) == manifest.KEPT


def test_an_empty_collection_is_opened_and_says_so(place):
    photos, to = place
    gathered(to, photos)
    state = newest(to)
    Store.create(to.with_name("empty"), manifest.Manifest(state.model, state.images))
    assert len(Reader(to.with_name("empty"))) == 0
    with pytest.raises(UserError, match="holds no images: fill it by"):
        Reader(to.with_name("empty")).nearest([], 3)


THREADS = """if True:
    import os, sys
    from pathlib import Path
    import pyarrow as pa
    from viewkin.collection.reader import Reader
    def threads(): return len(os.listdir("/proc/self/task"))
    pa.array([1]).to_pylist()
    reader, before = Reader(Path(sys.argv[1])), threads()
    reader.rows.table
    print(threads() - before)
"""


def test_reading_a_part_starts_no_thread_of_arrow_that_could_abort_the_end_of_the_process(tmp_path):
    gathered(tmp_path / "c", pictures(tmp_path / "photos", range(3)))
    command = [sys.executable, "-c", THREADS, str(tmp_path / "c")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "0\n"
