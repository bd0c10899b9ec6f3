"""The command line: options in, one function call each, one line and exit code 2 for bad input.

Imports that pull in torch stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from viewkin.cli.choosing import clusters, label, select
from viewkin.cli.cleaning import outliers, quality, suspects
from viewkin.cli.compare import compare
from viewkin.cli.duplicates import duplicates
from viewkin.cli.early_checks import check_images, check_models, check_recipe
from viewkin.cli.embed import embed
from viewkin.cli.explore import explore
from viewkin.cli.export import export
from viewkin.cli.figures import figures
from viewkin.cli.options import Data, Device, Features, ImageColumn, LabelColumn, Model
from viewkin.cli.reproduce import reproduce
from viewkin.cli.search import GreedyOptions, search
from viewkin.cli.terminal import shown
from viewkin.cli.train import train
from viewkin.runtime.errors import UserError
from viewkin.runtime.places import remedy, shortened, why_not
from viewkin.runtime.progress import speaks
from viewkin.runtime.version import VERSION
from viewkin.runtime.wording import one_line

app = typer.Typer(
    name="viewkin",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE)
"""Errors of the system that no other argument mends."""


class _Stopped(SystemExit):
    """A signal came; unlike the signal itself, an exception lets half-written files go."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the process's exit code says how it went.

    0 for success, 1 for a run that ended by itself, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _check_not_empty(sys.argv[1:] if arguments is None else arguments)
        code = app(arguments, prog_name="viewkin", standalone_mode=False)
    except UserError as error:
        _fail(str(error), error.exit_code)
    except _Stopped as stopped:
        _fail("Interrupted.", int(str(stopped.code)))
    except OSError as error:  # what no command foresaw, such as a full disk behind standard output
        _fail(_of_system(error), 1 if error.errno in OF_THE_MACHINE else 2)
    except Exception as error:
        # What click raises for a wrong option; typer brings a click of its own or not, by version.
        sentence = getattr(error, "format_message", None)
        if sentence is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(sentence())
            sys.exit(0)
        _fail(f"{sentence().rstrip('.')}; see viewkin {_command(arguments)}--help.")
    else:
        sys.exit(code if isinstance(code, int) else 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _: FrameType | None) -> None:
    raise _Stopped(128 + number)


def _command(arguments: list[str] | None) -> str:
    first = (sys.argv[1:] if arguments is None else arguments)[:1]
    return f"{first[0]} " if first and first[0] in COMMANDS else ""


def _fail(sentence: str, code: int = 2) -> None:
    if speaks():
        print(f"error: {one_line(' '.join(sentence.split()))}", file=sys.stderr, flush=True)
    sys.exit(code)


def _check_not_empty(arguments: list[str]) -> None:
    """Refuse an option whose value is empty, as an unset variable of a script leaves it.

    Raises:
        UserError: there is one.
    """
    for option, value in pairwise([*arguments, "end"]):
        if option.startswith("--") and (option.find("=") == len(option) - 1 if "=" in option else not value):
            raise UserError(f"The value after {option} is empty: give one, or leave {option.rstrip('=')} out.")


def _of_system(error: OSError) -> str:
    """Say in a sentence what the system refused."""
    what = "This command" if error.filename is None else shortened(os.fsdecode(error.filename))
    return f"{what} cannot go on ({why_not(error)}): {remedy(error)}."


