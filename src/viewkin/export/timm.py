"""One folder for timm (``local-dir:``) and for Hugging Face's ``AutoModel``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from viewkin.encode.model import Model
from viewkin.encode.onnx_network import quiet
from viewkin.export.standard_resnet import standard_name, standard_weights
from viewkin.export.target import Comparison, Pictures, Target, compared, rows_of
from viewkin.export.usual_view import UsualView, usual_view
from viewkin.nets.pretrained_names import TIMM as PREFIX
from viewkin.runtime.errors import UserError

FILE, CONFIG = "model.safetensors", "config.json"
KEPT = ("classifier", "first_conv", "pool_size", "fixed_input_size", "custom_load")
"""Facts of timm on a network that are none of its weights."""


def timm_name(model: Model, target: str = "timm") -> str:
    """Give timm's name of a network.

    Raises:
        UserError: timm has no such network. Its ResNets have a 7x7 stem of 64 channels, whatever their arguments.
    """
    network: Any = model.encoder
    name: str = network.config.name
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else standard_name(network, target)


def write(folder: Path, model: Model, pictures: Pictures) -> None:
    """Write ``model.safetensors`` and ``config.json``.

    Raises:
        UserError: timm is missing or does not load.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise UserError("--to timm and --to hf need timm: pip install 'viewkin[export]'.") from error
    own: Any = model.encoder
    with quiet():
        network = timm.create_model(timm_name(model), num_classes=0, in_chans=own.config.channels)
        network.load_state_dict(dict(standard_weights(own)))
        timm.models.save_for_hf(network, str(folder), safe_serialization=True)
    file = folder / FILE
    content = file.read_bytes()
    file.unlink()  # safetensors writes a file that its owner alone may read
    file.write_bytes(content)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    # AutoModel takes the arguments for its own and fails; the architecture and the weights say all that they do.
    config.pop("model_args", None)
    facts = {name: value for name, value in config["pretrained_cfg"].items() if name in KEPT}
    view = usual_view(model, small=pictures.small)
    # Whatever else timm says of weights under this name, their licence among it, is of other weights.
    config["pretrained_cfg"] = facts | {
        "num_classes": 0,
        "input_size": [own.config.channels, view.size, view.size],
        "interpolation": view.filter,
        "crop_pct": crop_share(view),
        "crop_mode": "squash" if view.squash else "center",
        "mean": list(view.mean),
        "std": list(view.std),
    }
    config["num_classes"] = 0
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def crop_share(view: UsualView) -> float:
    """Give timm's ``crop_pct``: timm resizes to the side of the view divided by it, rounded down."""
    share = view.size / view.resized
    return share if math.floor(view.size / share) == view.resized else view.size / (view.resized + 0.25)


def _compare(folder: Path, _model: Model, pictures: Pictures) -> Comparison:
    import timm
    import timm.data

    with quiet():
        network = timm.create_model(f"local-dir:{folder.absolute()}", pretrained=True, num_classes=0)
        transform: Any = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    views = [transform(image)[None] for image in pictures.images]
    return compared(f"timm {timm.__version__}", pictures, rows_of(network, [pictures.views]), rows_of(network, views))


def _loading(_model: Model, _pictures: Pictures) -> str:
    return """import timm
import torch
from PIL import Image, ImageOps

network = timm.create_model("local-dir:.", pretrained=True, num_classes=0).eval()  # the path of this folder
view = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
with torch.no_grad():
    features = network(view(photo)[None])
"""


TIMM = Target(
    name="timm",
    file=FILE,
    loads_with="timm",
    install="pip install 'viewkin[export]'",
    check=timm_name,
    write=write,
    compare=_compare,
    loading=_loading,
    preprocessing="timm's transform makes the views, by config.json: {view} It is a folder for Hugging Face as well.",
)
