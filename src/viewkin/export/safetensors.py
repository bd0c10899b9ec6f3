"""This library's own file of weights: readable by every program that reads safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from viewkin.encode.model import Model, model_of
from viewkin.export.target import CPU, Comparison, Pictures, Target, any_network, compared
from viewkin.nets.backbone import build_backbone
from viewkin.nets.backbone_file import load_backbone, save_backbone

FILE = "backbone.safetensors"


def _write(folder: Path, model: Model, _pictures: Pictures) -> None:
    network: Any = model.encoder
    save_backbone(
        folder / FILE,
        network,
        network.config,
        mean=network.mean,
        std=network.std,
        size=network.image_size,
        extra=network.extra,
    )


def _compare(folder: Path, model: Model, pictures: Pictures) -> Comparison:
    """Compare: the tensors as the safetensors package reads them, and the whole file as this library does."""
    import safetensors
    from safetensors.torch import load_file

    network: Any = model.encoder
    plain = build_backbone(network.config)
    plain.load_state_dict(load_file(folder / FILE))
    same = Model(model.name, plain, model.image_size, model.policy).encode(pictures.views, CPU)
    again = Pictures(model_of(load_backbone(folder)), pictures.arrays)
    return compared(f"safetensors {safetensors.__version__}", pictures, same, again.features)


def _loading(_model: Model, _pictures: Pictures) -> str:
    return """import viewkin

backbone = viewkin.load_backbone("backbone.safetensors")  # a torch.nn.Module
features = backbone.embed("photo.jpg")

# Without viewkin: safetensors.torch.load_file("backbone.safetensors") gives the tensors by name.
"""


SAFETENSORS = Target(
    name="safetensors",
    file=FILE,
    loads_with="safetensors",
    install="pip install safetensors",
    check=any_network,
    write=_write,
    compare=_compare,
    loading=_loading,
    preprocessing="viewkin resizes, cuts and normalises; the file says how (mean, std, size).",
)
