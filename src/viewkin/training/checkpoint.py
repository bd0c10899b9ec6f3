"""Checkpoints: everything a run is, written atomically."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from viewkin.data.source import Source
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError
from viewkin.training.outcome import RunStoppedError

FORMAT = 1
"""Version of the checkpoint layout."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` so that a kill at any moment leaves the old file or the new one, never half of one.

    Raises:
        RunStoppedError: there is no room, or the place can no longer be written.
    """
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else "is the disk full?"
        raise RunStoppedError(f"{path} cannot be written ({reason}); make room, then go on with --resume.") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: there is none, it is no viewkin checkpoint, or another version wrote it.
    """
    if not path.is_file():
        raise UserError(
            f"There is no checkpoint {path}, so there is nothing to go on from; start anew in another --out."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch raise a dozen kinds for a broken file
        raise UserError(f"{path} is not a readable checkpoint; restore it from a copy or start anew.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} was not written by this version of viewkin; start the run anew.")
    return state


def load_method(path: Path, state: dict[str, Any], method: nn.Module) -> None:
    """Put the weights and the memory of a checkpoint read from ``path`` into a method.

    Raises:
        UserError: they are another method's or network's.
    """
    try:
        method.load_state_dict(state["method"])
    except RuntimeError as error:
        raise UserError(
            f"{path} is no checkpoint of the method and network that recipe.json beside it names; restore both from a "
            "copy, or start a new run."
        ) from error


def first_bad_tensor(state: dict[str, Any]) -> str | None:
    """Name the first tensor of a state dict that holds NaN or infinity, if one does."""
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            return name
    return None


def names_of(source: Source) -> dict[str, Any]:
    """What a checkpoint says of its images: how many, and a hash of their keys in order."""
    return {"count": len(source), "keys": seed_for(*source.keys)}


def is_of(images: Mapping[str, Any], source: Source) -> bool:
    """Whether a checkpoint's images have the keys of a source; of checkpoints of older versions, their number alone."""
    known = {name: value for name, value in images.items() if name in ("count", "keys")}
    return known.items() <= names_of(source).items()
