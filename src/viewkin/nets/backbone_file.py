"""Files with a backbone's weights and everything needed to use them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_type_hints

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.nets.backbone_place import no_backbone
from viewkin.nets.tensor_files import MARK, DamagedFileError, read_safetensors, read_tensors, sealed_safetensors
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing
from viewkin.runtime.json_text import read_json
from viewkin.settings import fits

FORMAT = "viewkin backbone 1"
KEY = "viewkin"
"""Name of the JSON text in a safetensors file's metadata."""
PREFIX = "backbone."
"""Prefix of the backbone's keys in a checkpoint's ``method``, unless the metadata has another ``prefix``."""


class DamagedBackboneError(UserError):
    """A backbone's file is not what was written."""


def describe_backbone(
    config: BackboneConfig,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: int,
    extra: Mapping[str, Any] | None = None,
    prefix: str = PREFIX,
) -> str:
    """Describe a backbone as JSON, with everything needed to use its weights.

    Args:
        config: settings it was built with.
        mean: mean of each channel of its training images, for values in 0 to 1.
        std: standard deviation of each channel, likewise.
        size: side of its training images, pixels.
        extra: other JSON values.
        prefix: prefix of the backbone's keys, in a checkpoint only.
    """
    known = {"format": FORMAT, "config": asdict(config), "mean": list(mean), "std": list(std), "size": size}
    return json.dumps({**known, "prefix": prefix, "extra": dict(extra or {})})


def save_backbone(
    path: Path | str,
    backbone: nn.Module,
    config: BackboneConfig,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: int,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a backbone to a safetensors file atomically; arguments as in :func:`describe_backbone`."""
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in backbone.state_dict().items()}
    facts = json.loads(describe_backbone(config, mean=mean, std=std, size=size, extra=extra))
    metadata = {KEY: json.dumps({**facts, MARK: "blake2b"})}
    try:
        with replacing(path) as unfinished:
            # safetensors' own writer uses a temporary file, which would remain if the process is killed.
            unfinished.write_bytes(sealed_safetensors(tensors, metadata))
    except (OSError, SafetensorError) as error:
        raise UserError(f"The backbone cannot be written to {path}: {error}.") from error


def load_backbone(path: Path | str) -> nn.Module:
    """Load a backbone (B, C, H, W) -> (B, F) in evaluation mode, on the CPU.

    It has the attributes ``feature_dim`` F; ``mean`` and ``std`` of each channel, for images of values 0 to 1;
    ``image_size`` in pixels; ``extra``, the values stored with it; and ``config``, the settings it was built with.

    Args:
        path: a run directory (its ``backbone.safetensors``), a ``.safetensors`` file or a ``.ckpt`` checkpoint.

    Raises:
        UserError: the file is missing, damaged or not one of this library, or its weights do not match its description.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "backbone.safetensors"
    if not path.is_file() or path.suffix not in (".ckpt", ".safetensors"):
        raise no_backbone(path)
    text, tensors = _read_checkpoint(path) if path.suffix == ".ckpt" else _read_safetensors(path)
    config, facts = parse_description(path, text)
    prefix = facts.get("prefix", PREFIX) if path.suffix == ".ckpt" else ""
    weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    _check_fit(config, weights, path)
    backbone = build_backbone(config)
    backbone.load_state_dict(weights)
    attributes: Any = backbone
    attributes.config = config
    attributes.mean, attributes.std = facts["mean"], facts["std"]
    attributes.image_size, attributes.extra = facts["size"], facts["extra"]
    return backbone.eval()


def _read_safetensors(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        metadata, tensors = read_safetensors(path)
    except DamagedFileError as error:
        raise _broken(path, error) from error
    text = metadata.get(KEY)
    if text is None:
        raise _foreign(path)
    if MARK not in metadata and f'"{MARK}"' in text:
        raise _broken(path, DamagedFileError("its checksum is missing"))
    return text, tensors


def _read_checkpoint(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        stored = read_tensors(path)
    except DamagedFileError as error:
        raise _broken(path, error) from error
    parts = cast("dict[str, Any]", stored) if isinstance(stored, dict) else {}
    text, tensors = parts.get("backbone"), parts.get("method")
    if not isinstance(text, str) or not isinstance(tensors, dict):
        raise _foreign(path)
    named = cast("dict[str, Any]", tensors)
    return text, {name: value for name, value in named.items() if isinstance(value, Tensor)}


def parse_description(path: Path, text: str) -> tuple[BackboneConfig, dict[str, Any]]:
    """Read what :func:`describe_backbone` wrote: the settings of the network, and all facts.

    Raises:
        UserError: it is another version's, or something else.
    """
    try:
        facts: dict[str, Any] = read_json(text)
        stated = facts["format"]
        if stated != FORMAT:
            raise UserError(f"{path} is of format {stated!r} and this version reads {FORMAT!r}: update viewkin.")
        for name in ("mean", "std"):
            facts[name] = tuple(float(value) for value in facts[name])
        facts["size"], facts["extra"] = int(facts["size"]), dict(facts["extra"])
        # The weights come from this file; groups and gathering of BatchNorm matter only in training.
        options: dict[str, Any] = {k: v for k, v in facts["config"].items() if k not in BackboneConfig.dropped}
        options["norm"] = "none" if options["norm"] == "none" else "batch"
        kinds = get_type_hints(BackboneConfig)
        if not all(fits(value, kinds[name]) for name, value in options.items()):
            raise TypeError("a setting is of another type")
        return BackboneConfig(**options), facts
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _foreign(path) from error


def _check_fit(config: BackboneConfig, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are not those of a network, which is built without memory: it may be of any size."""
    try:
        with torch.device("meta"):
            own = build_backbone(config).state_dict()
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{path} describes a network that cannot be built: write it again.") from error
    faults = [f"no {name}" for name in own if name not in tensors]
    faults += [f"an unknown {name}" for name in tensors if name not in own]
    faults += [
        f"{name} of shape {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if faults:
        others = f" and {len(faults) - 1} more faults" if len(faults) > 1 else ""
        raise UserError(f"The weights in {path} do not fit their description ({faults[0]}{others}): write it again.")


def _foreign(path: Path) -> UserError:
    return UserError(f"{path} is not a viewkin backbone: give a file that `viewkin train` wrote.")


def _broken(path: Path, error: Exception) -> UserError:
    others = [other for name in ("last.ckpt", "previous.ckpt") if (other := path.with_name(name)).is_file()]
    instead = next((f", or use {other}" for other in others if other != path), "")
    return DamagedBackboneError(
        f"{path} cannot be read, it was damaged or cut short ({error}): copy or write it again{instead}."
    )
