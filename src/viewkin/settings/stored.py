"""Settings as JSON, and back; old files keep their meaning.

A dataclass with a class variable ``kind`` is written with it, so that a field typed by a protocol can be read back.
The class variable ``dropped`` maps settings that are no more to advice. Stored files may have them switched off.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from viewkin.runtime.errors import UserError, inside
from viewkin.settings.checked import hints_of
from viewkin.settings.hints import fits, is_value, wanted
from viewkin.settings.paths import with_current_names

T = TypeVar("T")
Kinds = Mapping[str, type]
"""``kind`` to dataclass, for fields typed by a protocol."""


def settings_to_dict(config: Any) -> dict[str, Any]:
    """Turn settings into plain JSON values."""
    # A settings class may have a field of that name too (a schedule's kind): the loop then writes the field.
    values: dict[str, Any] = {"kind": type(config).kind} if hasattr(type(config), "kind") else {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values[field.name] = settings_to_dict(value) if dataclasses.is_dataclass(value) else value
    return values


def settings_from_dict(cls: type[T], values: Mapping[str, Any], kinds: Kinds, prefix: str = "") -> T:
    """Read settings written by :func:`settings_to_dict`; fields that are missing take their defaults.

    Raises:
        UserError: an unknown field or kind (the file is of another version), a value of the wrong type, or one that
            its dataclass refuses.
    """
    hints = hints_of(cls)
    arguments: dict[str, Any] = {}
    dropped: Mapping[str, str] = getattr(cls, "dropped", {})
    for name, value in with_current_names(cls, values).items():
        if name in dropped:
            if value:
                raise UserError(f"There is no setting {prefix}{name} any more; {dropped[name]}.")
            continue
        if name == "kind" and "kind" not in {field.name for field in dataclasses.fields(cls)}:  # type: ignore[arg-type]
            continue
        if name not in hints:
            raise UserError(f"The stored settings have an unknown field {cls.__name__}.{name}: another version's.")
        hint, path = hints[name], prefix + name
        if is_value(hint):
            value = tuple(value) if isinstance(value, list) else value
            if not fits(value, hint):
                raise UserError(f"{path} is {shown(value)}; it must be {wanted(hint)}.")
            arguments[name] = value
        elif isinstance(value, Mapping):
            inner: type | None = kinds.get(value.get("kind", "")) if is_open(hint) else hint
            if inner is None:
                raise UserError(f"The stored settings name an unknown method {value.get('kind')!r}: another version's.")
            arguments[name] = settings_from_dict(inner, typing.cast(Mapping[str, Any], value), kinds, f"{path}.")
        else:
            raise UserError(f"{path} is {shown(value)}; it must be settings in braces.")
    with inside(prefix):
        return cls(**arguments)


def is_open(hint: Any) -> bool:
    """Tell a type whose values have a ``kind`` of their own, one of several classes, from a class of settings."""
    return not dataclasses.is_dataclass(hint) or ("kind" in hint.__annotations__ and not hasattr(hint, "kind"))


def shown(value: Any) -> str:
    """Write a stored value in a sentence: as JSON, its beginning where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]}..."
