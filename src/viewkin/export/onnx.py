"""ONNX: photographs in, features out, for onnxruntime and other runtimes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from viewkin.encode.model import Model
from viewkin.encode.onnx_file import FEATURES, FILE, IMAGES, VIEWS, read_onnx
from viewkin.encode.onnx_network import WRITES, onnx_packages, onnx_session, write_onnx
from viewkin.export.target import CPU, Comparison, Pictures, Target, any_network, compared
from viewkin.export.whole_images import WholeImages
from viewkin.nets.backbone_file import describe_backbone

EXAMPLE = (2, 90, 70, 3)
"""Shape of the images that a graph is traced with; every size but the last becomes free."""


def free_sizes() -> dict[int, Any]:
    """Name the dimensions of images that may have any size."""
    return {place: torch.export.Dim(name, min=1) for place, name in enumerate(("batch", "height", "width"))}


class _Traced(WholeImages):
    """Gives the views beside the features, so that the graph names them."""

    def forward(self, images: torch.Tensor) -> Any:
        """Compute features and views."""
        views = self.views(images)
        return self.network(views), views


def _write(folder: Path, model: Model, _pictures: Pictures) -> None:
    onnx_packages(WRITES, "--to onnx")
    network: Any = model.encoder
    example = torch.zeros(EXAMPLE, dtype=torch.uint8)
    text = describe_backbone(
        network.config, mean=network.mean, std=network.std, size=network.image_size, extra=network.extra
    )
    kept = {name: value for name, value in json.loads(text).items() if name != "prefix"}
    write_onnx(_Traced(model), example, (IMAGES, FEATURES, VIEWS), free_sizes(), folder / FILE, text=json.dumps(kept))


def _compare(folder: Path, _model: Model, pictures: Pictures) -> Comparison:
    import onnxruntime

    session = onnx_session(folder / FILE)
    whole = [torch.from_numpy(session.run([FEATURES], {IMAGES: one[None]})[0]) for one in pictures.arrays]
    network = read_onnx(folder / FILE).encode(pictures.views, CPU)
    return compared(f"onnxruntime {onnxruntime.__version__}", pictures, network, torch.cat(whole))


def _loading(_model: Model, _pictures: Pictures) -> str:
    return """import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
images = np.asarray(photo)[None]  # (B, H, W, 3) uint8, any B, H and W
(features,) = session.run(["features"], {"images": images})
"""


ONNX = Target(
    name="onnx",
    file=FILE,
    loads_with="onnxruntime",
    install="pip install 'viewkin[export]'",
    check=any_network,
    write=_write,
    compare=_compare,
    loading=_loading,
    preprocessing="The file resizes, cuts and normalises: give it decoded images of any size, (B, H, W, 3) uint8 RGB.",
)
