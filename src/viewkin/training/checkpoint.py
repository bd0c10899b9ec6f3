"""Checkpoints: everything a run is, written atomically, with a checksum; the newest two are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from viewkin.data.source import Source
from viewkin.nets.tensor_files import DamagedFileError, read_tensors, write_tensors
from viewkin.runtime.draws import seed_for
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing
from viewkin.runtime.places import remedy
from viewkin.training.outcome import UnwritableRunError

FORMAT = 1
"""Version of the checkpoint layout."""


LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
"""Files of a run directory: its newest checkpoint, and the one before."""


class DamagedCheckpointError(UserError):
    """A checkpoint is not what was written."""


def save_checkpoint(path: Path, state: dict[str, Any], *, before: Path | None = None) -> None:
    """Write ``state`` so that a kill at any moment leaves the old file or the new one, never half of one.

    Args:
        path: where to.
        state: what to write; the file gets a checksum.
        before: name under which the file that is replaced is kept.

    Raises:
        UnwritableRunError: there is no room, or the place can no longer be written.
    """
    try:
        with replacing(path, durable=True) as part:
            with part.open("wb") as file:
                write_tensors({"format": FORMAT, **state}, file)
            if before is not None and path.exists():
                _name_also(path, before)
    except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else "is the disk full?"
        first = remedy(error) if isinstance(error, OSError) else "make room"
        raise UnwritableRunError(path, str(reason), kept=has_checkpoint(path.parent), remedy=first) from error


def _name_also(path: Path, before: Path) -> None:
    """Give a file the name ``before`` as well; where the file system has no links, instead of its own."""
    try:
        with replacing(before) as spare:  # replacing a file by another name of itself does nothing
            os.link(path, spare)
    except OSError:
        path.replace(before)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: there is none, or another version wrote it.
        DamagedCheckpointError: it is no viewkin checkpoint, or not what was written.
    """
    if not path.is_file():
        raise UserError(
            f"There is no checkpoint {path}, so there is nothing to go on from; start anew in another --out."
        )
    try:
        state = read_tensors(path)
    except DamagedFileError as error:
        raise DamagedCheckpointError(
            f"{path} is not a readable checkpoint ({error}); restore it from a copy or start anew."
        ) from error
    stated: Any = state.get("format") if isinstance(state, dict) else None
    if not isinstance(stated, int) or stated != FORMAT:  # a tensor would not say whether it is equal
        raise UserError(f"{path} was not written by this version of viewkin; start the run anew.")
    return state


def has_checkpoint(out: Path) -> bool:
    """Whether there is something in a run directory to go on from."""
    return (out / LAST).exists() or (out / PREVIOUS).exists()


def load_newest(out: Path) -> tuple[Path, dict[str, Any], str]:
    """Read the newest sound checkpoint of a run directory.

    Returns:
        Its path, what it holds, and a sentence where the newest one is damaged or missing; else an empty text.

    Raises:
        UserError: neither of the two can be used.
    """
    try:
        return out / LAST, load_checkpoint(out / LAST), ""
    except UserError as error:
        lost, previous = not (out / LAST).is_file(), out / PREVIOUS
        if not (lost or isinstance(error, DamagedCheckpointError)) or not previous.is_file():
            raise
    try:
        state = load_checkpoint(previous)
    except DamagedCheckpointError as error:
        raise DamagedCheckpointError(
            f"Neither {out / LAST} nor {previous} is a readable checkpoint; restore one from a copy or start anew."
        ) from error
    why = "is missing" if lost else "is damaged"
    return previous, state, f"{out / LAST} {why}, so the checkpoint before it is used: {previous}."


def restore_last(out: Path) -> None:
    """Put the checkpoint before in the place of a damaged ``last.ckpt``, so that the next save keeps it."""
    spare = out / "last.partial"
    try:
        shutil.copyfile(out / PREVIOUS, spare)
        spare.replace(out / LAST)
    except OSError as error:
        raise UnwritableRunError(out / LAST, str(error.strerror), kept=True, remedy=remedy(error)) from error


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
