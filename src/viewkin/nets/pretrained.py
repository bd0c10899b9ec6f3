"""Weights to start from, as a user names them: a run, a backbone file, a model of timm, a state dict, a package."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from viewkin.nets.backbone import TIMM, BackboneConfig, build_backbone
from viewkin.nets.backbone_file import load_backbone
from viewkin.nets.backbone_place import no_backbone
from viewkin.nets.pretrained_names import PACKAGES, split_name
from viewkin.nets.tensor_files import DamagedFileError, read_state_dict
from viewkin.runtime.errors import UserError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of torchvision's weights."""
CLASSIFIERS = ("fc.", "classifier.", "head.fc.", "head.weight", "head.bias")
"""Beginnings of the keys of a classifier, which a backbone has not."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A network with weights, and how it wants to see images."""

    name: str
    """The source as the user named it."""
    config: BackboneConfig
    """Settings of the network."""
    weights: Mapping[str, Tensor]
    """State dict of the network."""
    mean: tuple[float, ...]
    """Mean of each channel that it was trained with, for values in 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation of each channel, likewise."""
    size: int
    """Side of the images it was trained for, pixels."""
    only_size: bool = True
    """Whether it is meant for that size alone; most networks of timm take others as well."""
    extra: Mapping[str, Any] = field(default_factory=lambda: {})
    """What a backbone file of this library keeps beside them."""
    note: str = ""
    """What one should know of the weights, in a sentence."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, 32 hexadecimal digits."""
        return fingerprint_of(self.weights)

    def network(self) -> nn.Module:
        """Build the network with these weights: (B, C, H, W) -> (B, F), in evaluation mode.

        It has the attributes of :func:`viewkin.nets.backbone_file.load_backbone`.
        """
        backbone = build_backbone(self.config)
        backbone.load_state_dict(dict(self.weights))
        attributes: Any = backbone
        attributes.config, attributes.mean, attributes.std = self.config, self.mean, self.std
        attributes.image_size, attributes.extra = self.size, dict(self.extra)
        return backbone.eval()


def fingerprint_of(weights: Mapping[str, Tensor]) -> str:
    """Hash weights by name, type, shape and content: 32 hexadecimal digits."""
    digest = blake2b(digest_size=16)
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_pretrained(source: str, backbone: str | None = None) -> Pretrained:
    """Read weights to start from.

    Args:
        source: a run directory, a ``.safetensors`` or ``.ckpt`` file of this library; ``timm/NAME`` (timm downloads
            the weights, or takes them from its cache); ``timm/NAME:FILE`` (from a file); a file with a state dict
            (``.pth``, ``.pt``, ``.bin``, ``.safetensors``) of a ResNet of torchvision; or the name of a package that
            has weights (:data:`viewkin.nets.pretrained_names.PACKAGES`).
        backbone: network that a state dict belongs to, ``timm/NAME``; None: one of torchvision's ResNets.

    Raises:
        UserError: nothing is there, or it does not fit the network.
    """
    if source in PACKAGES:
        return _of_package(source)
    model, file = split_name(source)
    if model is not None:
        return _of_timm(source, model, None if file is None else Path(file))
    path = Path(source)
    if path.is_dir() or path.suffix == ".ckpt":
        return of_backbone(source, load_backbone(path))
    if not path.is_file():
        raise no_backbone(source)
    if path.suffix == ".onnx":
        raise UserError(f"{path} cannot be trained on: name the run or the weights that it was made from.")
    if backbone is not None and backbone.startswith(TIMM):
        return _of_timm(source, backbone, path)
    if path.suffix == ".safetensors" and _is_ours(path):
        return of_backbone(source, load_backbone(path))
    return _of_resnet(source, path)


def _is_ours(path: Path) -> bool:
    try:
        load_backbone(path)
    except UserError as error:
        return "is not a viewkin backbone" not in str(error)
    return True


def of_backbone(name: str, backbone: Any) -> Pretrained:
    """Take a network that :func:`viewkin.nets.backbone_file.load_backbone` read."""
    return Pretrained(
        name=name,
        config=backbone.config,
        weights=backbone.state_dict(),
        mean=backbone.mean,
        std=backbone.std,
        size=backbone.image_size,
        extra=backbone.extra,
    )