def _version(wanted: bool) -> None:
    if wanted:
        print(f"viewkin {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 (its callback acts)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Learn visual features from images without labels, then evaluate and use them.

    \b
    Start with:
      viewkin demo                     try it on rendered images, a few minutes
      viewkin train photos/            train on your own images
      viewkin recipes                  list the published methods
    """  # noqa: D301 (click reads \b as: keep the lines)
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command(short_help="Train a backbone on images without labels.")(train)


app.command(short_help="Write one embedding for every image, to a file or a collection.")(embed)
app.command(short_help="Write a network for ONNX, timm, torchvision, Hugging Face and others.")(export)
app.command(cls=GreedyOptions, short_help="Find the images of a collection that are most like an image.")(search)
app.command(cls=GreedyOptions, short_help="List pictures that a collection holds more than once.")(duplicates)
app.command(short_help="List the images of a collection that are like few others.")(outliers)
app.command(short_help="List blurred, dark, overexposed, empty, oddly shaped and tiny pictures.")(quality)
app.command(short_help="List labels that the other images of a collection contradict.")(suspects)
app.command(short_help="Cluster the images of a collection, with contact sheets.")(clusters)
app.command(short_help="Choose the images of a collection to label first.")(select)
app.command(short_help="Pass a few labels on to all images of a collection.")(label)


app.command(short_help="Show a collection as a page: map, neighbours, lists, marks.")(explore)


@app.command(short_help="Evaluate features with labels: kNN, linear probe, retrieval, clustering, SVMs, detection.")
def evaluate(
    protocol: Annotated[
        str, typer.Argument(metavar="PROTOCOL", help="How to evaluate: one of the protocols listed above.")
    ],
    model: Model,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="JSON file to write [default: evaluation-PROTOCOL-KIND.json beside the model]."
        ),
    ] = None,
    features: Features = "backbone",
    train_split: Annotated[str, typer.Option(metavar="NAME", help="Split that trains the classifier.")] = "train",
    test_split: Annotated[str, typer.Option(metavar="NAME", help="Split to evaluate on.")] = "test",
    holdout: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Evaluate on this share of the training split, 0 to 1, if there is no test split."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="WHICH", help="Evaluate these classes only: labels, a range such as 98:196, or names."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Side of the images [default: what the model was trained for].")
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Also evaluate raw pixels and the untrained network.")] = True,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="A setting of the protocol, such as k=5,20,200. Repeatable."),
    ] = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    device: Device = "auto",
) -> None:
    """Evaluate features with labels. Prints a table and writes JSON.

    \b
    knn, linear, mlp    kNN, a linear probe, AMDIM's two heads
    retrieval, cluster  nearest neighbours of the same class, k-means; these need no training split
    finetune, semi      fine-tune the whole network, with all labels or with a few
    stages              a linear classifier on every stage of the frozen network
    svm, lowshot        the VOC07 protocol, with all images or with a few; also for data laid out as VOC
    multilabel          a linear classifier trained by SGD, for images that show several classes
    detection           fine-tune Faster R-CNN on images with boxes (laid out as VOC or COCO, or Parquet)

    \b
    Examples:
      viewkin evaluate knn runs/mine photos/ --holdout 0.2
      viewkin evaluate knn runs/mine data/ --set k=5,20,200
      viewkin evaluate linear runs/mine/backbone.safetensors data/ --no-baselines
      viewkin evaluate semi runs/mine data/ --set preset=interclr-10
      viewkin evaluate retrieval runs/mine cars/ --test-split train --classes 98:196
      viewkin evaluate svm runs/mine VOCdevkit/VOC2007 --train-split trainval
      viewkin evaluate detection runs/mine VOCdevkit --train-split trainval --set preset=voc
      viewkin evaluate detection runs/mine coco/ --test-split val --set preset=coco
    """  # noqa: D301 (click reads \b as: keep the lines)
    check_models(model)
    check_images(data)
    from viewkin.cli.output import say, show_evaluation
    from viewkin.commands.evaluate import EvaluateRequest
    from viewkin.commands.evaluate import evaluate as run
    from viewkin.data.reading import Reading

    request = EvaluateRequest(
        protocol=protocol,
        model=model,
        data=data,
        out=out,
        features=features,
        train_split=train_split,
        test_split=test_split,
        holdout=holdout,
        classes=classes,
        image_size=image_size,
        baselines=baselines,
        settings=tuple(settings or ()),
        reading=Reading(image_column=image_column, label_column=label_column),
        device=device,
    )
    with shown() as console:
        evaluation = run(request)
        show_evaluation(console, protocol, evaluation.results)
        say(console, f"Written to {evaluation.written}")


@app.command(short_help="List the recipes, or all settings of one.")
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Recipe whose settings to show.")] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP", help="Only instance, redundancy, distillation, clustering or inter-image learners."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SET", help="Only recipes made for this set, such as cifar10 or photos.")
    ] = None,
) -> None:
    """List the recipes by kind of learner, or show all settings of one as PATH=VALUE, ready for --set."""
    check_recipe(name)
    from viewkin.cli.output import say, show_offer
    from viewkin.commands.recipes import offer, settings_of_recipe

    if name is None:
        show_offer(Console(), offer(group=group, data=data))
    else:
        say(Console(), *(f"{path}={value}" for path, value in settings_of_recipe(name).items()))


@app.command(short_help="Train on a small image set for a few minutes and show what was learnt.")
def demo(
    data: Annotated[str, typer.Option(metavar="DATA", help="A folder of images, or 'generated' for rendered ones.")] = (
        "generated"
    ),
    out: Annotated[Path, typer.Option(metavar="DIR", help="Run directory. An earlier demo there is replaced.")] = Path(
        "runs/demo"
    ),
) -> int:
    """Train on a small image set for a few minutes and show what was learnt."""
    check_images(data)
    from viewkin.cli.output import show_training
    from viewkin.commands.demo import demo as run

    with shown() as console:
        training = run(data, out)
        show_training(console, training)
    return training.exit_code


app.command(short_help="Compare runs in one table, with the papers' numbers.")(compare)
app.command(short_help="Train the rows of the papers' tables, and say which claims held.")(reproduce)
app.add_typer(figures, name="figures", short_help="Draw maps, neighbours, curves and more.")

COMMANDS = (
    *("train", "embed", "export", "search", "duplicates", "outliers", "quality", "suspects", "clusters", "select"),
    *("label", "explore", "evaluate", "recipes", "demo", "compare", "reproduce", "figures"),
)
"""Commands that have a help page of their own."""
