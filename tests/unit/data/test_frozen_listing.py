"""The listing that a run keeps, and what it says of a set that has changed."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewkin.data.frozen_listing import FrozenListing, differences, read_listing, write_listing
from viewkin.runtime.errors import UserError


def ids(*numbers: int) -> list[str]:
    return [f"{number:032x}" for number in numbers]


def test_what_is_written_is_read_in_its_order(tmp_path: Path):
    keys = ["b.png", "a.png", "caf\\xe9/ü.png", "train.parquet#3"]
    write_listing(tmp_path / "listing.parquet", keys, ids(1, 2, 3, 2**127))
    found = read_listing(tmp_path / "listing.parquet")
    assert found == FrozenListing(keys, ids(1, 2, 3, 2**127))
    assert len(found) == 4
    schema = pq.read_schema(tmp_path / "listing.parquet")
    assert (schema.names, schema.field("content").type) == (["key", "content"], pa.binary(16))
    assert [path.name for path in tmp_path.iterdir()] == ["listing.parquet"]


def test_differences_are_told_in_one_sentence():
    before = FrozenListing([f"{i}.png" for i in range(6)], ids(*range(6)))
    now = FrozenListing(["5.png", "0.png", "new.png", "1.png"], ids(5, 9, 7, 1))
    found = differences(before, now)
    assert bool(found)
    assert (found.added, found.removed, found.changed) == (["new.png"], ["2.png", "3.png", "4.png"], ["0.png"])
    assert found.sentence() == (
        "1 image added (new.png), 3 images removed (2.png, 3.png, 4.png) and 1 image changed (0.png)."
    )
    more = differences(FrozenListing([], []), before)
    assert more.sentence() == "6 images added (0.png, 1.png, 2.png, ...)."


def test_another_order_is_no_difference():
    before, now = FrozenListing(["a", "b"], ids(1, 2)), FrozenListing(["b", "a"], ids(2, 1))
    assert not differences(before, now)
    assert differences(before, now).sentence() == "No image was added, removed or changed."


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_damaged_listing_is_told(tmp_path: Path, damage: str):
    path = tmp_path / "listing.parquet"
    if damage == "cut":
        path.write_bytes(b"PAR1 not really")
    elif damage == "other":
        pq.write_table(pa.table({"key": ["a"]}), path)
    with pytest.raises(UserError, match=r"listing\.parquet is no list of a run's images, or a damaged one"):
        read_listing(path)


def test_a_listing_that_cannot_be_written_is_told(tmp_path: Path):
    with pytest.raises(UserError, match="name a writable folder"):
        write_listing(tmp_path / "none" / "listing.parquet", ["a"], ids(1))


def test_flipped_bits_are_refused_or_change_nothing(tmp_path: Path):
    keys, content = [f"{i}.png" for i in range(40)], [f"{i:032x}" for i in range(40)]
    write_listing(tmp_path / "images.parquet", keys, content)
    sound = (tmp_path / "images.parquet").read_bytes()
    pages = len(sound) - 8 - int.from_bytes(sound[-8:-4], "little")
    for bit in range(0, 8 * len(sound), 7):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / "images.parquet").write_bytes(damaged)
        try:
            found = read_listing(tmp_path / "images.parquet")
        except UserError:
            continue
        if bit < 8 * pages:  # the description behind them has no checksum
            assert (found.keys, found.content_ids) == (keys, content)
