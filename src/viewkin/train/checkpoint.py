"""Checkpoints: everything a run is, written atomically."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from viewkin.errors import UserError

FORMAT = 1
"""Version of the checkpoint layout."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` so that a kill at any moment leaves the old file or the new one, never half of one."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: there is none, it is no viewkin checkpoint, or another version wrote it.
    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}; start the run without --resume.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{path} is not a readable checkpoint; restore it from a copy or start anew.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} was not written by this version of viewkin; start the run anew.")
    return state


def first_bad_tensor(state: dict[str, Any]) -> str | None:
    """Name the first tensor of a state dict that holds NaN or infinity, if one does."""
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            return name
    return None