def _of_package(source: str) -> Pretrained:
    package = PACKAGES[source]
    module = package.distribution.replace("-", "_")
    if importlib.util.find_spec(module) is None:
        raise UserError(f"The weights {source} are in a package that is not installed: {package.install}.")
    place = Path(cast(str, importlib.import_module(module).__file__)).parent
    files = sorted(place.rglob("*.pth"))
    if len(files) != 1:
        raise UserError(f"The package {package.distribution} has {len(files)} files of weights: install it again.")
    return replace(_of_timm(source, package.model, files[0]), note=package.note)


def _of_timm(source: str, name: str, file: Path | None) -> Pretrained:
    config = BackboneConfig(name=name)
    if file is None:
        backbone = build_backbone(config, download=True)
        weights = backbone.state_dict()
    else:
        backbone = build_backbone(config)
        weights = fitted(backbone.state_dict(), _read(file), source, name)
    facts: Mapping[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    mean, std = (tuple(map(float, facts.get(key) or default)) for key, default in zip(("mean", "std"), IMAGENET))
    size, fixed = int(facts.get("input_size", (3, 224, 224))[-1]), bool(facts.get("fixed_input_size"))
    return Pretrained(name=source, config=config, weights=weights, mean=mean, std=std, size=size, only_size=fixed)


def _of_resnet(source: str, path: Path) -> Pretrained:
    """Recognise a ResNet by the names and shapes of its weights, which torchvision, timm and this library share."""
    stored = {key.removeprefix("module."): value for key, value in _read(path).items()}
    if "conv1.weight" not in stored or "layer4.0.conv1.weight" not in stored or stored["conv1.weight"].ndim != 4:
        raise UserError(
            f"{path} holds weights of a network that is not recognised; say which it is with --backbone timm/NAME, or "
            f"as timm/NAME:{path}."
        )
    width, channels, kernel = stored["conv1.weight"].shape[:3]
    blocks = sum(key.startswith("layer3.") and key.endswith(".conv1.weight") for key in stored)
    name = "resnet50" if "layer1.0.conv3.weight" in stored else "resnet34" if blocks == 6 else "resnet18"
    stem = "small" if kernel == 3 else "imagenet"
    config = BackboneConfig(name=name, width=int(width), channels=int(channels), stem=stem)
    with torch.device("meta"):
        own = build_backbone(config).state_dict()
    weights, (mean, std) = fitted(own, stored, source, name), IMAGENET
    size = 224 if stem == "imagenet" else 32
    return Pretrained(name=source, config=config, weights=weights, mean=mean, std=std, size=size, only_size=False)


def _read(path: Path) -> dict[str, Tensor]:
    """Read a state dict, also where it lies in a checkpoint under a usual name.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise no_backbone(path)
    try:
        return read_state_dict(path)
    except DamagedFileError as error:
        raise UserError(
            f"{path} holds no weights that can be read ({error}): copy it again, or name another."
        ) from error


def fitted(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], source: str, name: str) -> dict[str, Tensor]:
    """Give stored weights the names of a network's: by name or, where all names differ, in order by shape.

    A classifier that the network has not is left out.

    Raises:
        UserError: a weight is missing, left over or of another shape.
    """
    stored = {key: value for key, value in stored.items() if not key.startswith(CLASSIFIERS)}
    if own.keys() - _counters(own) <= stored.keys():
        pairs = {key: stored[key] for key in own if key in stored}
        rest = [key for key in stored if key not in own]
    else:
        mine, theirs = ([k for k in some if k not in _counters(some)] for some in (own, stored))
        pairs = {key: stored[other] for key, other in zip(mine, theirs)}
        # What follows the network's own weights is a classifier under another name, one layer at most.
        rest = theirs[len(mine) :] if len(theirs) - len(mine) > 2 else []
        if len(theirs) < len(mine):
            rest = [mine[len(theirs)]]
    wrong = [key for key, value in pairs.items() if value.shape != own[key].shape]
    if wrong or rest or len(pairs) < len(own.keys() - _counters(own)):
        key = wrong[0] if wrong else rest[0] if rest else "a weight"
        raise UserError(f"The weights of {source} are not those of {name} ({key} does not fit): name another network.")
    return {key: pairs[key] if key in pairs else torch.zeros(own[key].shape, dtype=own[key].dtype) for key in own}


def _counters(weights: Mapping[str, Tensor]) -> set[str]:
    """BatchNorm's counters of batches, which old files lack."""
    return {key for key in weights if key.endswith("num_batches_tracked")}
