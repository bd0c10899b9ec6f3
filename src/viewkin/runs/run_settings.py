"""The settings of a run in its directory: written, read back, run again."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from viewkin.data.dataset import Dataset
from viewkin.methods.base import Method
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.nets.backbone import build_backbone
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError, inside, require
from viewkin.runtime.json_text import read_json
from viewkin.runtime.provenance import versions
from viewkin.settings import settings_from_dict, settings_to_dict
from viewkin.training.config import Recipe

STORED = ("data", "address", "fingerprint", "images", "smoke", "demo")
"""Fields of ``recipe.json`` beside the recipe."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What ``recipe.json`` says."""

    data: str
    """The images, as they were named."""
    address: str | None = None
    """What names the same images from any working directory; None for images in memory."""
    fingerprint: str | None = None
    """Hash of the images' keys and contents; None in runs of older versions."""
    images: int
    """How many could be read."""
    recipe: Recipe
    """Every setting."""
    smoke: bool = False
    """Whether it was a smoke test, on few of the images."""
    demo: bool = False
    """Whether the next demonstration may take the directory."""

    def __post_init__(self) -> None:
        require(self.images >= 0, "images", self.images, "at least 0")

    def images_from(self) -> Dataset:
        """Take the images of the run: by the name that the user gave where it means them here, else by their address.

        Raises:
            UserError: they are not there.
        """
        reading, found = self.recipe.data.reading, list[Dataset]()
        for name in dict.fromkeys((self.data, self.address or self.data)):
            with contextlib.suppress(UserError):
                found.append(Dataset.of(name, reading))
        same = [dataset for dataset in found if dataset.address == self.address]
        if not found:
            raise UserError(
                f"The images that the run was trained on are no longer at {self.address or self.data}; say where they "
                "are now: --data DATA for a figure, DATA for 'viewkin train --resume', images=... in Python."
            )
        return (same or found)[0]


def write_settings(out: Path, stored: RunSettings) -> None:
    """Write ``recipe.json`` and ``versions.json``.

    Raises:
        UserError: ``out`` cannot be written.
    """
    settings: dict[str, Any] = {
        name: getattr(stored, name) for name in ("data", "address", "fingerprint", "images", "smoke", "demo")
    }
    settings["recipe"] = settings_to_dict(stored.recipe)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in (("versions.json", versions()), ("recipe.json", settings)):
            partial = out / f"{name}.partial"
            partial.write_text(json.dumps(content, indent=2) + "\n")
            partial.replace(out / name)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); name another --out.") from error


def read_run_settings(place: Path) -> RunSettings:
    """Read the settings of a run from its directory or its ``recipe.json``.

    Raises:
        UserError: there is no run, or its settings are damaged or another version's.
    """
    path = place / "recipe.json" if place.is_dir() else place
    if not path.is_file():
        raise UserError(f"{place} holds no run (no recipe.json); give the directory that 'viewkin train' printed.")
    try:
        return settings_from_dict(RunSettings, read_json(path.read_text(encoding="utf-8")), METHOD_CONFIGS)
    except PermissionError as error:
        raise UserError(f"{path} cannot be read (permission denied): allow it.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged; restore it from a copy, or start a new run.") from error
    except UserError as error:
        raise UserError(
            f"{path} cannot be used: {error} Correct it, install the version that wrote it, or start a new run."
        ) from error


def rebuilt(recipe: Recipe, count: int) -> Method:
    """Build the method of a recipe for ``count`` images, untrained."""
    torch.manual_seed(seed_for(recipe.seed, "init"))
    backbone = build_backbone(recipe.backbone)
    recipe.init.hold(backbone)
    with inside("method"):
        return recipe.method.build(backbone, count=count)
