"""``viewkin compare``: options in, one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viewkin.cli.early_checks import check_runs
from viewkin.cli.options import Runs
from viewkin.cli.terminal import shown


def compare(
    runs: Runs,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".csv or .json file to write, with all columns.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Show raw pixels and the untrained network too.")
    ] = False,
) -> None:
    """Compare runs in one table: mean and spread over seeds of every measure, with the numbers that papers print.

    Runs that differ only in their seed are one line. A paper's number is shown only for the same data set.

    \b
    Example:
      viewkin compare runs/eir_cifar10-* --out eir.csv
    """  # noqa: D301 (click reads \b as: keep the lines)
    check_runs(runs)
    from viewkin.cli.output import say, show_comparison
    from viewkin.commands.compare import compare as run

    with shown() as console:
        show_comparison(console, run(runs, out, baselines=baselines))
        if out is not None:
            say(console, f"Written to {out}")
