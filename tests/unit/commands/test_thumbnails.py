import base64
import io
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from collected import gathered, picture
from layouts import cifar_in
from viewkin.collection.reader import Reader
from viewkin.commands.thumbnails import SIDE, Thumbnails
from viewkin.data.formats import archives


def shown(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))))


def thumbnails_of(folder: Path) -> dict:
    reader = Reader(folder)
    thumbnails = Thumbnails(reader)
    return {key: thumbnails.of(reader.match(key, 1, 1.0, row)) for row, key in enumerate(reader.rows.keys)}


def test_an_image_is_shown_whole_upright_and_small(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    picture(tmp_path / "photos" / "turned.jpg", 1, (400, 200), exif=exif)
    picture(tmp_path / "photos" / "tiny.png", 2, (10, 8))
    gathered(tmp_path / "c", tmp_path / "photos")
    found = thumbnails_of(tmp_path / "c")
    assert shown(found["turned.jpg"]).size == (SIDE // 2, SIDE)
    assert shown(found["tiny.png"]).size == (10, 8)


def test_an_image_that_is_gone_or_broken_has_none(tmp_path):
    picture(tmp_path / "photos" / "gone.jpg", 1)
    picture(tmp_path / "photos" / "broken.jpg", 2)
    gathered(tmp_path / "c", tmp_path / "photos")
    (tmp_path / "photos" / "gone.jpg").unlink()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no image")
    assert thumbnails_of(tmp_path / "c") == {"gone.jpg": None, "broken.jpg": None}


def test_a_name_that_is_no_utf_8_is_found(tmp_path):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    picture(tmp_path / "photos" / "a.jpg", 1)
    shutil.move(tmp_path / "photos" / "a.jpg", tmp_path / "photos" / name)
    gathered(tmp_path / "c", tmp_path / "photos")
    ((key, address),) = thumbnails_of(tmp_path / "c").items()
    assert key == "caf\\xe9.jpg"
    assert shown(address).size == (40, 30)


def test_images_of_an_archive_are_embedded_and_shown_and_it_is_read_a_few_times_only(tmp_path, monkeypatch):
    cifar_in(tmp_path, monkeypatch, [0, 1] * 20, [0, 1] * 5, hundred=False)
    reads, original = [], archives.read_archive

    def counted(archive, split):
        reads.append(split)
        return original(archive, split)

    monkeypatch.setattr(archives, "read_archive", counted)
    done = gathered(tmp_path / "c", str(tmp_path / "cifar-10-batches-py"))
    assert done.computed == 50
    assert len(reads) <= 6
    reads.clear()
    found = thumbnails_of(tmp_path / "c")
    assert {shown(address).size for address in found.values()} == {(32, 32)}
    assert len(reads) <= 4
    assert gathered(tmp_path / "c", str(tmp_path / "cifar-10-batches-py")).kept == 50


@pytest.mark.parametrize("key", ["a.parquet#1", "generated"])
def test_pictures_of_rows_and_of_drawn_images_are_shown(tmp_path, key):
    data = [picture(tmp_path / f"{n}.jpg", n).read_bytes() for n in range(3)]
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"image": data}), tmp_path / "set" / "a.parquet")
    images = str(tmp_path / "set") if "#" in key else "generated:images=12,size=16,classes=3"
    gathered(tmp_path / "c", images)
    found = thumbnails_of(tmp_path / "c")
    assert all(found.values())
    assert shown(next(iter(found.values()))).size == ((40, 30) if "#" in key else (16, 16))
