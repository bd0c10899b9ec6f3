"""Claims about checks from type hints: what fits, what is said of what does not, and every settings class there is."""

import dataclasses
import importlib
import inspect
import math
import pkgutil
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

import viewkin
from viewkin.runtime.errors import SettingError, UserError, require
from viewkin.settings import (
    Count,
    Filled,
    Fraction,
    Milestones,
    Momentum,
    Positive,
    Proportion,
    Range,
    Settings,
    Share,
    WholeNumber,
    with_values,
)
from viewkin.settings.checked import hints_of
from viewkin.settings.hints import is_value


@dataclass(frozen=True, kw_only=True)
class Inner(Settings):
    rate: Positive = 0.5


@dataclass(frozen=True, kw_only=True)
class Every(Settings):
    number: Count = 1
    some: WholeNumber | None = None
    rate: Positive = 0.1
    part: Fraction = 0.0
    share: Share = 1.0
    proportion: Proportion = 0.5
    momentum: Momentum = 0.0
    side: Annotated[int, Range(least=8, most=1024, unit="pixels")] = 8
    large: Annotated[int, Range(least=1, most=1_000_000)] = 1
    least: Annotated[float, Range(above=-1, below=1)] = 0.0
    colour: Literal["red", "green"] = "red"
    shade: Literal["dark", "light", "none"] | None = None
    rates: Annotated[tuple[Positive, ...], Filled()] = (0.1,)
    pair: tuple[Momentum, Momentum] = (0.9, 0.9)
    milestones: Milestones = ()
    level: Positive | tuple[Positive, ...] = 0.1
    k: Literal["auto"] | Count = "auto"
    plain: float = 0.0
    text: str = ""
    loud: bool = False
    inner: Inner = field(default_factory=Inner)

    def _check(self) -> None:
        require(self.number <= 10 or self.loud, "number", self.number, "at most 10 unless {here}loud")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", 1),
        ("some", None),
        ("some", 0),
        ("rate", 1),  # a whole number is a number
        ("rate", 1e-9),
        ("part", 0.0),
        ("part", 1.0),
        ("share", 1.0),
        ("momentum", 0.0),
        ("side", 1024),
        ("shade", "none"),
        ("rates", (0.1, 2.0)),
        ("milestones", (1, 2)),
        ("level", (0.1, 0.2)),
        ("k", 3),
        ("plain", -1e9),
    ],
)
def test_values_at_the_edge_of_their_range_fit(name, value):
    assert getattr(Every(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "should"),
    [
        ("number", 0, "at least 1"),
        ("number", 1.0, "a whole number, at least 1"),
        ("number", True, "a whole number, at least 1"),
        ("number", "1", "a whole number, at least 1"),
        ("number", None, "a whole number, at least 1"),
        ("some", -1, "at least 0, or none"),
        ("some", 0.5, "a whole number, at least 0 or none"),
        ("rate", 0.0, "above 0"),
        ("rate", math.nan, "a finite number"),
        ("rate", math.inf, "a finite number"),
        ("part", 1.01, "0 to 1"),
        ("share", 0.0, "above 0 and at most 1"),
        ("proportion", 1.0, "between 0 and 1"),
        ("momentum", 1.0, "at least 0 and below 1"),
        ("side", 7, "8 to 1024 pixels"),
        ("large", 0, "1 to 1,000,000"),
        ("least", -1.0, "between -1 and 1"),
        ("colour", "blue", "red or green"),
        ("shade", "grey", "one of dark, light, none, or none"),
        ("rates", (), "one or more, all above 0"),
        ("rates", (0.1, -1.0), "one or more, all above 0"),
        ("rates", [0.1], "a list with a number, above 0 each, one or more"),
        ("pair", (0.9, 1.0), "at least 0 and below 1"),
        ("pair", (0.9,), "a list of 2 values"),
        ("pair", (0.9, math.inf), "finite numbers"),
        ("milestones", (2, 1), "rising epochs above 0"),
        ("milestones", (0, 1), "rising epochs above 0"),
        ("level", 0.0, "above 0"),
        ("level", (0.1, 0.0), "above 0"),
        ("k", 0, "at least 1"),
        ("k", "all", "one of auto or a whole number, at least 1"),
        ("plain", -math.inf, "a finite number"),
        ("text", 3, "a text"),
        ("loud", 1, "true or false"),
    ],
)
def test_other_values_are_told_what_they_must_be(name, value, should):
    with pytest.raises(SettingError) as refused:
        Every(**{name: value})
    assert str(refused.value) == f"{name} is {value!r}; it must be {should}."


def test_what_two_fields_have_to_do_with_each_other_is_checked_after_each_alone():
    with pytest.raises(UserError, match=r"^number is 11; it must be at most 10 unless loud"):
        Every(number=11)
    assert Every(number=11, loud=True).number == 11
    with pytest.raises(UserError, match=r"^number is 0; it must be at least 1"):
        Every(number=0)


def test_nested_settings_are_named_by_their_path():
    with pytest.raises(UserError, match=r"^inner\.rate is 0\.0; it must be above 0"):
        with_values(Every(), {"inner.rate": 0.0})


def settings_classes() -> list[type]:
    """Every class of settings in the package."""
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(viewkin.__path__, "viewkin."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, Settings) and dataclasses.is_dataclass(value):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return [found[name] for name in sorted(found)]


@pytest.mark.parametrize("cls", settings_classes(), ids=lambda cls: cls.__qualname__)
def test_every_settings_class_checks_every_field(cls):
    assert "__post_init__" not in vars(cls)
    assert cls.__dataclass_params__.frozen
    parts: list[Any] = [hint for hint in hints_of(cls).values() if not is_value(hint)]
    assert all(dataclasses.is_dataclass(hint) for hint in parts)


def test_there_are_many_settings_classes():
    assert len(settings_classes()) >= 30
