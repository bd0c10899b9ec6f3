"""Type hints of settings: what fits them, how text is read as them, and how a message calls them."""

from __future__ import annotations

import types
import typing
from typing import Any

from viewkin.runtime.errors import UserError
from viewkin.runtime.json_text import LARGEST
from viewkin.settings.ranges import Filled, Range, Rising

Mark = Range | Filled | Rising
"""What ``Annotated`` may add to a hint."""
WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", types.NoneType: "null"}
"""Type to what its values are called."""


def split(hint: Any) -> tuple[Any, tuple[Mark, ...]]:
    """Separate a hint from what ``Annotated`` adds to it."""
    if typing.get_origin(hint) is typing.Annotated:
        bare, *marks = typing.get_args(hint)
        return bare, tuple(marks)
    return hint, ()


def options_of(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union; a hint that is none is its only alternative."""
    bare, _ = split(hint)
    return typing.get_args(bare) if typing.get_origin(bare) in (types.UnionType, typing.Union) else (hint,)


def is_value(hint: Any) -> bool:
    """Tell a type of values from one of nested settings, a dataclass or a protocol."""
    bare, _ = split(hint)
    return typing.get_origin(bare) is not None or bare in WORDS


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a value is of a type and within its ranges; whole numbers are numbers, bools are neither."""
    bare, marks = split(hint)
    return has_type(value, bare) and (value is None or all(mark.holds(value) for mark in marks))


def has_type(value: Any, hint: Any) -> bool:
    """Tell whether a value is of a type; ranges inside a list or a union count."""
    options, origin = typing.get_args(hint), typing.get_origin(hint)
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
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)


def wanted(hint: Any, none: str = "null") -> str:
    """Say what a value of a type is: ``a whole number or null``.

    Args:
        hint: the type.
        none: what None is called: ``null`` in a file, ``none`` on the command line.
    """
    bare, marks = split(hint)
    options, origin = typing.get_args(bare), typing.get_origin(bare)
    if origin in (types.UnionType, typing.Union):
        parts = [wanted(option, none) for option in options if option is not types.NoneType]
        return " or ".join([*parts, none] if types.NoneType in options else parts)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, options))}"
    if origin is tuple:
        listed = f"a list with {wanted(options[0])} each" if Ellipsis in options else f"a list of {len(options)} values"
        return ", ".join([listed, *map(str, marks)])
    return ", ".join([WORDS[bare], *map(str, marks)])


def range_wanted(value: Any, hint: Any) -> str:
    """Say which values of its type a setting may have, for a value of the type that is out of its range.

    Values of another type are told what type it must be.
    """
    options = options_of(hint)
    or_none = ", or none" if types.NoneType in options else ""
    for option in options:
        bare, marks = split(option)
        if typing.get_origin(bare) is typing.Literal and len(options) == 1 + bool(or_none):
            values = [str(each) for each in typing.get_args(bare)]
            return (" or ".join(values) if len(values) == 2 else f"one of {', '.join(values)}") + or_none
        of_type = has_type(value, plain(bare))
        if of_type and typing.get_origin(bare) is tuple:
            _, inner = split(typing.get_args(bare)[0])
            of_each = [f"all {mark}" if marks else str(mark) for mark in inner]
            return ", ".join([*map(str, marks), *of_each]) + or_none
        if of_type and marks:
            return " and ".join(map(str, marks)) + or_none
    return wanted(hint, "none")


def plain(hint: Any) -> Any:
    """Remove ranges from a hint, and from those inside it."""
    bare, _ = split(hint)
    origin, options = typing.get_origin(bare), typing.get_args(bare)
    if origin is tuple:
        return tuple[tuple(plain(option) for option in options)]  # type: ignore[misc]
    if origin in (types.UnionType, typing.Union):
        return typing.Union[tuple(plain(option) for option in options)]  # noqa: UP007
    return bare


def parse(text: str, hint: Any, path: str) -> Any:
    """Read a text as a type: bool, int, float, str, Literal, tuple of these (comma-separated), or ``none``.

    Ranges are not checked here: the dataclass does it.

    Raises:
        UserError: the text is not of the type.
    """
    hint, _ = split(hint)
    options, origin = typing.get_args(hint), typing.get_origin(hint)
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
    if hint is bool:
        if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise UserError(f"{path} is {text!r}; it must be {WORDS[hint]}.")
        return text.lower() in ("true", "yes", "1")
    try:
        value = hint(text)
        if hint is int and not -LARGEST <= value < LARGEST:
            raise UserError(f"{path} is too large; it must be {WORDS[hint]} of at most 18 digits.")
        return value
    except (TypeError, ValueError):
        raise UserError(f"{path} is {text!r}; it must be {WORDS[hint]}.") from None


def _first_that_reads(text: str, options: list[Any], path: str) -> Any:
    for option in options[:-1]:
        try:
            return parse(text, option, path)
        except UserError:
            continue
    return parse(text, options[-1], path)
