"""Write CIFAR-10 or CIFAR-100, kept as WebP sheets in Parquet, as the pickles that torchvision reads.

    python scripts/unpack_cifar.py data                  # data/cifar-10-batches-py
    python scripts/unpack_cifar.py data --set cifar100   # data/cifar-100-python

The sheets (lossless, 10 x 10 tiles of 32 px, 100 images a row) lie in ``cifar10/`` and ``cifar100/`` of $VIEWKIN_DATA.
The files written are byte for byte the published ones: torchvision checks their md5, and so does this script.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

Columns = dict[str, list[Any]]

FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
"""Name of the set to the folder that torchvision looks for."""
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
"""Published checksums of the unpacked files."""


def read_sheets(paths: list[Path]) -> tuple[NDArray[np.uint8], Columns]:
    """Cut the sheets of some Parquet files into images (N, 3, 32, 32), with the other columns one value an image."""
    sheets: list[NDArray[np.uint8]] = []
    columns: Columns = {}
    for path in paths:
        table = pq.read_table(path)
        for cell in table["sheet"]:
            tiles = np.asarray(Image.open(io.BytesIO(cell.as_py())).convert("RGB")).reshape(10, 32, 10, 32, 3)
            sheets.append(tiles.transpose(0, 2, 4, 1, 3).reshape(100, 3, 32, 32))
        for name in table.column_names:
            if name != "sheet":
                columns.setdefault(name, []).extend(value for row in table[name].to_pylist() for value in row)
    return np.concatenate(sheets), columns


class Pickle:
    """Writes a dict with the opcodes (protocol 2) and the memo numbers of the published files.

    Python's own pickler gives the same values in other bytes, which the checksums would refuse.
    """

    def __init__(self) -> None:
        self._parts = [b"\x80\x02}"]
        self._memos = 0
        self._remember()
        self._parts.append(b"(")

    def _remember(self) -> None:
        self._memos += 1
        self._parts.append(b"q" + bytes([self._memos]) if self._memos < 256 else b"r" + struct.pack("<I", self._memos))

    def text(self, text: str) -> None:
        """Add a short ASCII string."""
        self._parts.append(b"U" + bytes([len(text)]) + text.encode("ascii"))
        self._remember()

    def sequence(self, values: list[Any]) -> None:
        """Add a list of strings or of numbers below 256, appended a thousand at a time."""
        self._parts.append(b"]")
        self._remember()
        for start in range(0, len(values), 1000):
            self._parts.append(b"(")
            for value in values[start : start + 1000]:
                if isinstance(value, str):
                    self.text(value)
                else:
                    self._parts.append(b"K" + bytes([value]))
            self._parts.append(b"e")

    def pixels(self, images: NDArray[np.uint8]) -> None:
        """Add images (N, 3, 32, 32) as a numpy array of shape (N, 3072)."""
        for part in (b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n"):
            self._parts.append(part)
            self._remember()
        self._parts.append(b"K\x00\x85U\x01b\x87R")
        self._remember()
        self._parts.append(b"(K\x01M" + struct.pack("<H", len(images)) + b"M\x00\x0c\x86cnumpy\ndtype\n")
        self._remember()
        self._parts.append(b"U\x02u1K\x00K\x01\x87R")
        self._remember()
        self._parts.append(b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T")
        raw = np.ascontiguousarray(images).tobytes()
        self._parts.append(struct.pack("<I", len(raw)) + raw + b"tb")

    def bytes(self) -> bytes:
        """Close the dict."""
        return b"".join(self._parts) + b"u."


def pickled(label: str, paths: list[Path], keys: tuple[str, ...]) -> bytes:
    """Build the file of one batch from its sheets, with its keys in the published order."""
    images, columns = read_sheets(paths)
    writer = Pickle()
    for key in keys:
        writer.text(key)
        if key == "batch_label":
            writer.text(label)
        elif key == "data":
            writer.pixels(images)
        else:
            writer.sequence(columns["labels" if key == "fine_labels" else key])
    return writer.bytes()


def write(path: Path, content: bytes) -> None:
    """Write a file whose md5 is the published one, whole or not at all."""
    if hashlib.md5(content).hexdigest() != MD5[path.name]:
        raise SystemExit(f"error: {path.name} would differ from the published file: its sheets were altered")
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)
    print(f"{path}  {len(content):,} bytes, md5 ok")


def unpack(source: Path, name: str, target: Path) -> None:
    """Write all files of a set."""
    target.mkdir(parents=True, exist_ok=True)
    if name == "cifar10":
        keys = ("batch_label", "labels", "data", "filenames")
        for i in range(1, 6):
            sheets = [source / f"cifar10-train-{i}-of-5.parquet"]
            write(target / f"data_batch_{i}", pickled(f"training batch {i} of 5", sheets, keys))
        write(target / "test_batch", pickled("testing batch 1 of 1", [source / "cifar10-test.parquet"], keys))
        write(target / "batches.meta", (source / "batches.meta").read_bytes())
        return
    keys = ("filenames", "batch_label", "fine_labels", "coarse_labels", "data")
    write(target / "train", pickled("training batch 1 of 1", sorted(source.glob("cifar100-train-*.parquet")), keys))
    write(target / "test", pickled("testing batch 1 of 1", [source / "cifar100-test.parquet"], keys))
    write(target / "meta", (source / "meta").read_bytes())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Write CIFAR as the pickles that torchvision reads.")
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--set", choices=sorted(FOLDERS), default="cifar10", dest="name")
    arguments = parser.parse_args()
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("VIEWKIN_DATA", beside))
    source = root / arguments.name
    if not source.is_dir():
        sys.exit(f"error: there is no {source}; set VIEWKIN_DATA to the folder that holds {arguments.name}/")
    try:
        unpack(source, arguments.name, arguments.out / FOLDERS[arguments.name])
    except OSError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
