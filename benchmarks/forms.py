"""Images a second through a frozen network in each form: float32, memory formats, bfloat16, onnxruntime, int8.

    python benchmarks/forms.py --threads 2

Forms take turns. ``network`` is the pass through the network alone, on views of real images where ``--data`` names
some. ``embed`` is the whole of it, from JPEG files to vectors, as ``viewkin embed`` does it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decode import photographs
from machine import RESULTS, origin, seconds_of, shown, spread, write
from torch import Tensor
from torch.nn.functional import cosine_similarity

from viewkin.augment.policies import policy
from viewkin.augment.views import test_view
from viewkin.data.dataset import Dataset
from viewkin.encode.features import frozen
from viewkin.encode.image_vectors import image_vectors
from viewkin.encode.int8 import float_in_onnx, quantised
from viewkin.encode.model import Model
from viewkin.encode.precision import FastEncoder
from viewkin.nets.backbone import BackboneConfig, build_backbone
from viewkin.runs.models import open_model

CPU = torch.device("cpu")
PLAIN = "float32, plain"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of images to enlarge")
    parser.add_argument("--networks", nargs="+", default=["resnet18", "efficientnet_lite0"])
    parser.add_argument("--size", nargs="+", type=int, default=[96, 224])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "forms.json")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    report = origin("forms", options.threads, CPU)
    report |= {"images": options.images, "batch": options.batch, "cases": []}
    with tempfile.TemporaryDirectory() as folder:
        photographs(options, Path(folder) / "photos")
        dataset = Dataset.of(str(Path(folder) / "photos"))
        for network in options.networks:
            for size in options.size:
                report["cases"].append(measure(options, dataset, network, size))
                write(options.out, report)


def model_of(network: str, size: int) -> Model:
    """Open weights, or a ResNet for photographs with random ones."""
    if not network.startswith("resnet"):
        opened = open_model(network, "backbone", CPU)
    else:
        torch.manual_seed(0)
        backbone = build_backbone(BackboneConfig(name=network, stem="imagenet")).eval()
        opened = Model(network, backbone, size, policy("moco-v2"))
    return Model(network, opened.encoder, size, opened.policy)


def measure(options: argparse.Namespace, dataset: Dataset, network: str, size: int) -> dict[str, Any]:
    """Take turns: every form of one network at one size."""
    model = model_of(network, size)
    source = dataset.source(size=round(size * 256 / 224), least=1)
    views = test_view(source.images(torch.arange(options.batch)), size, model.policy).contiguous()
    forms: dict[str, Callable[[Tensor], Tensor]] = {
        PLAIN: FastEncoder(model.encoder, reduced=False, channels_last=False),
        "float32, channels last": FastEncoder(model.encoder, reduced=False, channels_last=True),
        "bfloat16, channels last": FastEncoder(model.encoder, reduced=True, channels_last=True),
        "onnxruntime, float32": float_in_onnx(model, views),
        "onnxruntime, int8": quantised(model, views)[0],
    }
    rates: dict[str, list[float]] = {name: [] for name in forms}
    cosines: dict[str, float] = {}
    with frozen(model.encoder):
        for _ in range(options.repeats):
            for name, form in forms.items():
                if isinstance(form, FastEncoder):
                    form.adopt()
                rates[name].append(options.batch / seconds_of(partial(form, views), CPU, 1)[0])
                cosines[name] = float(cosine_similarity(form(views), forms[PLAIN](views), dim=1).min())
    case: dict[str, Any] = {"network": network, "size": size, "passes": compared(rates), "cosine": cosines}
    whole: dict[str, list[float]] = {name: [] for name in ("float32", "bfloat16", "int8")}
    for _ in range(min(options.repeats, 3)):
        for name in whole:
            work = partial(embed, model, dataset, options.images, name)
            whole[name].append(options.images / seconds_of(work, CPU, 1, 0)[0])
    case["embed"] = compared(whole)
    for part in ("passes", "embed"):
        for name, values in case[part].items():
            print(f"{network}, {size} px, {part}, {name}: {shown(values['ratio'])} times the first")
    return case


def embed(model: Model, dataset: Dataset, count: int, precision: Any) -> None:
    """Embed files as a collection does."""
    encoded = dataset.listing("train").encoded
    rows = [block.rows for block in image_vectors(model, encoded, range(count), CPU, None, precision)]
    assert len(np.concatenate(rows)) == count


def compared(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Give images a second, and their ratio to the first form's in the same turn."""
    first = next(iter(rates.values()))
    return {
        name: {"images_per_second": spread(values), "ratio": spread([a / b for a, b in zip(values, first)])}
        for name, values in rates.items()
    }


if __name__ == "__main__":
    main()
