"""The targets of an export by name."""

from __future__ import annotations

from viewkin.export.detectron2 import DETECTRON2
from viewkin.export.exported_program import PT2
from viewkin.export.hugging_face import HF
from viewkin.export.onnx import ONNX
from viewkin.export.safetensors import SAFETENSORS
from viewkin.export.target import Target
from viewkin.export.timm import TIMM
from viewkin.export.torchvision import TORCHVISION
from viewkin.runtime.errors import require

TARGETS = {one.name: one for one in (ONNX, TIMM, TORCHVISION, HF, PT2, SAFETENSORS, DETECTRON2)}
"""Name on the command line to the target."""


def target_named(name: str) -> Target:
    """Find a target.

    Raises:
        UserError: there is none of that name.
    """
    require(name in TARGETS, "--to", name, f"one of {', '.join(TARGETS)}")
    return TARGETS[name]
