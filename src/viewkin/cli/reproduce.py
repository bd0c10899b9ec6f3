"""``viewkin reproduce``: options in, one function call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from viewkin.cli.early_checks import check_images
from viewkin.cli.terminal import shown


def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Campaign; leave it out to list the campaigns.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="mini for a CPU, full for a GPU [default: the campaign's first]."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="The images [default: such as data/cifar-10-batches-py].")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the results [default: results/NAME].")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run directories [default: runs/NAME].")
    ] = None,
    rows: Annotated[
        list[str] | None, typer.Option("--rows", metavar="ROW,...", help="These rows only. Repeatable.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,...", help="These seeds [default: those that are planned].")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="Leave out rows of a priority above N; 1 is the most urgent.")
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", help="Runs side by side.")] = 1,
    nice: Annotated[
        int | None, typer.Option(metavar="N", help="Give way to other programs, 0 to 19, as the command nice does.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the rows and how far they are; run nothing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands that train what is missing; run nothing.")
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Write the table of what has ended; run nothing.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Recompute kNN and R@1 from the embeddings that are kept; run nothing.")
    ] = False,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep the test embeddings of one row and seed in half precision, from a file of 'viewkin embed'.",
        ),
    ] = None,
) -> int:
    """Reproduce a campaign: train and judge its rows, and write their table, curves and what became of each claim.

    Started again it goes on where it stopped, also in the middle of a run. Ctrl-C saves and stops. A row that fails
    does not end the others; the exit code is then 1.

    \b
    Examples:
      viewkin reproduce                                     the campaigns
      viewkin reproduce mini --list
      viewkin reproduce mini --priority 1 --jobs 2 --nice 19
      viewkin reproduce eir-weights --rows relation-3,relation-15 --seeds 0,1
      viewkin reproduce full --data data/cifar-10-batches-py
      viewkin reproduce mini --check
    """  # noqa: D301 (click reads \b as: keep the lines)
    check_images(data)
    from viewkin.cli import reproduce_output as output
    from viewkin.commands.campaign_plan import ReproduceRequest, campaign_plan, numbers_in, words_in
    from viewkin.commands.headline_embeddings import keep_of, recompute
    from viewkin.commands.reproduce import commands_of, gathered
    from viewkin.commands.reproduce import reproduce as run

    with shown() as console:
        if name is None:
            output.show_campaigns(console)
            return 0
        request = ReproduceRequest(
            campaign=name,
            budget=budget,
            data=data,
            results=out,
            runs=runs,
            rows=words_in(rows or ()),
            priority=priority,
            seeds=numbers_in("--seeds", seeds),
            jobs=jobs,
            nice=nice,
        )
        if listed:
            output.show_rows(console, campaign_plan(request))
        elif dry_run:
            output.show_commands(console, commands_of(request))
        elif check:
            return output.show_recomputed(console, recompute(campaign_plan(request)))
        elif embeddings is not None:
            output.say(console, f"Written to {keep_of(campaign_plan(request), embeddings)}")
        else:
            done = gathered(request) if table else run(request)
            output.show_reproduction(console, done)
            return done.exit_code
    return 0
