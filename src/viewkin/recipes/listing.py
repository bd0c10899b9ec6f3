"""What there is to run."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from viewkin import config
from viewkin.recipes.catalogue import RECIPES, recipe_named


def show(name: str | None, console: Console) -> None:
    """Print one line a recipe, or every setting of one as ``path=value``."""
    if name is not None:
        for path, value in config.paths(recipe_named(name)).items():
            console.print(f"{path}={value}", highlight=False, markup=False, soft_wrap=True)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for key, recipe in RECIPES.items():
        table.add_row(key, recipe().about)
    console.print(table)
