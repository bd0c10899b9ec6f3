"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Images: a folder, an image, Parquet, the folder of a CIFAR or STL-10 archive, or 'generated'.",
    ),
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run directory, a file of weights or model.onnx, timm/NAME, timm/NAME:FILE or efficientnet_lite0.",
    ),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="Device: cpu, cuda or auto.")]
Features = Annotated[
    str, typer.Option(metavar="KIND", help="Which features: backbone, or embedding (backbone and projection head).")
]
ImageColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Parquet column that holds the images [default: found by name or type]."),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Parquet column that holds the labels [default: found by name or type]."),
]
NoLabels = Annotated[
    bool, typer.Option("--no-labels", help="Ignore folders, columns and annotations that name classes.")
]
Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Run directories.")]
