"""What the data says about settings: limits of those that are given, values of those that are left open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Limit(NamedTuple):
    """The largest value of a setting that fits the data, or of each of several values."""

    largest: int
    why: str
    """Reason of the limit, as a noun phrase: "the other images of the set"."""
    instead: int | tuple[int, ...] | None = None
    """Value that replaces a recipe's default above the limit; None: the largest."""


class Choice(NamedTuple):
    """The value of a setting that was left open (None, ``auto``), chosen for the given data."""

    value: Any
    why: str
    """Reason of the choice, a clause that can follow "as"."""


def below(owner: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Name what belongs to an owner's settings by their paths from outside of it: ``{"base.dim": ...}``."""
    return {f"{owner}.{name}": value for name, value in values.items()}
