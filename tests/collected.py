"""A tiny network and a collection made by it, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from viewkin.augment.policies import policy
from viewkin.collection.manifest import Origin
from viewkin.collection.reader import Reader
from viewkin.collection.update import update
from viewkin.collection.writer import Update, UpdateRequest
from viewkin.data.dataset import Dataset
from viewkin.encode.fingerprint import fingerprint_of
from viewkin.encode.model import Model

SIDE = 16
WIDTH = 12


class Network(nn.Module):
    """Pools an image to 2 x 2 and mixes; counts the images that it sees."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.mix = nn.Parameter(torch.randn(WIDTH, 12, generator=generator))
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, SIDE, SIDE) -> (B, WIDTH)."""
        self.seen += len(x)
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1) @ self.mix.T


def model(seed: int = 0) -> Model:
    return Model(f"network {seed}", Network(seed), SIDE, policy("moco-cifar"))


def seen_by(one: Model) -> int:
    """Images that the network of a model has seen."""
    encoder: Any = one.encoder
    return encoder.seen


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 30), **options: Any) -> Path:
    """Write a smooth random picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


def pictures(folder: Path, numbers: range, classes: tuple[str, ...] = ()) -> Path:
    """Write a picture for each number, in a subfolder a class in turn."""
    for number in numbers:
        place = folder / classes[number % len(classes)] if classes else folder
        picture(place / f"{number:03d}.jpg", number)
    return folder


def gathered(folder: Path, images: Any, one: Model | None = None, name: str = "network", **options: Any) -> Update:
    """Bring a collection up to date."""
    one = model() if one is None else one
    origin = Origin(fingerprint_of(one, "backbone"), name, f"/models/{name}", "backbone", one.image_size, 0)
    request: dict[str, Any] = {"folder": folder, "dataset": Dataset(images), "model": one, "origin": origin}
    return update(UpdateRequest(**request, device=torch.device("cpu"), **options))


def rows_of(folder: Path) -> dict[str, np.ndarray]:
    """The vectors of a collection by key."""
    reader = Reader(folder)
    return dict(zip(reader.rows.keys, reader.vectors))


def counts(done: Update) -> dict[str, int]:
    """The counts of an update that are not zero."""
    names = ("images", "computed", "changed", "kept", "renamed", "copied", "relabelled", "gone")
    told = {name: getattr(done, name) for name in names} | {"left_out": len(done.left_out)}
    return {name: count for name, count in told.items() if count}
