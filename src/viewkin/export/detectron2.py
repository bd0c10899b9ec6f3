"""A backbone's weights under Detectron2's names, to fine-tune with the published detection protocol."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from viewkin.encode.model import Model
from viewkin.export.standard_resnet import standard_name, standard_weights
from viewkin.export.target import CPU, Comparison, Pictures, Target, compared
from viewkin.nets.backbone import BackboneConfig, build_backbone

FILE = "model.pkl"
STEM = "stem."


def detectron2_name(name: str) -> str:
    """Turn the name of a parameter or buffer of a standard ResNet into Detectron2's.

    ``conv1`` is ``stem.conv1``; ``layerN`` is ``res(N+1)``; ``bnK`` is ``convK.norm``; ``downsample.0`` and ``.1`` are
    ``shortcut`` and ``shortcut.norm``.

    References:
        He et al., MoCo, 2020, the released convert-pretrain-to-detectron2.py.
    """
    name = name if name.startswith("layer") else f"{STEM}{name}"
    name = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", name)
    name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")


def usual_name(name: str) -> str:
    """Turn a name of Detectron2 back into torchvision's, and ours."""
    name = name.removeprefix(STEM).replace("shortcut.norm", "downsample.1").replace("shortcut", "downsample.0")
    name = re.sub(r"\bconv(\d)\.norm", r"bn\1", name)
    return re.sub(r"^res(\d)", lambda found: f"layer{int(found[1]) - 1}", name)


def detectron2_resnet(backbone: nn.Module) -> str:
    """Give the name of the ResNet of Detectron2 that a network is; ResNet-50 may have any width there.

    Raises:
        UserError: it is none.
    """
    return standard_name(backbone, "detectron2", narrow=("resnet50",))


def detectron2_weights(backbone: nn.Module) -> dict[str, Any]:
    """Give a backbone's weights as arrays under Detectron2's names; the counts of BatchNorm's batches stay away.

    Raises:
        UserError: it is none of Detectron2's ResNets.
    """
    detectron2_resnet(backbone)
    return {
        detectron2_name(name): tensor.numpy()
        for name, tensor in standard_weights(backbone).items()
        if not name.endswith("num_batches_tracked")
    }


def detectron2_settings(model: Model) -> dict[str, Any]:
    """Give the settings that Detectron2 needs beside the weights, by its own names.

    Its images are of 0 to 255, hence the factor; the stride is in the 3x3 convolution.
    """
    backbone: Any = model.encoder
    name = detectron2_resnet(backbone)
    width = backbone.conv1.out_channels
    return {
        "MODEL.PIXEL_MEAN": [round(255 * value, 3) for value in model.policy.mean],
        "MODEL.PIXEL_STD": [round(255 * value, 3) for value in model.policy.std],
        "INPUT.FORMAT": "RGB",
        "MODEL.RESNETS.DEPTH": int(name.removeprefix("resnet")),
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.STEM_OUT_CHANNELS": width,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 4 * width if name == "resnet50" else width,
        "MODEL.RESNETS.WIDTH_PER_GROUP": width,
        "MODEL.RESNETS.NORM": "SyncBN",
        "MODEL.BACKBONE.FREEZE_AT": 0,
    }


def _check(model: Model) -> None:
    network: Any = model.encoder
    detectron2_resnet(network)


def _write(folder: Path, model: Model, _pictures: Pictures) -> None:
    network: Any = model.encoder
    content = {"model": detectron2_weights(network), "__author__": "viewkin", "matching_heuristics": True}
    with (folder / FILE).open("wb") as file:
        pickle.dump(content, file)


def _compare(folder: Path, model: Model, pictures: Pictures) -> Comparison:
    """Compare a new network with the weights of the file, their names turned back; Detectron2 itself is not run."""
    with (folder / FILE).open("rb") as file:
        stored: dict[str, Any] = pickle.load(file)["model"]
    weights = {usual_name(name): torch.from_numpy(value) for name, value in stored.items()}
    own: Any = model.encoder
    network = build_backbone(BackboneConfig(name=detectron2_resnet(own), stem="imagenet", width=own.conv1.out_channels))
    counts = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict({**weights, **counts})
    same = Model(model.name, network, model.image_size, model.policy).encode(pictures.views, CPU)
    return compared("viewkin, the names turned back (Detectron2 itself was not run)", pictures, same)


def _loading(model: Model, _pictures: Pictures) -> str:
    settings = "".join(
        f"settings.{name} = {value!r}\n"
        for name, value in {"MODEL.WEIGHTS": FILE, **detectron2_settings(model)}.items()
    )
    return f"""from detectron2.config import get_cfg

settings = get_cfg()
{settings}"""


DETECTRON2 = Target(
    name="detectron2",
    file=FILE,
    loads_with="viewkin",
    install="Detectron2 from its own site",
    check=_check,
    write=_write,
    compare=_compare,
    loading=_loading,
    preprocessing="Detectron2 resizes and normalises by its settings, those above among them.",
)
