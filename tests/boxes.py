"""Tiny images with boxes, in the two layouts that are read."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("red", "blue")


def squares(seed: int, side: int = 64) -> tuple[np.ndarray, list[list[float]], list[int]]:
    """One grey image with a red square and a blue one: (pixels, boxes, labels)."""
    random = np.random.default_rng(seed)
    pixels = np.full((side, side + 16, 3), 128, np.uint8)
    boxes: list[list[float]] = []
    for label, x0 in enumerate((0, (side + 16) // 2)):
        size = int(random.integers(18, 28))
        x, y = x0 + int(random.integers(0, 10)), int(random.integers(0, side - size))
        pixels[y : y + size, x : x + size] = (255, 0, 0) if label == 0 else (0, 0, 255)
        boxes.append([x, y, x + size, y + size])
    return pixels, boxes, [0, 1]


def parquet_of_boxes(path: Path, counts: dict[str, int], **changed: Any) -> Path:
    """Write Parquet with columns image, name, split, boxes and labels; ``changed`` replaces or drops (None) columns."""
    rows: dict[str, list[Any]] = {name: [] for name in ("image", "name", "split", "boxes", "labels")}
    for split, count in counts.items():
        for _ in range(count):
            pixels, boxes, labels = squares(len(rows["name"]))
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            values = (stream.getvalue(), f"image-{len(rows['name'])}", split, boxes, labels)
            for name, value in zip(rows, values):
                rows[name].append(value)
    kept = {name: values for name, values in {**rows, **changed}.items() if values is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(kept).replace_schema_metadata({"class_names": json.dumps(CLASSES)}), path)
    return path


def voc_image(root: Path, name: str, objects: Sequence[tuple[str, Sequence[float], bool]], side: int = 40) -> None:
    """Write one image and its annotation: (class, xmin ymin xmax ymax counted from 1, difficult)."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side)).save(root / "JPEGImages" / f"{name}.jpg")
    shown = "".join(
        f"<object><name>{kind}</name><difficult>{int(difficult)}</difficult><bndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box))
        + "</bndbox></object>"
        for kind, box, difficult in objects
    )
    (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{shown}</annotation>")


def voc_list(root: Path, split: str, names: Sequence[str]) -> None:
    """List the images of a split."""
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
