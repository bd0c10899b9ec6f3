"""Files of tensors with a checksum of their own: what ``torch.save`` writes, and safetensors.

Files without a checksum, of older versions, are read as they are. A file says beside its checksum that it has one, so
that damage to the checksum's mark does not pass for an older version.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from viewkin.runtime.checksum import DIGEST_BYTES, HashingFile, blocks, is_sound, new_digest

MARK = "checksum"
"""Key by which a checkpoint, or the description of a backbone, says that its file has a checksum."""
BLANK = "0" * 2 * DIGEST_BYTES
"""What stands in place of a safetensors file's checksum while the rest is hashed."""
STATE_DICTS = ("state_dict", "model", "model_state_dict", "teacher", "net")
"""Names under which checkpoints of other libraries keep a state dict."""
LENGTH_BYTES = 8
"""Bytes at the start of a safetensors file: the length of its header."""
LONGEST = 100_000_000
"""Bytes of the longest header that safetensors reads."""


class DamagedFileError(Exception):
    """A file is not what was written."""


def write_tensors(state: Mapping[str, Any], file: BinaryIO) -> None:
    """Write a dict as ``torch.save`` does, with its checksum behind it."""
    hashing = HashingFile(file)
    torch.save({**state, MARK: "blake2b"}, cast(Any, hashing))
    hashing.seal()


def read_tensors(path: Path) -> Any:
    """Read what :func:`write_tensors` or ``torch.save`` wrote, onto the CPU; code in it does not run.

    Raises:
        DamagedFileError: it cannot be read, or is not what was written.
    """
    try:
        with path.open("rb") as file:
            sound = is_sound(file)
            if sound is False:
                raise DamagedFileError("its checksum does not match")
            state = torch.load(file, map_location="cpu", weights_only=True)
    except DamagedFileError:
        raise
    except Exception as error:  # zip, pickle and torch raise a dozen kinds for a broken file
        raise DamagedFileError(_reason(error)) from error
    if sound is None and isinstance(state, dict) and MARK in state:
        raise DamagedFileError("its checksum is missing")
    return cast(Any, state)


def sealed_safetensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Give the bytes of a safetensors file whose metadata holds the BLAKE2b-256 of the rest under MARK."""
    content = save(dict(tensors), {**metadata, MARK: BLANK})
    digest = new_digest()
    digest.update(content)
    return content.replace(_field(BLANK), _field(digest.hexdigest()), 1)


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read a safetensors file's metadata and tensors; its checksum must match where it has one.

    Raises:
        DamagedFileError: it cannot be read, or is not what was written.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        if MARK in metadata and _digest_without(path, metadata[MARK]) != metadata[MARK]:
            raise DamagedFileError("its checksum does not match")
    except DamagedFileError:
        raise
    except Exception as error:  # the library raises several kinds
        raise DamagedFileError(_reason(error)) from error
    return metadata, tensors


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of any library's file: safetensors, or what ``torch.save`` wrote of a state dict.

    A checkpoint is searched for a state dict under the names that are usual for it.

    Raises:
        DamagedFileError: it cannot be read, or holds no weights.
    """
    stored: Any = read_safetensors(path)[1] if path.suffix == ".safetensors" else read_tensors(path)
    for name in ("", *STATE_DICTS):
        part = stored.get(name) if name and isinstance(stored, dict) else stored
        if isinstance(part, dict) and (named := {str(k): v for k, v in part.items() if isinstance(v, Tensor)}):
            return named
    raise DamagedFileError("it has no state dict")


def _digest_without(path: Path, stated: str) -> str:
    """Hash a safetensors file with its checksum blanked."""
    digest = new_digest()
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        header = file.read(min(int.from_bytes(start, "little"), LONGEST))
        digest.update(start + header.replace(_field(stated), _field(BLANK), 1))
        for block in blocks(file, path.stat().st_size):
            digest.update(block)
    return digest.hexdigest()


def _field(digest: str) -> bytes:
    return f'"{MARK}":"{digest}"'.encode()


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # torch's text is a page on how to run code from files
        return "it holds no tensors, or more than tensors"
    return " ".join(str(error).split())[:120] or type(error).__name__
