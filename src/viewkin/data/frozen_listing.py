"""The listing that a run keeps of the images it learns from, and how it differs from what is there now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from viewkin.data.cache import CONTENT_BYTES
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing
from viewkin.runtime.wording import counted

EXAMPLES = 3
"""Keys that a sentence names of each kind of difference."""


@dataclass(frozen=True)
class FrozenListing:
    """Keys and content ids of some images, in an order that positions refer to."""

    keys: list[str]
    """Paths relative to the set's root; each once."""
    content_ids: list[str]
    """32 hexadecimal digits each."""

    def __len__(self) -> int:
        """Count the images."""
        return len(self.keys)


@dataclass(frozen=True)
class Differences:
    """How a set differs from an earlier listing of it, in keys."""

    added: list[str]
    """Images that the earlier listing lacks."""
    removed: list[str]
    """Images that are no longer there."""
    changed: list[str]
    """Images of the same key and another content."""

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed or self.changed)

    def sentence(self) -> str:
        """Say what differs, with up to three examples of each kind."""
        kinds = {"added": self.added, "removed": self.removed, "changed": self.changed}
        parts = [f"{counted(len(keys), 'image')} {kind} ({_some(keys)})" for kind, keys in kinds.items() if keys]
        if not parts:
            return "No image was added, removed or changed."
        return f"{', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}."


def differences(before: FrozenListing, now: FrozenListing) -> Differences:
    """Compare a set with an earlier listing of it; the order of the images does not count."""
    old, new = (dict(zip(one.keys, one.content_ids)) for one in (before, now))
    return Differences(
        added=[key for key in now.keys if key not in old],
        removed=[key for key in before.keys if key not in new],
        changed=[key for key in now.keys if key in old and old[key] != new[key]],
    )


def write_listing(path: Path, keys: Sequence[str], content_ids: Sequence[str]) -> None:
    """Write keys and content ids as Parquet, with the columns ``key`` and ``content`` (16 bytes).

    Raises:
        UserError: the file cannot be written.
    """
    content = pa.array([bytes.fromhex(one) for one in content_ids], pa.binary(CONTENT_BYTES))
    table = pa.table({"key": pa.array(keys, pa.string()), "content": content})
    try:
        with replacing(path) as unfinished:
            pq.write_table(table, unfinished, write_page_checksum=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): name a writable folder.") from error


def read_listing(path: Path) -> FrozenListing:
    """Read what :func:`write_listing` wrote.

    Raises:
        UserError: no such file, or a damaged one.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            table = parquet.read(columns=["key", "content"])
        kinds = pa.schema([("key", pa.string()), ("content", pa.binary(CONTENT_BYTES))])
        table = table.cast(kinds)  # a damaged description of the columns
        table.validate(full=True)
        return FrozenListing(table["key"].to_pylist(), [one.hex() for one in table["content"].to_pylist()])
    except PermissionError as error:
        raise UserError(f"{path} cannot be read (permission denied): allow it.") from error
    except (OSError, pa.ArrowException, KeyError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path} is no list of a run's images, or a damaged one: restore it from a copy of the run."
        ) from error


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:EXAMPLES]) + ", ..." * (len(keys) > EXAMPLES)
