"""What there is to run."""

from __future__ import annotations

from rich.console import Console

from viewkin.cli.output import say
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.recipes.catalogue import RECIPES, recipe_named
from viewkin.runs.method_expression import wraps
from viewkin.settings import setting_paths


def show(name: str | None, console: Console) -> None:
    """Print one line a recipe, or every setting of one as ``path=value``, as ``--set`` takes it."""
    if name is not None:
        say(console, *(f"{path}={value}" for path, value in setting_paths(recipe_named(name)).items()))
        return
    width = max(map(len, RECIPES))
    say(console, *(f"{key:<{width}}  {recipe().about}" for key, recipe in RECIPES.items()))
    terms = [f"{kind}(...)" for kind in METHOD_CONFIGS if wraps(METHOD_CONFIGS[kind])]
    alone = [kind for kind in METHOD_CONFIGS if not wraps(METHOD_CONFIGS[kind])]
    say(
        console,
        "",
        "Run one with: viewkin train DATA --recipe NAME; see its settings with: viewkin recipes NAME",
        f"Methods for --method: {', '.join(alone)}; terms around one: {', '.join(terms)}",
    )
