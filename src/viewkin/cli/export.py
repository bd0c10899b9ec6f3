"""``viewkin export``: options in, one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viewkin.cli.early_checks import check_images, check_models
from viewkin.cli.options import Model
from viewkin.cli.terminal import say, shown


def export(
    model: Model,
    to: Annotated[
        str,
        typer.Option(metavar="TARGET", help="onnx, timm, torchvision, hf, pt2, safetensors or detectron2."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to write [default: export-TARGET in the run, or beside the file]."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in --out.")] = False,
    licence: Annotated[
        str | None,
        typer.Option("--license", metavar="NAME", help="Licence for the model card, such as mit or cc-by-4.0."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Images to compare on [default: some that the run was trained on, or rendered ones].",
        ),
    ] = None,
) -> None:
    """Write a network for other libraries, with a model card, and verify it.

    The export is loaded again by the library it is for, where that is installed. Its features are compared with those
    of the network on some images, and the largest difference is printed and written into the model card.

    \b
    onnx         photographs in, features out, for onnxruntime and others; `viewkin embed` takes the file as well
    pt2          the same as a program of PyTorch (torch.export)
    safetensors  the weights and how to use them, for viewkin and whoever reads safetensors
    timm, hf     one folder for timm ('local-dir:') and for Hugging Face's AutoModel
    torchvision  weights for its ResNets
    detectron2   weights for its ResNets, and the settings that go with them

    onnx, pt2 and safetensors take any network. timm and hf take ResNets with the ImageNet stem and width 64, and any
    network of timm; torchvision and detectron2 such ResNets alone.

    \b
    Examples:
      viewkin export runs/mine --to onnx
      viewkin export runs/mine --to timm --out mine-timm --license cc-by-4.0
      viewkin export efficientnet_lite0 --to hf --images photos/
    """  # noqa: D301 (click reads \b as: keep the lines)
    check_models(model)
    check_images(images)
    from viewkin.commands.export import ExportRequest
    from viewkin.commands.export import export as run

    request = ExportRequest(model=model, to=to, out=out, overwrite=overwrite, licence=licence, images=images)
    with shown() as console:
        written = run(request)
        say(console, *written.notes, f"Written to {written.file}, with the model card {written.card.name} beside it")
