"""Small networks to export, pictures to compare on, and what a model card's code computes."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from viewkin.encode.model import Model, model_of
from viewkin.export.target import Pictures
from viewkin.nets.backbone import BackboneConfig, build_backbone

SIDES = ((90, 120), (64, 64), (70, 41), (30, 33))
"""Height and width of the pictures."""


def backbone(size: int = 48, **settings: Any) -> nn.Module:
    """A network of random weights with moved statistics, with the facts that a backbone file keeps."""
    torch.manual_seed(3)
    config = BackboneConfig(**settings)
    network: Any = build_backbone(config)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.2)
            nn.init.normal_(norm.running_mean, std=0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
    network.config, network.mean, network.std = config, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1)
    network.image_size, network.extra = size, {"policy": "moco-v2"}
    return network.eval()


def model_with(size: int = 48, **settings: Any) -> Model:
    """A model of such a network."""
    return model_of(backbone(size, **settings))


def smooth(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth random picture (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def pictures_of(model: Model) -> Pictures:
    """Pictures of several sizes and shapes, and what the model makes of them."""
    return Pictures(model, [smooth(*sides, seed=number) for number, sides in enumerate(SIDES)])


def features_by_card(folder: Path, apart: bool = False) -> NDArray[np.float32]:
    """Run the code of a model card in its folder, as a user does, and give its ``features``.

    Args:
        folder: the export, with a ``photo.jpg`` in it.
        apart: run it in a process of its own, in which there is no viewkin.
    """
    text = (folder / "README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    with contextlib.chdir(folder):
        if not apart:
            names: dict[str, Any] = {}
            exec(code, names)
            return np.asarray(names["features"])
        code = f"import sys\nsys.modules['viewkin'] = None\n{code}\nnp.save('features.npy', features.numpy())\n"
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return np.load("features.npy")
