"""What there is to run."""

from __future__ import annotations

from rich.console import Console

from viewkin import config
from viewkin.recipes.catalogue import KINDS, RECIPES, recipe_named
from viewkin.recipes.compose import wraps
from viewkin.recipes.say import say


def show(name: str | None, console: Console) -> None:
    """Print one line a recipe, or every setting of one as ``path=value``, as ``--set`` takes it."""
    if name is not None:
        say(console, *(f"{path}={value}" for path, value in config.paths(recipe_named(name)).items()))
        return
    width = max(map(len, RECIPES))
    say(console, *(f"{key:<{width}}  {recipe().about}" for key, recipe in RECIPES.items()))
    terms = [f"{kind}(...)" for kind in KINDS if wraps(KINDS[kind])]
    alone = [kind for kind in KINDS if not wraps(KINDS[kind])]
    say(
        console,
        "",
        "Run one with: viewkin train DATA --recipe NAME; see its settings with: viewkin recipes NAME",
        f"Methods for --method: {', '.join(alone)}; terms around one: {', '.join(terms)}",
    )
