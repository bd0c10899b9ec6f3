"""What there is to run: recipes, their settings, methods and terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.recipes.catalogue import RECIPES, recipe_named
from viewkin.runs.method_expression import wraps
from viewkin.settings import setting_paths


@dataclass(frozen=True)
class Offer:
    """What can be trained."""

    recipes: dict[str, str]
    """Name of each recipe to one line about it."""
    learners: tuple[str, ...]
    """Methods that stand alone."""
    terms: tuple[str, ...]
    """Methods that are written around another one."""


def offer() -> Offer:
    """List every recipe, learner and term."""
    return Offer(
        recipes={name: recipe().about for name, recipe in RECIPES.items()},
        learners=tuple(kind for kind, config in METHOD_CONFIGS.items() if not wraps(config)),
        terms=tuple(kind for kind, config in METHOD_CONFIGS.items() if wraps(config)),
    )


def settings_of_recipe(name: str) -> dict[str, Any]:
    """Give every setting of a recipe: path, as ``--set`` takes it, to value.

    Raises:
        UserError: there is no such recipe; the nearest are named.
    """
    return setting_paths(recipe_named(name))
