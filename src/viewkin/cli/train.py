"""``viewkin train``: options in, one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viewkin.cli.early_checks import check_images, check_models
from viewkin.cli.options import Data, ImageColumn, LabelColumn, NoLabels
from viewkin.cli.terminal import shown


def train(
    data: Data,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name from 'viewkin recipes', or the recipe.json of a run [default: SimCLR fitted to your images].",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Use this method instead of the recipe's; terms are written around it: 'eir(interclr(byol))'.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run directory [default: runs/RECIPE-DATA].")] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="How often every image is seen; the schedule is stretched to fit.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Images in one optimiser step, over all processes.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Network: resnet18, resnet34, resnet50, amdim32, amdim64, amdim128 or timm/MODEL."
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Start from these weights: a run, a file of weights, timm/NAME, timm/NAME:FILE or efficientnet_lite0.",
        ),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Side of the images that the backbone sees.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of all random numbers.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out exactly where it stopped.")
    ] = False,
    auto_resume: Annotated[
        bool,
        typer.Option(
            "--auto-resume",
            help="Start the run in --out, or continue it if it is there; for schedulers, which repeat a command.",
        ),
    ] = False,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes", help="Continue although images were added, removed or changed, if the method allows it."
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Any setting listed by 'viewkin recipes NAME'. Repeatable."),
    ] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    no_labels: NoLabels = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try everything in a minute on a small part of the images.")
    ] = False,
) -> int:
    """Train a backbone on images without labels.

    viewkin chooses recipe, image size, epochs and output folder to suit the images, and prints them.

    \b
    Examples:
      viewkin train photos/
      viewkin train photos/ --epochs 50 --image-size 128 --out runs/mine
      viewkin train photos/ --init efficientnet_lite0
      viewkin train photos/ --out runs/mine --resume
      viewkin train data/ --recipe moco_cifar10 --set method.temperature=0.2
      viewkin train photos/ --method 'interclr(moco)'
      viewkin train data/ --recipe runs/mine/recipe.json --seed 1
      torchrun --nproc-per-node 2 -m viewkin train photos/ --out runs/mine
    """  # noqa: D301 (click reads \b as: keep the lines)
    check_images(data)
    if init is not None:
        check_models(init)
    from viewkin.cli.output import show_training
    from viewkin.commands.train import train as run
    from viewkin.runs.resolve import TrainRequest

    request = TrainRequest(
        data=data,
        recipe=recipe,
        method=method,
        out=out,
        resume=resume,
        auto_resume=auto_resume,
        accept_changes=accept_changes,
        smoke=smoke,
        epochs=epochs,
        batch_size=batch_size,
        backbone=backbone,
        init=init,
        image_size=image_size,
        seed=seed,
        image_column=image_column,
        label_column=label_column,
        labels=False if no_labels else None,
        settings=tuple(settings or ()),
    )
    with shown() as console:
        training = run(request)
        show_training(console, training)
    return training.exit_code
