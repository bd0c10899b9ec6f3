"""What a type hint cannot say alone: ranges of numbers, lengths and orders of lists, for ``Annotated``."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers between two limits; of a list, each number of it. Infinity and NaN are outside of every range."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    unit: str = ""
    """What the numbers count, for messages."""

    def holds(self, value: Any) -> bool:
        """Tell whether a number, or each number of a tuple, is inside."""
        if isinstance(value, tuple):
            return all(map(self.holds, value))  # pyright: ignore[reportUnknownArgumentType]
        return (
            (isinstance(value, int) or math.isfinite(value))
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """Say which numbers are inside: ``at least 0 and below 1``."""
        if self.least is not None and self.most is not None:
            text = f"{_number(self.least)} to {_number(self.most)}"
        elif self.above is not None and self.below is not None:
            text = f"between {_number(self.above)} and {_number(self.below)}"
        else:
            words = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
            text = " and ".join(f"{word} {_number(limit)}" for word, limit in words.items() if limit is not None)
        return f"{text} {self.unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else f"{value:g}"


@dataclass(frozen=True)
class Filled:
    """Lists with at least one value."""

    def holds(self, value: Any) -> bool:
        """Tell whether a tuple has a value; what is no tuple is one value."""
        return not isinstance(value, tuple) or len(value) > 0  # pyright: ignore[reportUnknownArgumentType]

    def __str__(self) -> str:
        return "one or more"


@dataclass(frozen=True)
class Rising:
    """Lists of epochs above 0, each larger than the one before."""

    def holds(self, value: tuple[float, ...]) -> bool:
        """Tell whether the numbers rise."""
        return all(one < other for one, other in itertools.pairwise((0, *value)))

    def __str__(self) -> str:
        return "rising epochs above 0"


Count = Annotated[int, Range(least=1)]
"""A whole number of things, at least one."""
WholeNumber = Annotated[int, Range(least=0)]
"""A whole number of things, perhaps none."""
Positive = Annotated[float, Range(above=0)]
"""A number above 0."""
NotNegative = Annotated[float, Range(least=0)]
"""A number of at least 0: a weight, a penalty."""
Fraction = Annotated[float, Range(least=0, most=1)]
"""A part of a whole, 0 and 1 included."""
Share = Annotated[float, Range(above=0, most=1)]
"""A part of a whole that is not empty."""
Proportion = Annotated[float, Range(above=0, below=1)]
"""A part of a whole that is neither empty nor the whole."""
Momentum = Annotated[float, Range(least=0, below=1)]
"""Weight of an old value in an average."""
Margin = Annotated[float, Range(least=-2, most=2)]
"""Margin of a cosine."""
BatchSize = Annotated[int, Range(least=2)]
"""Images of a step, where BatchNorm needs two."""
Dimension = Annotated[int, Range(least=2)]
"""Size of an embedding."""
Epochs = Annotated[int, Range(least=1, most=1_000_000)]
"""Length of a training; numbers that are larger are mistakes, and schedules of them are slow to list."""
Bytes = Annotated[int, Range(least=1, unit="byte")]
"""A size of memory."""
Side = Annotated[int, Range(least=8, unit="pixels")]
"""Side of an image."""
ImageSide = Annotated[int, Range(least=8, most=1024, unit="pixels")]
"""Side of the images that a network is trained on."""
LearningRates = Annotated[tuple[Positive, ...], Filled()]
"""Learning rates to choose from."""
Milestones = Annotated[tuple[int, ...], Rising()]
"""Epochs after which something changes, in order."""
