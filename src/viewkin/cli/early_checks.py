"""Names of folders and files, checked before torch is imported: a mistyped one is told at once.

The full checks come later and say the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from viewkin.data.image_place import existing, is_generated
from viewkin.nets.backbone_place import exists
from viewkin.nets.pretrained_names import check_source
from viewkin.runs.run_place import check_run
from viewkin.runtime.errors import UserError

PIXELS = "pixels"
"""Stands for raw pixels in the place of a model."""


def check_images(data: str | None) -> None:
    """Refuse images that are not there; None names none.

    Raises:
        UserError: they are not.
    """
    if data is not None and not is_generated(data):
        existing(data)


def check_models(*models: str) -> None:
    """Refuse models that are not there; files of embeddings, which a map takes, are read later.

    Raises:
        UserError: one is not.
    """
    for model in models:
        if model != PIXELS and not model.endswith(".parquet"):
            check_source(model)


def check_runs(runs: Iterable[str]) -> None:
    """Refuse run directories that are not there.

    Raises:
        UserError: one is not.
    """
    for run in runs:
        check_run(run)


def check_recipe(name: str | None) -> None:
    """Refuse a folder, or a path, in the place of a recipe's name.

    Raises:
        UserError: it is one.
    """
    if name is not None and (os.sep in name or (exists(name) and Path(name).is_dir())):
        raise UserError(f"There is no recipe {name!r}; 'viewkin recipes' lists them.")
