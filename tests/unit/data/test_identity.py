"""Content ids and fingerprints, by their definitions."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viewkin.data.identity import UNREADABLE, content_of, fingerprint_of

EDGE = 64 * 1024


@pytest.mark.parametrize("size", [0, 1, EDGE, 2 * EDGE - 1, 2 * EDGE, 2 * EDGE + 1, 5 * EDGE])
def test_a_content_id_is_of_the_size_and_both_ends(tmp_path: Path, size: int):
    encoded = np.random.default_rng(size).bytes(size)
    (tmp_path / "a").write_bytes(encoded)
    hashed = encoded if size <= 2 * EDGE else encoded[:EDGE] + encoded[-EDGE:]
    expected = hashlib.blake2b(size.to_bytes(8, "little") + hashed, digest_size=16).digest()
    assert content_of(tmp_path / "a") == expected
    with (tmp_path / "a").open("rb") as stream:
        assert content_of(stream) == expected


def test_every_byte_of_a_small_file_and_of_both_ends_of_a_large_one_counts(tmp_path: Path):
    for size, places in ((2 * EDGE, [0, EDGE, 2 * EDGE - 1]), (4 * EDGE, [0, EDGE - 1, 3 * EDGE, 4 * EDGE - 1])):
        plain = bytearray(size)
        ids = set()
        for place in [None, *places]:
            changed = bytearray(plain)
            if place is not None:
                changed[place] = 1
            (tmp_path / "a").write_bytes(changed)
            ids.add(content_of(tmp_path / "a"))
        assert len(ids) == 1 + len(places)


def test_pixels_are_hashed_upright_with_their_shape():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    stated = (6).to_bytes(8, "little") + (4).to_bytes(8, "little") + pixels.tobytes()
    expected = hashlib.blake2b(stated, digest_size=16).digest()
    assert content_of(Image.fromarray(pixels)) == expected
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(pixels)))
    lying.getexif()[0x0112] = 6  # the camera was turned: a quarter turn to the right sets it upright
    assert content_of(lying) == expected


def test_what_cannot_be_read_has_zeros(tmp_path: Path):
    assert content_of(tmp_path / "none") == UNREADABLE == bytes(16)


def test_a_fingerprint_is_of_the_sorted_pairs():
    pairs = [("b", "01" * 16), ("a", "02" * 16)]
    stated = b"a\0" + bytes.fromhex("02" * 16) + b"b\0" + bytes.fromhex("01" * 16)
    assert fingerprint_of(pairs) == hashlib.blake2b(stated, digest_size=16).hexdigest()
    assert fingerprint_of(iter(pairs[::-1])) == fingerprint_of(pairs)
    assert fingerprint_of([("a", "01" * 16), ("b", "02" * 16)]) != fingerprint_of(pairs)
