"""Typed settings: change one by its path, write them as JSON, read them back.

Settings are frozen dataclasses that compose; a path is field names joined by dots, such as ``method.temperature``.
A dataclass with a class variable ``kind`` is written with it, so that a field typed by a protocol can be read back.
If fields had other names before, the class variable ``renamed`` maps old to new; a setting that moved into a nested
dataclass is renamed to its path there (``graph.hops``). Old names keep working in ``--set`` and in stored files.
The class variable ``dropped`` maps settings that are no more to advice. Stored files may have them switched off.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from viewkin.runtime.errors import UserError, wrapped
from viewkin.runtime.json_text import LARGEST

T = TypeVar("T")
Kinds = Mapping[str, type]
"""``kind`` to dataclass, for fields typed by a protocol."""
WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", types.NoneType: "null"}
"""Type to what its values are called."""


def setting_paths(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting's path and value, nested dataclasses opened."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            values |= setting_paths(value, f"{prefix}{field.name}.")
        else:
            values[prefix + field.name] = value
    return values


def with_values(config: T, values: Mapping[str, Any], prefix: str = "") -> T:
    """Copy ``config``, which stands at ``prefix``, with settings replaced, path to value.

    All at once: some are only valid together.

    Raises:
        UserError: a value that the setting's dataclass refuses.
    """
    inner: dict[str, dict[str, Any]] = {}
    changes: dict[str, Any] = {}
    for path, value in values.items():
        name, _, rest = path.partition(".")
        if rest:
            inner.setdefault(name, {})[rest] = value
        else:
            changes[name] = value
    changes |= {name: with_values(getattr(config, name), part, f"{prefix}{name}.") for name, part in inner.items()}
    with wrapped(prefix):
        return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def with_value(config: T, path: str, value: Any) -> T:
    """Copy ``config`` with one setting replaced; its dataclass validates the new value."""
    return with_values(config, {path: value})


def with_text(config: T, assignment: str) -> T:
    """Copy ``config`` with one setting replaced, given as text: ``"method.temperature=0.2"``.

    Raises:
        UserError: as :func:`read_assignment`, or a value that the setting's dataclass refuses.
    """
    return with_values(config, dict([read_assignment(config, assignment)]))


def read_assignment(config: Any, assignment: str) -> tuple[str, Any]:
    """Read a path and its value from text: ``"method.temperature=0.2"``.

    Raises:
        UserError: no ``=``, an unknown path (the nearest are named), or a value of the wrong type.
    """
    path, equals, text = assignment.partition("=")
    path = path.strip()
    if not equals:
        raise UserError(f"--set {assignment!r} has no value; write path=value, such as optim.lr=0.03.")
    path = current_path(config, path)
    check_dropped(config, path)
    known = setting_paths(config)
    if path not in known:
        near = difflib.get_close_matches(path, known, n=3, cutoff=0.4) or [p for p in known if path in p][:3]
        hint = f"; did you mean {', '.join(near)}?" if near else f"; the settings are {', '.join(known)}."
        raise UserError(f"There is no setting {path!r}{hint}")
    owner, _, name = path.rpartition(".")
    holder: Any = config
    for part in owner.split(".") if owner else []:
        holder = getattr(holder, part)
    return path, parse(text.strip(), typing.get_type_hints(type(holder))[name], path)


def check_dropped(config: Any, path: str) -> None:
    """Refuse the path of a setting that is no more.

    Raises:
        UserError: it is one; its advice says what to do instead.
    """
    *owners, name = path.split(".")
    for owner in owners:
        config = getattr(config, owner, None)
    advice = getattr(type(config), "dropped", {}).get(name)
    if advice is not None:
        raise UserError(f"There is no setting {path} any more; {advice}.")


def current_path(config: Any, path: str) -> str:
    """Write a path by the names that settings have now; one that is unknown stays as it is."""
    holder, parts, done = config, path.split("."), list[str]()
    while parts:
        new = getattr(type(holder), "renamed", {}).get(parts[0])
        if new is not None:
            parts[:1] = new.split(".")
        done.append(parts.pop(0))
        holder = getattr(holder, done[-1], None)
    return ".".join(done)


def with_current_names(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write stored values of one dataclass by the names that its fields have now."""
    renamed: Mapping[str, str] = getattr(cls, "renamed", {})
    current = {name: value for name, value in values.items() if name not in renamed}
    for name, value in values.items():
        if name in renamed:
            *owners, last = renamed[name].split(".")
            place = current
            for owner in owners:
                place = place.setdefault(owner, {})
            place.setdefault(last, value)
    return current


