"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Images: a folder, a Parquet file or folder, the folder of a CIFAR or STL-10 archive, or 'generated'.",
    ),
]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run directory, a backbone .safetensors file, or a .ckpt file.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or auto.")]
Features = Annotated[str, typer.Option(metavar="KIND", help="backbone, or embedding (through the run's head as well).")]
Runs = Annotated[list[str], typer.Argument(metavar="RUN...", help="Run directories.")]
