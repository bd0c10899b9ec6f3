"""``viewkin train``: options in, one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viewkin.cli.fast_imports import swift_imports
from viewkin.cli.options import Data
from viewkin.cli.terminal import shown


def train(
    data: Data,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name from 'viewkin recipes', or the recipe.json of a run; chosen for the images if left out.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Method in the recipe's place; wrappers around it: 'eir(interclr(byol))'."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory; runs/RECIPE-DATA if left out.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Times that every image is seen; the schedule keeps its shape.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Images of one optimiser step, over all processes.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="resnet18, resnet34, resnet50, amdim32, amdim64, amdim128 or timm/MODEL."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Side of the images that the backbone sees.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Every random number follows from it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, bit for bit.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Any setting that 'viewkin recipes NAME' lists; repeatable."),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Shrink the recipe to end within a minute, writing every file.")
    ] = False,
) -> int:
    """Train a backbone on images without labels.

    With nothing but the images, recipe, image size and epochs are chosen for them and said.

    \b
    Examples:
      viewkin train photos/
      viewkin train photos/ --epochs 50 --image-size 128 --out runs/mine
      viewkin train photos/ --out runs/mine --resume
      viewkin train data/ --recipe moco_cifar10 --set method.temperature=0.2
      viewkin train photos/ --method 'interclr(moco)'
      viewkin train data/ --recipe runs/mine/recipe.json --seed 1
      torchrun --nproc-per-node 2 -m viewkin train photos/ --out runs/mine
    """  # noqa: D301 (click reads \b as: keep the lines)
    with swift_imports():
        from viewkin.cli.output import show_training
        from viewkin.commands.train import train as run
        from viewkin.runs.resolve import TrainRequest

    request = TrainRequest(
        data=data,
        recipe=recipe,
        method=method,
        out=out,
        resume=resume,
        smoke=smoke,
        epochs=epochs,
        batch_size=batch_size,
        backbone=backbone,
        image_size=image_size,
        seed=seed,
        settings=tuple(settings or ()),
    )
    with shown() as console:
        training = run(request)
        show_training(console, training)
    return training.run.outcome.exit_code
