"""PyTorch's own exported program (``.pt2``): photographs in, features out, without this library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from viewkin.encode.features import frozen
from viewkin.encode.model import Model
from viewkin.encode.onnx_network import quiet
from viewkin.export.onnx import EXAMPLE, free_sizes
from viewkin.export.target import Comparison, Pictures, Target, any_network, compared, rows_of
from viewkin.export.whole_images import WholeImages

FILE = "model.pt2"


def _write(folder: Path, model: Model, _pictures: Pictures) -> None:
    whole = WholeImages(model)
    with frozen(whole), quiet():
        example = (torch.zeros(EXAMPLE, dtype=torch.uint8),)
        program: Any = torch.export.export(whole, example, dynamic_shapes=(free_sizes(),))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it names source files of this machine
        torch.export.save(program, folder / FILE)


def _compare(folder: Path, model: Model, pictures: Pictures) -> Comparison:
    """Compare; the program takes photographs, so "the same views" are those that it makes of them itself."""
    with quiet():
        program = torch.export.load(folder / FILE).module()
    inputs = [torch.from_numpy(one[None].copy()) for one in pictures.arrays]
    with torch.no_grad():
        whole = torch.cat([program(one) for one in inputs]).float()
    apart = whole - rows_of(WholeImages(model), inputs)
    return compared(f"torch {torch.__version__}", pictures, pictures.features + apart, whole)


def _loading(_model: Model, _pictures: Pictures) -> str:
    return """import numpy as np
import torch
from PIL import Image, ImageOps

network = torch.export.load("model.pt2").module()
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
images = torch.from_numpy(np.array(photo))[None]  # (B, H, W, 3) uint8, any B, H and W
with torch.no_grad():
    features = network(images)
"""


PT2 = Target(
    name="pt2",
    file=FILE,
    loads_with="torch",
    install="pip install torch",
    check=any_network,
    write=_write,
    compare=_compare,
    loading=_loading,
    preprocessing="The file resizes, cuts and normalises: give it decoded images of any size, (B, H, W, 3) uint8 RGB.",
)
