"""Settings by their paths: list them, change one, read one from text.

Settings are frozen dataclasses that compose; a path is field names joined by dots, such as ``method.temperature``.
If fields had other names before, the class variable ``renamed`` maps old to new; a setting that moved into a nested
dataclass is renamed to its path there (``graph.hops``). An old name may be that of the nested dataclass now
(``clusters`` to ``clusters.number``): it means the old setting where nothing follows it. Old names keep working in
``--set``, in stored files and in Python.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from viewkin.runtime.errors import UserError, inside
from viewkin.settings.checked import hints_of
from viewkin.settings.hints import parse

T = TypeVar("T")


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

    All at once: some are only valid together. Paths may be by old names.

    Raises:
        UserError: a value that the setting's dataclass refuses.
    """
    inner: dict[str, dict[str, Any]] = {}
    changes: dict[str, Any] = {}
    for path, value in values.items():
        name, _, rest = current_path(config, path).partition(".")
        if rest:
            inner.setdefault(name, {})[rest] = value
        else:
            changes[name] = value
    changes |= {name: with_values(getattr(config, name), part, f"{prefix}{name}.") for name, part in inner.items()}
    with inside(prefix):
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
    return path, parse(text.strip(), hints_of(type(holder))[name], path)


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
        if new is not None and not (new.startswith(f"{parts[0]}.") and len(parts) > 1):
            parts[:1] = new.split(".")
        done.append(parts.pop(0))
        holder = getattr(holder, done[-1], None)
    return ".".join(done)


def with_current_names(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write stored values of one dataclass by the names that its fields have now."""
    renamed: Mapping[str, str] = getattr(cls, "renamed", {})
    old = {
        name: value
        for name, value in values.items()
        if name in renamed and not (renamed[name].startswith(f"{name}.") and isinstance(value, Mapping))
    }
    current = {name: value for name, value in values.items() if name not in old}
    for name, value in old.items():
        if name in renamed:
            *owners, last = renamed[name].split(".")
            place = current
            for owner in owners:
                place = place.setdefault(owner, {})
            place.setdefault(last, value)
    return current
