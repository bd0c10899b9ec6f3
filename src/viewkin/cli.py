"""The command line: options in, one function call each, one line and exit code 2 for bad input.

Imports that pull in torch stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import click
import typer
from rich.console import Console

from viewkin import __version__
from viewkin.errors import UserError

app = typer.Typer(
    name="viewkin",
    help="Learn visual features from images without labels, then judge and use them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Data = Annotated[
    str,
    typer.Argument(
        help="Images: a folder, a Parquet file or folder, the folder of a CIFAR or STL-10 archive, or 'generated'."
    ),
]
Model = Annotated[str, typer.Argument(help="A run directory, a backbone .safetensors, or a .ckpt.")]
Out = Annotated[Path | None, typer.Option(help="Where to write.")]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the process's exit code says how it went: 0, 2 for bad input, 130 or 143 for a signal."""
    try:
        code = app(arguments, standalone_mode=False)
    except UserError as error:
        _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as shown:
        shown.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message())
    except click.exceptions.Abort:
        _fail("Interrupted.", 130)
    except KeyboardInterrupt:
        _fail("Interrupted.", 130)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _fail(sentence: str, code: int = 2) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(f"error: {' '.join(sentence.split())}", file=sys.stderr, flush=True)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"viewkin {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Learn visual features from images without labels, then judge and use them."""


@app.command()
def train(
    data: Data,
    recipe: Annotated[
        str | None, typer.Option(help="Name from 'viewkin recipes'; chosen for the data if left out.")
    ] = None,
    out: Out = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs; the schedule keeps its shape.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images of one optimiser step, over all processes.")] = None,
    backbone: Annotated[str | None, typer.Option(help="resnet18, resnet34, resnet50 or timm/<model>.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of a view, pixels.")] = None,
    seed: Annotated[int | None, typer.Option(help="Run seed.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, bit for bit.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Any other setting, such as method.temperature=0.2; repeatable."
        ),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Shrink the recipe to end within a minute, writing every file.")
    ] = False,
) -> int:
    """Train a backbone on images without labels.

    With nothing but the images, recipe, image size and epochs are chosen for them and said. On many devices:
    torchrun --nproc-per-node 2 -m viewkin train ...
    """
    from viewkin.recipes.finish import finish
    from viewkin.recipes.resolve import TrainRequest
    from viewkin.recipes.run import train as run

    request = TrainRequest(
        data=data,
        recipe=recipe,
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
    console = Console()
    directory, outcome = run(request, console)
    return finish(request, directory, outcome, console)


@app.command()
def embed(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    split: Annotated[str, typer.Option(help="Split of the data.")] = "train",
    features: Annotated[
        str, typer.Option(help="backbone, or embedding (a run directory's head as well).")
    ] = "backbone",
    normalise: Annotated[bool, typer.Option(help="Scale every row to length 1.")] = True,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Write one embedding for every image, as Parquet: id, path, label, embedding."""
    from viewkin.recipes.use import embed as run

    run(model, data, out, split=split, features=features, normalise=normalise, device=device, console=Console())


@app.command()
def evaluate(
    protocol: Annotated[str, typer.Argument(help="knn or linear.")],
    model: Model,
    data: Data,
    out: Out = None,
    features: Annotated[
        str, typer.Option(help="backbone, or embedding (a run directory's head as well).")
    ] = "backbone",
    train_split: Annotated[str, typer.Option(help="Split that teaches.")] = "train",
    test_split: Annotated[str, typer.Option(help="Split that is judged.")] = "test",
    holdout: Annotated[
        float | None, typer.Option(help="Share of the images to judge on, where there is no test split.")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Judge raw pixels and the untrained network beside it.")] = True,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="A setting of the protocol, such as k=5,20,200."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Judge features with labels: kNN or a linear probe. Prints a table and writes JSON."""
    from viewkin.recipes.use import EvaluateRequest
    from viewkin.recipes.use import evaluate as run

    request = EvaluateRequest(
        protocol=protocol,
        model=model,
        data=data,
        out=out,
        features=features,
        train_split=train_split,
        test_split=test_split,
        holdout=holdout,
        baselines=baselines,
        settings=tuple(settings or ()),
        device=device,
    )
    run(request, Console())


@app.command()
def recipes(name: Annotated[str | None, typer.Argument(help="Show every setting of this one.")] = None) -> None:
    """List the recipes, one line each, or show all settings of one."""
    from viewkin.recipes.listing import show

    show(name, Console())


@app.command()
def demo(
    data: Annotated[str, typer.Option(help="A folder of images; 'generated' renders some.")] = "generated",
    out: Annotated[Path, typer.Option(help="Run directory; an earlier demo there is replaced.")] = Path("runs/demo"),
) -> int:
    """Train on a small image set for a few minutes and show what was learnt."""
    from viewkin.recipes.demo import demo as run

    return run(data, out, Console())
