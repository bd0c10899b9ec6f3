"""The folder of :mod:`viewkin.export.timm`, verified by Hugging Face's ``AutoModel``."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from viewkin.encode.model import Model
from viewkin.encode.onnx_network import quiet
from viewkin.export.target import Comparison, Pictures, Target, compared
from viewkin.export.timm import FILE, timm_name, write


def _compare(folder: Path, _model: Model, pictures: Pictures) -> Comparison:
    classes: Any = importlib.import_module("transformers")
    with quiet():
        network = classes.AutoModel.from_pretrained(str(folder)).eval()
        processor = classes.AutoImageProcessor.from_pretrained(str(folder))

    def rows(pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return network(pixel_values=pixels).pooler_output.float()

    whole = torch.cat([rows(processor(image, return_tensors="pt")["pixel_values"]) for image in pictures.images])
    return compared(f"transformers {classes.__version__}", pictures, rows(pictures.views), whole)


def _loading(_model: Model, _pictures: Pictures) -> str:
    return """import torch
from PIL import Image, ImageOps
from transformers import AutoImageProcessor, AutoModel

network = AutoModel.from_pretrained(".").eval()  # the path of this folder; needs timm as well
processor = AutoImageProcessor.from_pretrained(".")
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
with torch.no_grad():
    features = network(**processor(photo, return_tensors="pt")).pooler_output
"""


HF = Target(
    name="hf",
    file=FILE,
    loads_with="transformers",
    install="pip install transformers",
    check=partial(timm_name, target="hf"),
    write=write,
    compare=_compare,
    loading=_loading,
    preprocessing="AutoImageProcessor makes the views by timm's transform: {view} It is a folder for timm as well.",
)
