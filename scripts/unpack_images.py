"""Write image Parquet as a folder of JPEG files, one subfolder a class, to try the folder source on.

    python scripts/unpack_images.py miniimagenet data/miniimagenet

Reads ``<set>-train.parquet`` and ``<set>-val.parquet`` of $VIEWKIN_DATA/<set> (default ../shared/data when it exists)
into ``OUT/train/<class>/<name>.jpg`` and ``OUT/test/...``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image


def unpack(parquet: Path, out: Path, quality: int) -> int:
    """Write every row's image; return how many."""
    table = pq.read_table(parquet)
    names: list[str] = json.loads((table.schema.metadata or {})[b"class_names"])
    for row in table.to_pylist():
        folder = out / names[row["label"]].replace("/", "-").replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.open(io.BytesIO(row["image"])).convert("RGB")
        image.save((folder / Path(row["name"]).name).with_suffix(".jpg"), quality=quality)
    return table.num_rows


def main() -> None:
    """Read the command line and unpack both splits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("set", help="name of a folder of $VIEWKIN_DATA with image Parquet")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--quality", type=int, default=90, help="JPEG quality")
    options = parser.parse_args()
    default = Path("../shared/data")
    root = Path(os.environ.get("VIEWKIN_DATA") or default)
    for split, name in (("train", "train"), ("test", "val")):
        parquet = root / options.set / f"{options.set}-{name}.parquet"
        if not parquet.is_file():
            sys.exit(f"error: there is no {parquet}; set VIEWKIN_DATA to the folder that holds {options.set}/.")
        print(f"{unpack(parquet, options.out / split, options.quality)} images in {options.out / split}")


if __name__ == "__main__":
    main()
