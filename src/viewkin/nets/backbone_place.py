"""The place of a trained network, as a user names it. This imports no torch: a mistyped name is told at once."""

from __future__ import annotations

from pathlib import Path

from viewkin.runtime.errors import UserError
from viewkin.runtime.places import nearest, shortened


def no_backbone(path: Path | str) -> UserError:
    """Make the error that there is no network at a path; the nearest name beside one that is not there is offered."""
    near = None if exists(path) else nearest(path)
    names = "a run directory, a file of weights, timm/NAME or efficientnet_lite0"
    hint = f"did you mean {near}?" if near else f"give {names}."
    return UserError(f"There is no backbone at {shortened(str(path))}: {hint}")


def exists(path: Path | str) -> bool:
    """Tell whether anything is at a path; what the system refuses to tell is not."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
