"""Real images with planted copies and faults: what the benchmark of cleaning looks for."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from viewkin.nets.pretrained import read_pretrained

ROOT = Path(os.environ.get("VIEWKIN_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
"""Folder of the image sets."""
SETS = ("cars", "mini", "cifar")
KINDS = ("exact", "jpeg", "resized", "crop", "centre")
"""Copies: the same bytes; JPEG of quality 60; 60 % of the sides; 85 % of the sides anywhere, or at the centre."""
FAULTS = ("blurred", "dark", "bright", "low information", "odd aspect", "tiny")


def rows_of(name: str) -> list[dict[str, Any]]:
    """Read encoded images and labels: ``cars``, ``mini`` (train), ``mini test``."""
    file = {
        "cars": "cars196/cars196-trainhalf-crop96.parquet",
        "mini": "miniimagenet/miniimagenet-train.parquet",
        "mini test": "miniimagenet/miniimagenet-val.parquet",
    }[name]
    return pq.read_table(ROOT / file).to_pylist()


def cifar(split: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images (N, 32, 32, 3) and labels of CIFAR-10."""
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for file in sorted((ROOT / "cifar10").glob(f"cifar10-{split}*.parquet")):
        for row in pq.read_table(file).to_pylist():
            sheet = np.asarray(Image.open(io.BytesIO(row["sheet"])).convert("RGB"))
            images.append(sheet.reshape(10, 32, 10, 32, 3).transpose(0, 2, 1, 3, 4).reshape(100, 32, 32, 3))
            labels += row["labels"]
            if len(labels) >= count:
                return np.concatenate(images)[:count], np.array(labels[:count], dtype=np.int64)
    return np.concatenate(images), np.array(labels, dtype=np.int64)


def encoded(name: str) -> list[bytes]:
    """Give the encoded images of a set."""
    if name != "cifar":
        return [row["image"] for row in rows_of(name)]
    return [_png(Image.fromarray(image)) for image in cifar("test", 10_000)[0]]


def _png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def plant_copies(folder: Path, name: str, count: int, copies: int) -> Path:
    """Write ``count`` images of a set, and copies of some, named ``NUMBER__KIND``; a folder that is there is kept."""
    if folder.is_dir():
        return folder
    random = np.random.default_rng(0)
    every, ending = encoded(name), ".png" if name == "cifar" else ".webp"
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    chosen = random.permutation(len(every))[:count]
    for number in chosen:
        (part / f"{number:05d}{ending}").write_bytes(every[number])
    for number in chosen[:copies]:
        stem = part / f"{number:05d}"
        image = Image.open(io.BytesIO(every[number])).convert("RGB")
        width, height = image.size
        Path(f"{stem}__exact{ending}").write_bytes(every[number])
        image.save(f"{stem}__jpeg.jpg", quality=60)
        smaller = image.resize((round(0.6 * width), round(0.6 * height)), Image.Resampling.LANCZOS)
        smaller.save(f"{stem}__resized.jpg", quality=90)
        w, h = round(0.85 * width), round(0.85 * height)
        x, y = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
        for kind, (left, top) in (("crop", (x, y)), ("centre", ((width - w) // 2, (height - h) // 2))):
            image.crop((left, top, left + w, top + h)).save(f"{stem}__{kind}.jpg", quality=90)
    part.rename(folder)
    return folder


def plant_faults(folder: Path, name: str, count: int, planted: int) -> Path:
    """Write ``count`` images of a set and faulty versions of others, named ``NUMBER__FAULT``."""
    if folder.is_dir():
        return folder
    random = np.random.default_rng(1)
    every = encoded(name)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    order = random.permutation(len(every))
    for number in order[:count]:
        Image.open(io.BytesIO(every[number])).convert("RGB").save(part / f"{number:05d}.png")
    for place, number in enumerate(order[count : count + planted * len(FAULTS)]):
        fault = FAULTS[place % len(FAULTS)]
        image = Image.open(io.BytesIO(every[number])).convert("RGB")
        faulty(image, fault, random).save(part / f"{number:05d}__{fault.replace(' ', '-')}.png")
    part.rename(folder)
    return folder


def faulty(image: Image.Image, fault: str, random: np.random.Generator) -> Image.Image:
    """Make a picture poor: a blur of 3 % of its shorter side, 15 % of the light, overexposed, flat, 4:1, a fifth."""
    pixels = np.asarray(image).astype(np.float32)
    if fault == "blurred":
        return image.filter(ImageFilter.GaussianBlur(0.03 * min(image.size)))
    if fault == "dark":
        return Image.fromarray((0.15 * pixels).astype(np.uint8))
    if fault == "bright":
        return Image.fromarray(np.clip(1.6 * pixels + 130, 0, 255).astype(np.uint8))
    if fault == "low information":
        flat = np.full_like(pixels, random.integers(20, 235)) + random.normal(0, 1, pixels.shape)
        return Image.fromarray(np.clip(flat, 0, 255).astype(np.uint8))
    width, height = image.size
    if fault == "odd aspect":
        return image.crop((0, 0, width, max(8, width // 6)))
    return image.resize((max(8, width // 5), max(8, height // 5)))


@torch.inference_mode()
def features(folder: Path, name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Give features of EfficientNet-Lite0 (N, 1280) unit norm and labels, computed once.

    Args:
        folder: where they are kept.
        name: ``cifar_train`` (10,000 images), ``cifar_test`` at 64 px; ``mini_train``, ``mini_test`` at 96 px.
    """
    file = folder / f"{name}.npz"
    if not file.is_file():
        kind, split = name.split("_")
        if kind == "cifar":
            images, labels = cifar(split, 10_000)
        else:
            rows = rows_of("mini" if split == "train" else "mini test")
            pictures = [Image.open(io.BytesIO(row["image"])).convert("RGB").resize((96, 96)) for row in rows]
            images, labels = np.stack([np.asarray(one) for one in pictures]), np.array([row["label"] for row in rows])
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(file, z=_encode(images, 64 if kind == "cifar" else 96), y=labels)
    stored = np.load(file)
    return stored["z"][:10_000].astype(np.float32), stored["y"][:10_000].astype(np.int64)


def _encode(images: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    start = read_pretrained("efficientnet_lite0")
    network = start.network().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    mean, std = torch.tensor(start.mean).view(1, 3, 1, 1), torch.tensor(start.std).view(1, 3, 1, 1)
    rows: list[torch.Tensor] = []
    for block in torch.from_numpy(images).split(256):
        x = block.permute(0, 3, 1, 2).float() / 255
        if x.shape[-1] != side:
            x = torch.nn.functional.interpolate(x, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        rows.append(network(((x - mean) / std).contiguous(memory_format=torch.channels_last)).float())
    return torch.nn.functional.normalize(torch.cat(rows), dim=1).numpy()
