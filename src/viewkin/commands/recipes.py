"""What there is to run: recipes, their settings, methods and terms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from viewkin.methods.base import Group, MethodConfig
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.recipes.catalogue import RECIPES, recipe_named
from viewkin.recipes.shared import DATA, OWN, data_of
from viewkin.runs.method_expression import wraps
from viewkin.runtime.errors import UserError
from viewkin.settings import setting_paths
from viewkin.training.config import Recipe, nested

GROUPS: tuple[str, ...] = get_args(Group)
"""Kinds of learners, in the order in which they are listed."""
SETS = (OWN, *sorted(DATA))
"""Image sets that recipes are made for."""
BACKWARD = 2.0
"""Cost of a backward pass, in forward passes."""
SIMCLR = 2 * (1 + BACKWARD)
"""Cost of SimCLR's step for one image, in forward passes: two views, forward and backward."""
MEASURED = Path(__file__).parents[3] / "results" / "benchmarks" / "train_step.json"
"""Speeds of whole steps that were measured; a source tree has them, an installed package does not."""


@dataclass(frozen=True, kw_only=True)
class OfferedRecipe:
    """What there is to know before choosing a recipe."""

    name: str
    group: str
    method: str
    """The method as ``--method`` takes it: ``moco``, ``interclr(moco)``."""
    good_for: str
    """When to take the method."""
    data: str
    """Image set that it is made for."""
    cost: float
    """Time of a step beside SimCLR's for as many images."""
    measured: bool
    """Whether the cost was measured; otherwise forward and backward passes are counted."""
    about: str


@dataclass(frozen=True)
class Offer:
    """What can be trained."""

    recipes: tuple[OfferedRecipe, ...]
    learners: tuple[str, ...]
    """Methods that stand alone."""
    terms: tuple[str, ...]
    """Methods that are written around another one."""


def offer(*, group: str | None = None, data: str | None = None) -> Offer:
    """List recipes, learners and terms.

    Args:
        group: kind of learner; None: all.
        data: image set; None: all.

    Raises:
        UserError: there is no such group or set, or no recipe of both.
    """
    for value, known, what in ((group, GROUPS, "group"), (data, SETS, "data")):
        if value is not None and value not in known:
            raise UserError(f"No recipe has the {what} {value!r}; choose one of {', '.join(known)}.")
    speeds = _speeds()
    recipes = [_offered(name, make(), speeds) for name, make in RECIPES.items()]
    recipes = [one for one in recipes if group in (None, one.group) and data in (None, one.data)]
    if not recipes:
        raise UserError(f"No recipe of the group {group} is made for {data}; leave one of them out.")
    methods = list(dict.fromkeys(one.method for one in recipes))
    return Offer(
        recipes=tuple(sorted(recipes, key=lambda one: (GROUPS.index(one.group), methods.index(one.method)))),
        learners=tuple(kind for kind, config in METHOD_CONFIGS.items() if not wraps(config)),
        terms=tuple(kind for kind, config in METHOD_CONFIGS.items() if wraps(config)),
    )


def _offered(name: str, recipe: Recipe, speeds: dict[str, float]) -> OfferedRecipe:
    method = recipe.method
    kinds = [one.kind for _, one in nested(method)]
    measured = speeds["simclr"] / speeds["-".join(kinds)] if "-".join(kinds) in speeds and _plain(method) else None
    return OfferedRecipe(
        name=name,
        group=method.group,
        method="(".join(kinds) + ")" * (len(kinds) - 1),
        good_for=method.good_for,
        data=data_of(name),
        cost=counted_cost(method, recipe.augment.side) if measured is None else measured,
        measured=measured is not None,
        about=recipe.about,
    )


def _plain(method: MethodConfig) -> bool:
    """Whether a method passes as many views as its defaults do, which were measured."""
    inner = [one for _, one in nested(method)][-1]
    return inner.passes(1) == type(inner)().passes(1)


def counted_cost(method: MethodConfig, side: int) -> float:
    """Count a step's forward and backward passes through the network, beside SimCLR's for as many images."""
    seen, constant = method.passes(side)
    return (seen * (1 + BACKWARD) + constant) / SIMCLR


def _speeds() -> dict[str, float]:
    """Images a second of each method that was measured, with its name; nothing without a file."""
    if not MEASURED.is_file():
        return {}
    cases = json.loads(MEASURED.read_text())["cases"]
    return {case["method"]: case["ours"]["images_per_second"]["median"] for case in cases}


def settings_of_recipe(name: str) -> dict[str, Any]:
    """Give every setting of a recipe: path, as ``--set`` takes it, to value.

    Raises:
        UserError: there is no such recipe; the nearest are named.
    """
    return setting_paths(recipe_named(name))
