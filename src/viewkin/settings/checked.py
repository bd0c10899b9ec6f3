"""The base of all settings: a frozen dataclass whose values are checked by its type hints."""

from __future__ import annotations

import dataclasses
import functools
import typing
from typing import Any

from viewkin.runtime.errors import SettingError, require
from viewkin.settings.hints import fits, is_value, range_wanted


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """Return the type hints of a dataclass's fields, ranges included."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


class Settings:
    """Base of every settings dataclass, which is frozen and keyword-only.

    The hint of a field says what it may hold: ``int``, ``Literal["a", "b"]``, ``Annotated[float, Range(above=0)]``,
    ``int | None``, ``tuple[float, ...]``, or other settings. Infinity and NaN are refused everywhere. A subclass
    writes ``_check`` only for what two fields have to do with each other.
    """

    def __post_init__(self) -> None:
        """Check every field, then what fields have to do with each other.

        Raises:
            SettingError: a value is of another type, out of its range, or does not go with another.
        """
        for name, hint in hints_of(type(self)).items():
            value = getattr(self, name)
            require(_finite(value), name, value, "finite numbers" if isinstance(value, tuple) else "a finite number")
            if is_value(hint) and not fits(value, hint):
                raise SettingError(name, value, range_wanted(value, hint))
        self._check()

    def _check(self) -> None:
        """Check what fields have to do with each other, by ``require``. Default: nothing."""


def _finite(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_finite, typing.cast(tuple[Any, ...], value)))
    return not isinstance(value, float) or abs(value) < float("inf")
