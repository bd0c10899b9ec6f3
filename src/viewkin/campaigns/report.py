"""A campaign's results as a table, as CSV and as a page: what was measured, what was not, which claims held."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from viewkin.campaigns.campaign import Absent, Campaign, Edition, Row, beside
from viewkin.campaigns.claims import Decision, decide, summed
from viewkin.campaigns.measured import Measured
from viewkin.campaigns.published import printed_of_others

NOT_RUN = "not run"


@dataclass(frozen=True)
class Report:
    """What a campaign has measured so far."""

    campaign: Campaign
    """The campaign."""
    edition: Edition
    """Its rows under one budget."""
    runs: tuple[Measured, ...]
    """Runs that have ended, in the order of the rows."""
    faults: tuple[str, ...] = ()
    """Sentences on results that cannot be read."""

    @property
    def decisions(self) -> list[Decision]:
        """What became of each claim."""
        values: dict[str, dict[int, dict[str, float]]] = {}
        for run in self.runs:
            values.setdefault(run.row, {})[run.seed] = dict(run.values)
        titles = {column.key: column.title for column in self.edition.columns}
        return [
            decide(one, values, self.edition.seeds, self.edition.deciding, titles)
            for one in self.campaign.claims(self.edition)
        ]

    def of(self, row: Row) -> list[Measured]:
        """Give the runs of a row."""
        return [run for run in self.runs if run.row == row.name]

    @property
    def missing(self) -> list[str]:
        """Name the rows without all planned seeds: "npid (seed 1)"."""
        lacking = {row.name: set(self.edition.seeds) - {run.seed for run in self.of(row)} for row in self.edition.rows}
        return [
            name if len(seeds) == len(self.edition.seeds) else f"{name} (seed {', '.join(map(str, sorted(seeds)))})"
            for name, seeds in lacking.items()
            if seeds
        ]


def csv_text(report: Report) -> str:
    """Write one line a run: every measure, both times, device, commit and command."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = report.edition.columns
    facts = ("views", "epochs", "seconds", "cpu_seconds", "threads", "device", "commit", "command")
    writer.writerow(["row", "seed", *(column.key for column in columns), *facts])
    for run in report.runs:
        numbers = [round(run.values[one.key], 2) if one.key in run.values else "" for one in columns]
        writer.writerow([run.row, run.seed, *numbers, *(getattr(run, fact) for fact in facts)])
    return stream.getvalue()


def header(report: Report) -> list[str]:
    """Give the headings of the table."""
    return [
        "row",
        *(column.title for column in report.edition.columns),
        "seeds",
        "epochs",
        "minutes",
        "CPU minutes",
        "published, of another training",
        "commit",
    ]


def cells(report: Report) -> list[list[str]]:
    """Give one line a row of the campaign: mean and standard deviation over seeds; a row that was not run says so."""
    lines: list[list[str]] = []
    for row in report.edition.rows:
        runs = report.of(row)
        papers = "; ".join(f"{name} {number.value:g}" for name, number in beside(row, report.edition))
        if not runs:
            empty = [""] * (len(report.edition.columns) - 1)
            lines.append([row.name, NOT_RUN, *empty, "", "", "", "", papers, ""])
            continue
        lines.append(
            [
                row.name,
                *(spread([run.values[c.key] for run in runs if c.key in run.values]) for c in report.edition.columns),
                ", ".join(str(run.seed) for run in runs),
                "/".join(dict.fromkeys(str(run.epochs) for run in runs)),
                f"{fmean(run.seconds for run in runs) / 60:.0f}",
                f"{fmean(run.cpu_seconds for run in runs) / 60:.0f}",
                papers,
                ", ".join(sorted({run.commit for run in runs})),
            ]
        )
    return lines


def spread(values: Sequence[float]) -> str:
    """Write the mean, with the standard deviation (n - 1) where there are several values."""
    if not values:
        return ""
    mean = f"{fmean(values):.1f}"
    return f"{mean} ± {stdev(values):.1f}" if len(values) > 1 else mean


def claim_lines(report: Report) -> list[str]:
    """Write one item a claim, with its verdict in bold."""
    return [
        f"* **{one.verdict}**: {one.observation.claim} ({one.observation.source}). "
        f"{one.observation.better} less {one.observation.than}: {one.sentence}."
        for one in report.decisions
    ]


def absent_lines(absent: Sequence[Absent]) -> list[str]:
    """Write one item a method without code, with its published numbers."""
    lines: list[str] = []
    for one in absent:
        numbers = [f"{name} {paper.value:g} ({paper.setting})" for name, paper in printed_of_others(one.row)]
        shown = f" Published: {'; '.join(numbers)}." if numbers else ""
        lines.append(f"* {one.name}: {one.why}.{shown}")
    return lines


def note_lines(report: Report) -> list[str]:
    """Write one item a note: the campaign's, what rows are, which runs have other settings, which cannot be read."""
    lines = [f"* {note}" for note in report.campaign.notes]
    lines += [f"* `{row.name}`: {row.about}." for row in report.edition.rows if row.about]
    others: dict[str, list[str]] = {}
    for run in report.runs:
        if run.differing:
            others.setdefault(", ".join(run.differing), []).append(f"{run.row}-s{run.seed}")
    lines += [
        f"* Trained with other settings than the row's, {what}: {', '.join(which)}." for what, which in others.items()
    ]
    return [*lines, *(f"* {fault}" for fault in report.faults)]


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def page(report: Report, *, command: str, curves: bool) -> str:
    """Write the page of a campaign's folder.

    Args:
        report: what was measured.
        command: that wrote it.
        curves: whether ``curves.png`` lies beside it.
    """
    edition, devices = report.edition, sorted({run.device for run in report.runs})
    facts = [
        f"`{command}` writes this page, `table.csv` and `curves.png`, and trains what is missing.",
        f"{len(report.runs)} runs have ended.",
        f"Budget: {edition.budget.about}.",
        f"Images: {edition.images}.",
        f"Planned seeds: {', '.join(map(str, edition.seeds))}.",
        *([f"Trained on: {', '.join(devices)}."] if devices else []),
        "Numbers are percent, mean ± standard deviation over seeds. Minutes are of training one run.",
    ]
    parts = [
        f"# Campaign {report.campaign.name}",
        f"{report.campaign.about[:1].upper()}{report.campaign.about[1:]}.",
        " ".join(facts),
        "\n".join(table_lines(header(report), cells(report))),
    ]
    if report.missing:
        parts.append(f"Not run: {', '.join(report.missing)}.")
    if report.decisions:
        parts += ["## Claims", summed(report.decisions), "\n".join(claim_lines(report))]
    if curves:
        parts += ["## Curves", "kNN on held-out training images over the epochs: ![curves](curves.png)"]
    if report.campaign.absent:
        parts += ["## Without code", "\n".join(absent_lines(report.campaign.absent))]
    if notes := note_lines(report):
        parts += ["## Notes", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"
