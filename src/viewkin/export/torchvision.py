"""Weights for torchvision's ResNets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from viewkin.encode.model import Model
from viewkin.export.standard_resnet import standard_name, standard_weights
from viewkin.export.target import Comparison, Pictures, Target, compared, rows_of
from viewkin.export.usual_view import UsualView, usual_view

FILE = "model.pth"


def _check(model: Model) -> None:
    network: Any = model.encoder
    standard_name(network, "torchvision")


def _write(folder: Path, model: Model, _pictures: Pictures) -> None:
    network: Any = model.encoder
    torch.save(dict(standard_weights(network)), folder / FILE)


def _compare(folder: Path, model: Model, pictures: Pictures) -> Comparison:
    import torchvision

    own: Any = model.encoder
    network: Any = getattr(torchvision.models, standard_name(own, "torchvision"))()
    network.fc = nn.Identity()
    network.load_state_dict(torch.load(folder / FILE, weights_only=True))
    transform = _transform(torchvision.transforms, usual_view(model, small=pictures.small))
    views = [transform(image)[None] for image in pictures.images]
    by = f"torchvision {torchvision.__version__}"
    return compared(by, pictures, rows_of(network, [pictures.views]), rows_of(network, views))


def _transform(transforms: Any, view: UsualView) -> Any:
    """Build the transform that the model card shows."""
    how = transforms.InterpolationMode(view.filter)
    return transforms.Compose(
        [
            transforms.Resize((view.resized, view.resized) if view.squash else view.resized, how),
            transforms.CenterCrop(view.size),
            transforms.ToTensor(),
            transforms.Normalize(view.mean, view.std),
        ]
    )


def _loading(model: Model, pictures: Pictures) -> str:
    own: Any = model.encoder
    view = usual_view(model, small=pictures.small)
    resized = f"({view.resized}, {view.resized})" if view.squash else str(view.resized)
    return f"""import torch
import torchvision
from PIL import Image, ImageOps
from torchvision import transforms

network = torchvision.models.{standard_name(own, "torchvision")}()
network.fc = torch.nn.Identity()
network.load_state_dict(torch.load("{FILE}", weights_only=True))
network.eval()
view = transforms.Compose(
    [
        transforms.Resize({resized}, transforms.InterpolationMode.{view.filter.upper()}),
        transforms.CenterCrop({view.size}),
        transforms.ToTensor(),
        transforms.Normalize({view.mean}, {view.std}),
    ]
)
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
with torch.no_grad():
    features = network(view(photo)[None])
"""


TORCHVISION = Target(
    name="torchvision",
    file=FILE,
    loads_with="torchvision",
    install="pip install torchvision",
    check=_check,
    write=_write,
    compare=_compare,
    loading=_loading,
    preprocessing="torchvision's transforms make the views, as in the code above: {view}",
)
