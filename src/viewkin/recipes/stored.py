"""The settings of a run in its directory: written, read back, run again."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import viewkin
from viewkin import config
from viewkin.draws import seed_for
from viewkin.errors import UserError
from viewkin.evaluate.results import revision
from viewkin.methods.base import Method
from viewkin.nets.backbone import build_backbone
from viewkin.recipes.catalogue import KINDS
from viewkin.train.config import Recipe


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What ``recipe.json`` says."""

    data: str
    """The images, as they were named."""
    images: int
    """How many could be read."""
    recipe: Recipe
    """Every setting."""
    smoke: bool = False
    """Whether it was a smoke test, on few of the images."""
    demo: bool = False
    """Whether the next demonstration may take the directory."""


def write_settings(out: Path, stored: Stored) -> None:
    """Write ``recipe.json`` and ``versions.json``.

    Raises:
        UserError: ``out`` cannot be written.
    """
    settings: dict[str, Any] = {name: getattr(stored, name) for name in ("data", "images", "smoke", "demo")}
    settings["recipe"] = config.to_dict(stored.recipe)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in (("versions.json", versions()), ("recipe.json", settings)):
            partial = out / f"{name}.partial"
            partial.write_text(json.dumps(content, indent=2) + "\n")
            partial.replace(out / name)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); name another --out.") from error


def stored_run(place: Path) -> Stored:
    """Read the settings of a run from its directory or its ``recipe.json``.

    Raises:
        UserError: there is no run, or its settings are damaged or another version's.
    """
    path = place / "recipe.json" if place.is_dir() else place
    if not path.is_file():
        raise UserError(f"{place} holds no run (no recipe.json); give the directory that 'viewkin train' printed.")
    try:
        return config.from_dict(Stored, json.loads(path.read_text(encoding="utf-8")), KINDS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged; restore it from a copy, or start a new run.") from error
    except UserError as error:
        raise UserError(
            f"{path} cannot be used: {error} Correct it, install the version that wrote it, or start a new run."
        ) from error


def rebuilt(recipe: Recipe, count: int) -> Method:
    """Build the method of a recipe for ``count`` images, untrained."""
    torch.manual_seed(seed_for(recipe.seed, "init"))
    return recipe.method.build(build_backbone(replace(recipe.backbone, pretrained=False)), count=count)


def versions() -> dict[str, str]:
    """What produced a result: versions, commit, processor, device."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else (platform.processor() or platform.machine())
    return {
        "viewkin": viewkin.__version__,
        "commit": revision() or "",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device,
        "threads": str(torch.get_num_threads()),
        "command": " ".join(["viewkin", *sys.argv[1:]]),
    }
