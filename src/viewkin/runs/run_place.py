"""The place of a run, as a user names it. This imports no torch: a mistyped name is told at once."""

from __future__ import annotations

from pathlib import Path

from viewkin.nets.backbone_place import exists
from viewkin.runtime.errors import UserError
from viewkin.runtime.places import nearest, shortened


def check_run(place: Path | str) -> None:
    """Refuse what is no directory.

    Raises:
        UserError: it is none; the nearest name beside one that is not there is offered.
    """
    if exists(place) and Path(place).is_dir():
        return
    near = None if exists(place) else nearest(place)
    hint = f"did you mean {near}?" if near else "give the directory that 'viewkin train' printed."
    raise UserError(f"{shortened(str(place))} is no run directory; {hint}")
