"""What ``viewkin reproduce`` returns, as plain text and tables."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rich.console import Console

from viewkin.campaigns.campaign import Row
from viewkin.campaigns.catalogue import CAMPAIGNS
from viewkin.campaigns.claims import summed
from viewkin.campaigns.report import spread
from viewkin.cli.terminal import say
from viewkin.commands.campaign_plan import CampaignPlan
from viewkin.commands.headline_embeddings import Recomputed
from viewkin.commands.reproduce import Reproduction
from viewkin.runtime.places import shell_word
from viewkin.runtime.tables import text_table
from viewkin.runtime.wording import counted

__all__ = ["say", "show_campaigns", "show_commands", "show_recomputed", "show_reproduction", "show_rows"]


def show_campaigns(console: Console) -> None:
    """Print every campaign with its budgets."""
    longest = max(map(len, CAMPAIGNS))
    for campaign in CAMPAIGNS.values():
        budgets = ", ".join(edition.budget.name for edition in campaign.editions)
        say(console, f"{campaign.name:<{longest}}  {campaign.about} ({budgets})")
    say(console, "", "See the rows of one with: viewkin reproduce NAME --list")


def show_rows(console: Console, plan: CampaignPlan) -> None:
    """Print the rows that were chosen, how far each is with each seed, and what there is no code for."""
    say(
        console,
        f"{plan.campaign.name}: {plan.campaign.about}",
        f"Budget {plan.edition.budget.name}: {plan.edition.budget.about}",
    )
    seeds = list(dict.fromkeys(seed for _, seed in plan.chosen))
    head = ("row", "priority", *(f"seed {seed}" for seed in seeds), "trains")
    lines = [
        (row.name, str(row.priority), *(plan.state(row, seed) for seed in seeds), _trains(row))
        for row in dict.fromkeys(row for row, _ in plan.chosen)
    ]
    _table(console, head, lines)
    for one in plan.campaign.absent:
        say(console, f"Without code: {one.name}: {one.why}.")


def _trains(row: Row) -> str:
    """Say in a line what a row trains."""
    what = row.recipe if row.method is None else f"{row.method} by {row.recipe}"
    return what + (f": {row.about}" if row.about else "")


def _table(console: Console, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table that a narrow terminal wraps and does not cut."""
    say(console, *text_table(head, rows).splitlines())


def show_commands(console: Console, commands: Sequence[Sequence[str]]) -> None:
    """Print commands, ready for a shell."""
    say(console, *(" ".join(["viewkin", *map(shell_word, words)]) for words in commands))
    if not commands:
        say(console, "Every run has ended.")


def show_recomputed(console: Console, found: Sequence[Recomputed]) -> int:
    """Print what the kept embeddings give; the exit code says whether all agree with the results."""
    head = ("row", "seed", "images", "kNN (200) among them", "R@1", "R@1 in the results", "")
    lines = [
        (
            one.row,
            str(one.seed),
            f"{one.images:,}",
            f"{one.knn:.2f}",
            f"{one.recall:.2f}",
            "-" if one.recorded is None else f"{one.recorded:.2f}",
            "" if one.recorded is None else "agrees" if one.agrees else "DIFFERS",
        )
        for one in found
    ]
    _table(console, head, lines)
    return int(not all(one.agrees for one in found))


def show_reproduction(console: Console, done: Reproduction) -> None:
    """Print the table, the claims, what failed and where the files are."""
    columns = done.report.edition.columns
    lines = [
        (
            row.name,
            *(spread([run.values[one.key] for run in runs if one.key in run.values]) for one in columns),
            ", ".join(str(run.seed) for run in runs),
            f"{fmean(run.cpu_seconds for run in runs) / 60:.0f}",
        )
        for row in done.report.edition.rows
        if (runs := done.report.of(row))
    ]
    if lines:
        _table(console, ("row", *(one.title for one in columns), "seeds", "CPU minutes"), lines)
    if done.report.missing:
        say(
            console,
            f"{counted(len(done.report.missing), 'row')} not run with every seed: {', '.join(done.report.missing)}.",
        )
    say(
        console,
        *(f"{one.verdict}: {one.observation.claim} ({one.sentence})." for one in done.report.decisions if one.pairs),
        *([summed(done.report.decisions)] if done.report.decisions else []),
    )
    if done.signal is not None:
        say(console, "Stopped; the same command goes on.")
    say(console, *done.report.faults, *done.failed, f"Written to {done.written.table.parent}")
