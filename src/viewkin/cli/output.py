"""What commands return, as plain text and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from viewkin.campaigns.comparison import Line
from viewkin.campaigns.comparison_table import table_of
from viewkin.cli.terminal import say
from viewkin.commands.detection import DETECTION, OF_CLASS
from viewkin.commands.figures.inputs import WrittenDrawing
from viewkin.commands.recipes import Offer
from viewkin.commands.train import Training
from viewkin.evaluation.results import Result
from viewkin.figures.report import NO_MATPLOTLIB
from viewkin.figures.style import can_draw
from viewkin.runs.run_settings import RunSettings
from viewkin.runtime.places import shell_word
from viewkin.runtime.wording import one_line


class PlainTable(Table):
    """A table whose cells are one line each, without control characters: names come from files."""

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.add_row(*map(one_line, cells))

    def show(self, console: Console) -> None:
        """Print the table as it is: no colours, no markup read from a name."""
        console.print(self, markup=False, highlight=False)


def show_results(console: Console, title: str, results: Sequence[Result]) -> None:
    """Print a title, one row a model and one column a measure, then the notes."""
    say(console, "", title)
    measures = list(dict.fromkeys(name for result in results for name in result.values))
    table = PlainTable()
    table.add_column("model")
    for name in measures:
        table.add_column(one_line(name), justify="right")
    table.add_column("seconds", justify="right")
    for result in results:
        values = (f"{result.values[name]:.2f}" if name in result.values else "-" for name in measures)
        table.add(result.model, *values, f"{result.seconds:.1f}")
    table.show(console)
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
    table = PlainTable()
    table.add_column("AP of")
    for one in results:
        table.add_column(one_line(one.model), justify="right")
    for name in results[0].values:
        if name.startswith(OF_CLASS):
            table.add(name.removeprefix(OF_CLASS), *(f"{one.values[name]:.2f}" for one in results))
    table.show(console)
    say(console, f"Average precision in percent, rule {results[0].settings['rule']}.")


def show_comparison(console: Console, lines: Sequence[Line]) -> None:
    """Print the table, measure by measure, and below it what the runs are, what papers trained and what was judged."""
    compared = table_of(lines)
    table = PlainTable()
    for name in compared.header:
        table.add_column(name, justify="right" if name in ("mean", "std", "n", "published") else "left")
    for rows in compared.sections:
        table.add_section()
        for place, row in enumerate(rows):
            table.add(*(row if place == 0 else ["", "", *row[2:]]))
    table.show(console)
    say(console, *compared.notes)


ABOUT_GROUPS = {
    "instance": "each image is told from all others",
    "redundancy": "features agree between views and do not repeat each other",
    "distillation": "a view predicts what a network says of another view; no negatives",
    "clustering": "views or images agree on clusters",
    "inter-image": "other images are positives too",
}


def show_offer(console: Console, offer: Offer) -> None:
    """Print the recipes by group and method, one line each, then the methods."""
    width = max(len(one.name) for one in offer.recipes)
    group = method = ""
    for one in offer.recipes:
        if one.group != group:
            group, method = one.group, ""
            say(console, "", f"{group.upper()}: {ABOUT_GROUPS[group]}")
        if one.method != method:
            method = one.method
            say(console, f"  {method}: {one.good_for}")
        cost = f"{one.cost:.1f}{'*' if one.measured else ' '}"
        say(console, f"    {one.name:<{width}}  {cost}  {one.about}")
    counted = "The number is the time of a step beside SimCLR's for as many images, by counted passes"
    say(
        console,
        "",
        f"{counted}; * measured on a CPU." if any(one.measured for one in offer.recipes) else f"{counted}.",
        "Run one with: viewkin train DATA --recipe NAME; see its settings with: viewkin recipes NAME",
        f"Methods for --method: {', '.join(offer.learners)}; terms around one: "
        f"{', '.join(f'{term}(...)' for term in offer.terms)}",
    )


def show_training(console: Console, training: Training) -> None:
    """Print what training came to, and what to do next."""
    run = training.run
    if run is None or not run.leads:
        return
    out = run.plan.out
    data, columns, place = *_images_of(run.plan.stored), shell_word(str(out))
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
        f"Next:     viewkin embed {place} {data}{columns} --out {shell_word(str(out / 'embeddings.parquet'))}",
    )


def _images_of(stored: RunSettings) -> tuple[str, str]:
    """Write what names the images of a run in a shell, and the flags that tell how they are read."""
    name, data = stored.data, stored.recipe.data
    if stored.address is not None and name != stored.address and not Path(name).expanduser().exists():
        name = stored.address  # a name that cannot be printed as it is
    named = {"--image-column": data.image_column, "--label-column": data.label_column}
    flags = [f" {flag} {shell_word(column)}" for flag, column in named.items() if column is not None]
    return shell_word(name), "".join([*flags, *[" --no-labels"] * (not data.labels)])


def show_drawing(console: Console, written: WrittenDrawing) -> None:
    """Print where a figure went."""
    also = f", and in {', '.join(map(str, written.reports))}" if written.reports else ""
    say(console, f"{written.drawing.caption}: {written.file}{also}")
