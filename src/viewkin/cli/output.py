"""What commands return, as plain text and tables."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from viewkin.campaigns.comparison import SPEED, Line
from viewkin.cli.terminal import say
from viewkin.commands.detection import DETECTION, OF_CLASS
from viewkin.commands.figures.inputs import WrittenDrawing
from viewkin.commands.recipes import Offer
from viewkin.commands.train import Training
from viewkin.evaluation.results import Result
from viewkin.figures.report import NO_MATPLOTLIB
from viewkin.figures.style import can_draw


def show_results(console: Console, title: str, results: Sequence[Result]) -> None:
    """Print a title, one row a model and one column a measure, then the notes."""
    say(console, "", title)
    measures = list(dict.fromkeys(name for result in results for name in result.values))
    table = Table()
    table.add_column("model")
    for name in measures:
        table.add_column(name, justify="right")
    table.add_column("seconds", justify="right")
    for result in results:
        values = (f"{result.values[name]:.2f}" if name in result.values else "-" for name in measures)
        table.add_row(result.model, *values, f"{result.seconds:.1f}")
    console.print(table, markup=False, highlight=False)
    say(console, *(f"Note: {note}" for note in dict.fromkeys(note for r in results for note in r.notes)))


def show_evaluation(console: Console, protocol: str, results: Sequence[Result]) -> None:
    """Print the table of an evaluation."""
    show = _show_detection if protocol == DETECTION else show_results
    show(console, f"{protocol} on {results[0].data}", results)


def _show_detection(console: Console, title: str, results: Sequence[Result]) -> None:
    """Print the measures over all classes, one row a model, then one row a class and one column a model."""
    overall = [
        replace(one, values={name: value for name, value in one.values.items() if not name.startswith(OF_CLASS)})
        for one in results
    ]
    show_results(console, title, overall)
    table = Table()
    table.add_column("AP of")
    for one in results:
        table.add_column(one.model, justify="right")
    for name in results[0].values:
        if name.startswith(OF_CLASS):
            table.add_row(name.removeprefix(OF_CLASS), *(f"{one.values[name]:.2f}" for one in results))
    console.print(table, markup=False, highlight=False)
    say(console, f"Average precision in percent, rule {results[0].settings['rule']}.")


def show_comparison(console: Console, lines: Sequence[Line]) -> None:
    """Print the table, measure by measure, and below it what the runs are, what papers trained and what differs."""
    table = Table()
    for name in ("measure", "features", "runs", "mean", "std", "n", "published"):
        table.add_column(name, justify="right" if name in ("mean", "std", "n", "published") else "left")
    before = None
    for line in sorted(lines, key=lambda line: _order(line, lines)):
        if before not in (None, (line.measure, line.features)):
            table.add_section()
        new = before != (line.measure, line.features)
        before = (line.measure, line.features)
        std = "-" if line.std is None else _number(line.std, line)
        first = (line.measure, line.features or "-") if new else ("", "")
        table.add_row(*first, _name(line), _number(line.mean, line), std, str(len(line.runs)), line.published or "-")
    console.print(table, markup=False, highlight=False)
    for name, recipe, seeds, changed in dict.fromkeys((_name(a), a.recipe, a.seeds, a.changed) for a in lines):
        differs = f"; changed: {changed}" if changed else ""
        noun = "seed" if len(seeds) == 1 else "seeds"
        say(console, f"{name}: recipe {recipe}, {noun} {' '.join(map(str, seeds))}{differs}")
    papers = dict.fromkeys((line.recipe, line.paper) for line in lines if line.paper)
    say(console, *(f"Published for {recipe}: {paper}" for recipe, paper in papers))
    say(console, *(f"Judged on {data}" for data in dict.fromkeys(line.data for line in lines if line.data)))


def _name(line: Line) -> str:
    """Name runs by the folder of the first and how many more there are."""
    first, *more = line.runs
    return Path(first).name + (f" +{len(more)}" if more else "")


def _order(line: Line, lines: Sequence[Line]) -> tuple[int, int]:
    """Bring the same measure of the same features together, in the order in which they first appear."""
    names = [(other.measure, other.features) for other in lines]
    return names.index((line.measure, line.features)), lines.index(line)


def _number(value: float, line: Line) -> str:
    """Percent and images/s with two digits, the log's shares with three."""
    return f"{value:,.{2 if line.protocol != 'log' or line.measure == SPEED else 3}f}"


def show_offer(console: Console, offer: Offer) -> None:
    """Print one line a recipe, then the methods."""
    width = max(map(len, offer.recipes))
    say(
        console,
        *(f"{name:<{width}}  {about}" for name, about in offer.recipes.items()),
        "",
        "Run one with: viewkin train DATA --recipe NAME; see its settings with: viewkin recipes NAME",
        f"Methods for --method: {', '.join(offer.learners)}; terms around one: "
        f"{', '.join(f'{term}(...)' for term in offer.terms)}",
    )


def show_training(console: Console, training: Training) -> None:
    """Print what training came to, and what to do next."""
    run = training.run
    if run is None or not run.leads:
        return
    data, out = shlex.quote(run.plan.stored.data), run.plan.out
    place = shlex.quote(str(out))
    if not training.finished:
        again = f"viewkin train {data} --out {place} --resume"
        say(console, f"Stopped and saved at step {run.outcome.steps}. Go on with: {again}")
        return
    if training.results:
        results = training.results
        show_results(console, f"kNN accuracy in percent, {results[0].data}", results)
    say(
        console,
        *([] if can_draw() else [NO_MATPLOTLIB]),
        *([training.verdict] if training.verdict else []),
        f"Backbone: {out / 'backbone.safetensors'} (in Python: viewkin.load_backbone({str(out)!r}))",
        *(f"Evidence: {path} (for 'viewkin figures')" for path in training.evidence),
        f"Report:   {out / 'report.html'} (curves and nearest neighbours, in any browser)",
        f"Next:     viewkin embed {place} {data} --out {shlex.quote(str(out / 'embeddings.parquet'))}",
    )


def show_drawing(console: Console, written: WrittenDrawing) -> None:
    """Print where a figure went."""
    also = f", and in {', '.join(map(str, written.reports))}" if written.reports else ""
    say(console, f"{written.drawing.caption}: {written.file}{also}")
