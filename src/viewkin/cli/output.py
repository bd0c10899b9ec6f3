"""Plain text and tables on the console."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from viewkin.evaluation.results import Result


def say(console: Console, *sentences: str) -> None:
    """Print one line each as it is: no wrapping within a path, no colours, no markup read from a file's name."""
    for sentence in sentences:
        text = sentence.encode("utf-8", "backslashreplace").decode()  # a path may hold bytes that are no UTF-8
        console.print(text, highlight=False, markup=False, soft_wrap=True)


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
