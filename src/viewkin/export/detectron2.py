"""A backbone's weights under Detectron2's names, to fine-tune with the published detection protocol."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

from torch import nn

from viewkin.nets.resnet import ResNet
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing


def detectron2_name(name: str) -> str:
    """Turn the name of a parameter or buffer of :class:`ResNet` into Detectron2's.

    ``conv1`` is ``stem.conv1``; ``layerN`` is ``res(N+1)``; ``bnK`` is ``convK.norm``; ``downsample.0`` and ``.1`` are
    ``shortcut`` and ``shortcut.norm``.

    References:
        He et al., MoCo, 2020, the released convert-pretrain-to-detectron2.py.
    """
    name = name if name.startswith("layer") else f"stem.{name}"
    name = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", name)
    name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")


def detectron2_weights(backbone: nn.Module) -> dict[str, Any]:
    """Give a backbone's weights as arrays under Detectron2's names; the counts of BatchNorm's batches stay away.

    Raises:
        UserError: no ResNet, or one with another stem than Detectron2's (7x7 of stride 2, then max-pool).
    """
    if not isinstance(backbone, ResNet):
        raise UserError("Only resnet18, resnet34 and resnet50 have names in Detectron2; give such a backbone.")
    if isinstance(backbone.maxpool, nn.Identity):
        raise UserError("Detectron2's stem is a 7x7 convolution and max-pool; train with backbone.stem=imagenet.")
    return {
        detectron2_name(name): tensor.detach().cpu().numpy()
        for name, tensor in backbone.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def detectron2_settings(backbone: Any) -> dict[str, Any]:
    """Give the settings that Detectron2 needs beside the weights, by its own names.

    Its images are of 0 to 255, hence the factor; the stride is in the 3x3 convolution.
    """
    width = backbone.conv1.out_channels
    return {
        "MODEL.PIXEL_MEAN": [round(255 * value, 3) for value in backbone.mean],
        "MODEL.PIXEL_STD": [round(255 * value, 3) for value in backbone.std],
        "INPUT.FORMAT": "RGB",
        "MODEL.RESNETS.DEPTH": int(backbone.config.name.removeprefix("resnet")),
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.STEM_OUT_CHANNELS": width,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": backbone.stage_widths["conv2"],
        "MODEL.RESNETS.WIDTH_PER_GROUP": width,
        "MODEL.RESNETS.NORM": "SyncBN",
        "MODEL.BACKBONE.FREEZE_AT": 0,
    }


def write_detectron2(path: Path, backbone: nn.Module) -> None:
    """Write a backbone as the pickle that Detectron2 takes as ``MODEL.WEIGHTS``, whole or not at all.

    Raises:
        UserError: as :func:`detectron2_weights`, or a place that cannot be written.
    """
    content = {"model": detectron2_weights(backbone), "__author__": "viewkin", "matching_heuristics": True}
    try:
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            pickle.dump(content, file)
    except OSError as error:
        raise UserError(f"The weights cannot be written to {path} ({error.strerror}); name another file.") from error
