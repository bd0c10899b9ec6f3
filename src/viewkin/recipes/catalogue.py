"""Every recipe by name. A recipe is a function returning the whole typed :class:`Recipe`; a variant is three lines.

Where a docstring gives an expected accuracy, it is the published one; what was measured here is in ``results/``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from viewkin.config import Kinds
from viewkin.errors import UserError
from viewkin.methods.amdim import AMDIMConfig
from viewkin.methods.byol import BYOLConfig
from viewkin.methods.eir import EIRConfig
from viewkin.methods.interclr import InterCLRConfig
from viewkin.methods.invp import InvPConfig
from viewkin.methods.iraug import IRAugConfig
from viewkin.methods.isif import ISIFConfig
from viewkin.methods.moco import MoCoConfig
from viewkin.methods.npid import NPIDConfig
from viewkin.methods.propagation import PropagationConfig
from viewkin.methods.simclr import SimCLRConfig
from viewkin.recipes import amdim, baselines, eir, interclr, invp, isif, own
from viewkin.train.config import Recipe

KINDS: Kinds = {
    config.kind: config
    for config in (
        NPIDConfig,
        IRAugConfig,
        SimCLRConfig,
        MoCoConfig,
        BYOLConfig,
        EIRConfig,
        AMDIMConfig,
        InvPConfig,
        PropagationConfig,
        ISIFConfig,
        InterCLRConfig,
    )
}
"""Method settings by their ``kind``, to read a stored recipe."""

RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__: recipe
    for family in (
        own.RECIPES,
        baselines.RECIPES,
        eir.RECIPES,
        invp.RECIPES,
        isif.RECIPES,
        amdim.RECIPES,
        interclr.RECIPES,
    )
    for recipe in family
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
