"""Methods written as people say them: ``eir(interclr(byol))``."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from viewkin.methods.base import MethodConfig
from viewkin.methods.catalogue import METHOD_CONFIGS
from viewkin.methods.wrapper import TermConfig
from viewkin.runtime.errors import UserError
from viewkin.training.config import Recipe, nested


def with_method(recipe: Recipe, expression: str) -> Recipe:
    """Replace a recipe's method by one written as ``name`` or ``wrapper(method)``.

    Methods that the recipe already has keep their settings; others take their defaults.

    Raises:
        UserError: an unknown name, brackets that do not match, a term that is there twice, a wrapper around nothing or
            something around a method that wraps nothing.
    """
    names = parsed(expression)
    known = settings_within(recipe.method)
    method: MethodConfig | None = None
    for name in reversed(names):
        method = _around(name, method, known.get(name))
    assert method is not None
    about = f"{expression} with the network, views and optimiser of {recipe.name}"
    return dataclasses.replace(recipe, name=f"{recipe.name}-{'-'.join(names)}", about=about, method=method)


def parsed(expression: str) -> list[str]:
    """Read ``a(b(c))`` as [a, b, c]."""
    text = "".join(expression.split())
    inner = text.rstrip(")")
    names = inner.split("(")
    if not all(names) or len(text) - len(inner) != len(names) - 1 or ")" in inner:
        raise UserError(f"--method {expression!r} does not read; write a name, or wrappers around it: eir(moco).")
    for name in names:
        if name not in METHOD_CONFIGS:
            near = difflib.get_close_matches(name, METHOD_CONFIGS, n=3, cutoff=0.4) or sorted(METHOD_CONFIGS)
            raise UserError(f"There is no method {name!r}; did you mean {', '.join(near)}?")
        if wraps(METHOD_CONFIGS[name]) and names.count(name) > 1:
            raise UserError(f"{name} is there twice in --method {expression!r}; a method can have each term once.")
    return names


def settings_within(method: Any) -> dict[str, Any]:
    """Name to settings of a method and all that it wraps."""
    return {one.kind: one for _, one in nested(method)}


def wraps(config: type) -> bool:
    """Whether settings are those of a term around a method."""
    return issubclass(config, TermConfig)


def _around(name: str, inner: MethodConfig | None, settings: Any) -> Any:
    """Make the settings of one method, around another or around nothing."""
    config: Any = METHOD_CONFIGS[name]
    around = wraps(config)
    if around and inner is None:
        raise UserError(f"{name} is a term around another method; write which, such as {name}(moco).")
    if not around and inner is not None:
        raise UserError(f"{name} wraps no other method; write {name} alone, or put it inside.")
    if not around:
        return settings if settings is not None else config()
    return config(base=inner) if settings is None else dataclasses.replace(settings, base=inner)
