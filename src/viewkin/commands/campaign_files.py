"""The files of a campaign's folder: ``table.csv``, ``README.md`` and ``curves.png``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from viewkin.campaigns.campaign import Campaign, Edition
from viewkin.campaigns.measured import read_all
from viewkin.campaigns.report import Report, csv_text, page
from viewkin.figures.campaign import Curve, draw_families
from viewkin.figures.style import can_draw, write_figure
from viewkin.runtime.errors import UserError
from viewkin.runtime.files import replacing

TABLE, PAGE, CURVES = "table.csv", "README.md", "curves.png"


@dataclass(frozen=True)
class Written:
    """Where a campaign's results went."""

    table: Path
    """One line a run, CSV."""
    page: Path
    """Table, claims and notes, Markdown."""
    curves: Path | None
    """Curves of the kNN monitor; None: nothing to draw, or no matplotlib."""


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written.

    Raises:
        UserError: it cannot.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "is no folder" if not there.is_dir() else "is not yours to write"
        raise UserError(f"{folder} cannot be written, because {there} {why}; name another place.")


def write_report(campaign: Campaign, edition: Edition, results: Path, command: str) -> tuple[Report, Written]:
    """Read all runs that have ended, and write table, page and curves anew.

    Args:
        campaign: the campaign.
        edition: its rows under a budget.
        results: folder of the results.
        command: that is named on the page.

    Raises:
        UserError: the folder cannot be written.
    """
    runs, faults = read_all(results, edition)
    report = Report(campaign, edition, tuple(runs), tuple(faults))
    curves = _curves(report)
    drawn = None
    if curves and can_draw():
        drawn = results / CURVES
        write_figure(draw_families(curves, "kNN on held-out images, %"), drawn)
    shown = drawn is not None or (bool(curves) and (results / CURVES).exists())
    written = Written(results / TABLE, results / PAGE, drawn)
    _write(written.table, csv_text(report))
    _write(written.page, page(report, command=command, curves=shown))
    return report, written


def _curves(report: Report) -> dict[str, dict[str, list[Curve]]]:
    families: dict[str, dict[str, list[Curve]]] = {}
    for row in report.edition.rows:
        curves: list[Curve] = [run.curve for run in report.of(row) if run.curve]
        if curves:
            families.setdefault(row.family, {})[row.name] = curves
    return families


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror}); choose a place you may write to.") from error
