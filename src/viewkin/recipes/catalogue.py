"""Every recipe by name. A recipe is a function returning the whole typed :class:`Recipe`; a variant is three lines.

Where a docstring gives an expected accuracy, it is the published one; what was measured here is in ``results/``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from viewkin.recipes import amdim, baselines, clustering, eir, everyday, interclr, invp, isif, learners
from viewkin.runtime.errors import UserError
from viewkin.training.config import Recipe

RECIPES: dict[str, Callable[[], Recipe]] = {
    name: recipe
    for family in (everyday, baselines, learners, eir, invp, isif, amdim, interclr, clustering)
    for name, recipe in family.RECIPES.items()
}
"""Name to recipe."""


def recipe_named(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        UserError: there is none; the nearest are named.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.3)
        hint = f"did you mean {', '.join(near)}?" if near else "'viewkin recipes' lists them."
        raise UserError(f"There is no recipe {name!r}; {hint}")
    return RECIPES[name]()