def parse(text: str, kind: Any, path: str) -> Any:
    """Read a text as a type: bool, int, float, str, Literal, tuple of these (comma-separated), or ``none``.

    Raises:
        UserError: the text is not of the type.
    """
    options, origin = typing.get_args(kind), typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if text.lower() in ("none", "") and type(None) in options:
            return None
        return _first_that_reads(text, [option for option in options if option is not type(None)], path)
    if origin is typing.Literal:
        if text not in options:
            raise UserError(f"{path} is {text!r}; it must be one of {', '.join(map(str, options))}.")
        return text
    if origin is tuple:
        parts = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
        if Ellipsis in options:
            return tuple(parse(part, options[0], path) for part in parts)
        if len(parts) != len(options):
            raise UserError(f"{path} is {text!r}; it must be {len(options)} values with commas between.")
        return tuple(parse(part, option, path) for part, option in zip(parts, options))
    if kind is bool:
        if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise UserError(f"{path} is {text!r}; it must be {WORDS[kind]}.")
        return text.lower() in ("true", "yes", "1")
    try:
        value = kind(text)
        if kind is int and not -LARGEST <= value < LARGEST:
            raise UserError(f"{path} is too large; it must be {WORDS[kind]} of at most 18 digits.")
        return value
    except (TypeError, ValueError):
        raise UserError(f"{path} is {text!r}; it must be {WORDS[kind]}.") from None


def _first_that_reads(text: str, options: list[Any], path: str) -> Any:
    for option in options[:-1]:
        try:
            return parse(text, option, path)
        except UserError:
            continue
    return parse(text, options[-1], path)


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
    hints = typing.get_type_hints(cls)
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
            inner: type | None = hint if dataclasses.is_dataclass(hint) else kinds.get(value.get("kind", ""))  # type: ignore[assignment]
            if inner is None:
                raise UserError(f"The stored settings name an unknown method {value.get('kind')!r}: another version's.")
            arguments[name] = settings_from_dict(inner, typing.cast(Mapping[str, Any], value), kinds, f"{path}.")
        else:
            raise UserError(f"{path} is {shown(value)}; it must be settings in braces.")
    with wrapped(prefix):
        return cls(**arguments)


def shown(value: Any) -> str:
    """Write a stored value in a sentence: as JSON, its beginning where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:60]}..."


def is_value(kind: Any) -> bool:
    """Tell a type of values from one of nested settings, a dataclass or a protocol."""
    return typing.get_origin(kind) is not None or kind in WORDS


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a type, as :func:`parse` knows them; whole numbers are numbers, bools are neither."""
    options, origin = typing.get_args(kind), typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, option) for option in options)
    if origin is typing.Literal:
        return value in options
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        parts = typing.cast(tuple[Any, ...], value)
        each = options[:1] * len(parts) if Ellipsis in options else options
        return len(parts) == len(each) and all(map(fits, parts, each))
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)


def wanted(kind: Any) -> str:
    """Say what a value of a type is: ``a whole number or null``."""
    options, origin = typing.get_args(kind), typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(wanted, options))
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, options))}"
    if origin is tuple:
        return f"a list with {wanted(options[0])} each" if Ellipsis in options else f"a list of {len(options)} values"
    return WORDS[kind]
