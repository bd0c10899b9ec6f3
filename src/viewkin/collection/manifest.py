"""The manifest of a collection: generations of JSON, of which the newest says which parts and rows are live.

A generation is never changed. A writer adds the next one by a link that fails where another writer was first. Each has
the BLAKE2b-256 of its content in itself, so one flipped bit is found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from viewkin.collection.places import MANIFESTS, written
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import sync_folder
from viewkin.runtime.json_text import read_json
from viewkin.runtime.version import VERSION

FORMAT = "viewkin collection 1"
KEPT = 3
"""Generations that are kept, for readers that opened an earlier one."""


@dataclass(frozen=True)
class Part:
    """An immutable Parquet file."""

    name: str
    """Its file name."""
    rows: int
    """Rows in it, those that are gone among them."""
    bytes: int
    """Its length."""
    digest: str
    """BLAKE2b-256 of all of it, hexadecimal."""


@dataclass(frozen=True)
class Origin:
    """The model that made the vectors."""

    fingerprint: str
    """:func:`viewkin.encode.fingerprint.fingerprint_of` it."""
    name: str
    """As the user named it."""
    place: str
    """Its absolute path when it was last used."""
    features: str
    """``backbone`` or ``embedding``."""
    image_size: int
    """Side of its view, pixels."""
    width: int
    """Numbers of a vector, D."""


@dataclass(frozen=True)
class ImageSet:
    """The images that a collection mirrors."""

    name: str
    """As the user named them."""
    address: str | None
    """Text that names them from any folder; None for a list and for images in memory."""
    root: str | None
    """Absolute folder that the paths start from; None for images that lie nowhere."""


@dataclass(frozen=True)
class Manifest:
    """One generation."""

    model: Origin
    """What made the vectors."""
    images: ImageSet
    """What they are of."""
    number: str = "float32"
    """Type of the numbers: ``float32`` or ``float16``."""
    value_range: tuple[float, float] | None = None
    """Values that become black and white in images of more than 8 bits; None: there was no such image yet."""
    precision: str | None = None
    """Form that the network ran in: ``float32``, ``bfloat16`` or ``int8``; None: nothing was encoded yet."""
    classes: tuple[str, ...] = ()
    """Class names by label. New ones are added at the end, so a label keeps its number."""
    parts: tuple[Part, ...] = ()
    """Live parts, in order."""
    gone: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Name of a part to its rows that are no longer there, rising."""
    generation: int = 0
    """Its number."""

    @property
    def live(self) -> int:
        """Count the live rows."""
        return sum(part.rows for part in self.parts) - sum(map(len, self.gone.values()))

    @property
    def state(self) -> str:
        """Name the live rows: 32 hexadecimal digits that change when any row comes or goes."""
        rows = [[part.name, part.digest, self.gone.get(part.name, [])] for part in self.parts]
        return hashlib.blake2b(json.dumps(rows).encode(), digest_size=16).hexdigest()


class DamagedManifestError(UserError):
    """A generation is not what was written."""


def is_collection(folder: Path) -> bool:
    """Whether a folder holds generations of a manifest."""
    return bool(generations(folder))


def generations(folder: Path) -> list[int]:
    """List the numbers of the generations that lie in a collection, rising."""
    try:
        names = [path.name for path in (folder / MANIFESTS).iterdir()]
    except OSError:
        return []
    return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdecimal())


def place_of(folder: Path, generation: int) -> Path:
    """Name the file of a generation."""
    return folder / MANIFESTS / f"{generation:08d}.json"


def newest(folder: Path) -> Manifest | None:
    """Read the newest generation; None where there is none.

    Raises:
        DamagedManifestError: it is damaged.
        UserError: it is of a newer version of viewkin, or cannot be read.
    """
    while numbers := generations(folder):
        try:
            return read_generation(place_of(folder, numbers[-1]))
        except FileNotFoundError:
            continue  # a writer removed old generations meanwhile, so there is a newer one
    return None


def newest_sound(folder: Path) -> tuple[Manifest | None, list[str]]:
    """Read the newest generation that is not damaged, and name those that are.

    Raises:
        UserError: all are damaged, or one is of a newer version.
    """
    numbers = generations(folder)
    damaged: list[str] = []
    for number in reversed(numbers):
        try:
            manifest = read_generation(place_of(folder, number))
        except FileNotFoundError:
            return newest_sound(folder)
        except DamagedManifestError:
            damaged.append(place_of(folder, number).name)
            continue
        return replace(manifest, generation=numbers[-1]), damaged
    if damaged:
        raise UserError(f"No manifest in {folder / MANIFESTS} can be read: delete {folder} and embed the images again.")
    return None, []


def read_generation(path: Path) -> Manifest:
    """Read one generation.

    Raises:
        FileNotFoundError: it is not there.
        DamagedManifestError: it is damaged.
        UserError: it is of another version of viewkin, or cannot be read.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): allow it to be read.") from error
    try:
        body: Any = read_json(text)
        stated = body.pop("checksum")
        if stated != _checksum(body):
            raise ValueError("its checksum does not match")
        if body["format"] != FORMAT:
            stated = body["format"]
            raise UserError(f"{path} is of format {stated!r} and this version reads {FORMAT!r}: update viewkin.")
        return _manifest_of(body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedManifestError(
            f"{path} is damaged: run the same `viewkin embed` again, which goes on from the generation before, "
            "or restore it from a copy."
        ) from error


def _manifest_of(body: dict[str, Any]) -> Manifest:
    value_range = body["value_range"]
    return Manifest(
        model=Origin(**body["model"]),
        images=ImageSet(**body["images"]),
        number=body["number"],
        value_range=None if value_range is None else (float(value_range[0]), float(value_range[1])),
        precision=body.get("precision"),
        classes=tuple(body["classes"]),
        parts=tuple(Part(**part) for part in body["parts"]),
        gone={name: list(rows) for name, rows in body["gone"].items()},
        generation=int(body["generation"]),
    )


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=32).hexdigest()


def publish(folder: Path, manifest: Manifest) -> bool:
    """Add a generation; False where another writer added one of this number first.

    Raises:
        OSError: the folder cannot be written.
    """
    body = asdict(manifest) | {
        "format": FORMAT,
        "viewkin": VERSION,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    body = json.loads(json.dumps(body))
    text = json.dumps(body | {"checksum": _checksum(body)}, indent=1) + "\n"
    target = place_of(folder, manifest.generation)
    with written(folder / MANIFESTS, text.encode()) as path:
        try:
            os.link(path, target)
        except FileExistsError:
            return False
        except OSError:  # no hard links on this file system: the lock alone keeps writers apart
            if target.exists():
                return False
            path.rename(target)
    sync_folder(folder / MANIFESTS)
    for number in generations(folder)[:-KEPT]:
        with contextlib.suppress(OSError):
            place_of(folder, number).unlink()
    return True


def added(manifest: Manifest, change: Callable[[Manifest], Manifest]) -> Manifest:
    """Apply a change, as the next generation."""
    return replace(change(manifest), generation=manifest.generation + 1)
