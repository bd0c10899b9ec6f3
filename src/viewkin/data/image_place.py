"""The place of a set of images, as a user names it. This imports no torch: a mistyped name is told at once."""

from __future__ import annotations

from pathlib import Path

from viewkin.runtime.errors import UserError
from viewkin.runtime.places import is_of_system, nearest, printable, shortened, why_not

GENERATED = "generated"
"""Names the set that is drawn."""


def is_generated(spec: str) -> bool:
    """Tell whether a text names the generated set."""
    return spec.partition(":")[0] == GENERATED


def existing(place: str) -> Path:
    """Turn what a user wrote into a path that exists.

    Raises:
        UserError: it does not; the nearest name beside it is offered.
    """
    if not place.strip():
        raise UserError("The name of the images is empty: give a folder of images, an image or a Parquet file.")
    try:
        path = Path(place).expanduser()
        path.stat()
        real = path.resolve()
    except FileNotFoundError:
        raise UserError(f"There is no {printable(place)}: {_hint(place)}") from None
    except NotADirectoryError:
        raise UserError(f"There is no {printable(place)}, because a part of it is a file: name the file.") from None
    except (OSError, ValueError, RuntimeError) as error:
        why = why_not(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"{shortened(place)} cannot be opened ({why}): name another folder, or allow it.") from None
    if is_of_system(real) or not (path.is_dir() or path.is_file()):
        raise UserError(f"{printable(place)} holds no files of a disk: give a folder of images.")
    return path


def _hint(place: str) -> str:
    """Offer the nearest name beside one that is not there."""
    near = nearest(place, words=(GENERATED,))
    return f"did you mean {near}?" if near else "give a folder of images, an image, a Parquet file or 'generated'."
