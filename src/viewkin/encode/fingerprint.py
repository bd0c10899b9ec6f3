"""What a model is, apart from its place: two models of one fingerprint turn an image into the same vector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from viewkin.encode.model import Model
from viewkin.encode.onnx_network import OnnxEncoder
from viewkin.runtime.errors import UserError


def fingerprint_of(model: Model, features: str) -> str:
    """Hash a model's weights and how it sees images: 32 hexadecimal digits.

    How it sees images is all that decides a test view: its side, the crop, mean and deviation of the channels, and the
    range of values that becomes black to white. Where the weights lie, and on which device, changes nothing. Of an ONNX
    file the graph of the network counts as well, so a file that was written again may be another model.

    Args:
        model: the model.
        features: ``backbone`` or ``embedding``, what it gives of an image.

    Raises:
        UserError: the encoder has no weights that could be told from others.
    """
    module = module_of(model.encoder)
    content = model.encoder.content if isinstance(model.encoder, OnnxEncoder) else ""
    if module is None and not content:
        raise UserError(f"{model.name} has no weights, so its vectors cannot be told from others: name a network.")
    policy = model.policy
    seen = {
        "features": features,
        "network": settings_of(getattr(module, "config", None)),
        "image_size": model.image_size,
        "crop": [policy.test_fraction, policy.squash],
        "mean": list(policy.mean),
        "std": list(policy.std),
        "value_range": None if model.value_range is None else list(model.value_range),
    }
    digest = hashlib.blake2b(json.dumps(seen, sort_keys=True).encode(), digest_size=16)
    digest.update(content.encode())
    if module is not None:
        hash_weights(digest, module.state_dict())
    return digest.hexdigest()


def settings_of(config: Any) -> list[str]:
    """Describe a network by its settings that are not the default, so that a new setting changes no fingerprint."""
    if not is_dataclass(config) or isinstance(config, type):
        return []
    values = [(one.name, getattr(config, one.name), one.default) for one in fields(config)]
    return sorted(f"{name}={value!r}" for name, value, default in values if value != default)


def module_of(encoder: Callable[[Tensor], Tensor]) -> nn.Module | None:
    """Find the network of an encoder, which may be a method of one; None where there is none."""
    owner = getattr(encoder, "__self__", encoder)
    return owner if isinstance(owner, nn.Module) else None


def hash_weights(digest: Any, weights: Mapping[str, Tensor]) -> None:
    """Hash the name, type, shape and bytes of every weight, in the order of the names."""
    for name in sorted(weights):
        weight = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{weight.dtype}\0{tuple(weight.shape)}\0".encode())
        digest.update(weight.reshape(-1).view(torch.uint8).numpy().data)
