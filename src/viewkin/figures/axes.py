"""A plot area with axes: from numbers to places on a canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viewkin.figures.canvas import FAINT, GRID, INK, Line, Mark, Text, shortened
from viewkin.figures.curves import format_value, ticks


@dataclass(frozen=True, kw_only=True)
class Axes:
    """A rectangle of a canvas and the numbers at its edges."""

    x: float
    y: float
    width: float
    height: float
    x_range: tuple[float, float]
    """Numbers at the left and right edge."""
    y_range: tuple[float, float]
    """Numbers at the lower and upper edge."""

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Place of a pair of numbers."""
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return self.x + across * self.width, self.y + (1 - up) * self.height

    def frame(self, title: str) -> list[Mark]:
        """An edge all round and the title above it: all that a map needs, whose numbers mean nothing."""
        right, bottom = self.x + self.width, self.y + self.height
        corners = ((self.x, self.y), (right, self.y), (right, bottom), (self.x, bottom), (self.x, self.y))
        return [Line(corners, GRID), *self._title(title)]

    def axes(
        self, title: str, x_label: str, y_label: str, x_ticks: Sequence[tuple[float, str]] | None = None
    ) -> list[Mark]:
        """Draw a grid, ticks, labels and the title; ``x_ticks`` (place, text) stand in for round numbers."""
        marks: list[Mark] = []
        for y in ticks(*self.y_range, 5):
            left, down = self.at(self.x_range[0], y)
            marks += [Line(((left, down), (left + self.width, down)), GRID)]
            marks += [Text(left - 6, down, format_value(y), 11, "end", FAINT)]
        bottom = self.y + self.height
        round_numbers = [(x, format_value(x)) for x in ticks(*self.x_range, 6)]
        for x, text in round_numbers if x_ticks is None else x_ticks:
            across = self.at(x, self.y_range[0])[0]
            marks += [Line(((across, bottom), (across, bottom + 4)), FAINT)]
            marks += [Text(across, bottom + 14, text, 11, "middle", FAINT)]
        marks += [Line(((self.x, bottom), (self.x + self.width, bottom)), INK)]
        marks += [Text(self.x + self.width / 2, bottom + 34, shortened(x_label, 12, self.width + 40), 12, "middle")]
        marks += [Text(self.x - 46, self.y + self.height / 2, y_label, 12, turned=True)]
        return [*marks, *self._title(title)]

    def _title(self, title: str) -> list[Mark]:
        return [Text(self.x, self.y - 14, shortened(title, 14, self.width), 14)]


def padded(values: Sequence[float], share: float = 0.05) -> tuple[float, float]:
    """Range of numbers with a margin; never empty."""
    low, high = min(values), max(values)
    margin = share * (high - low) or abs(low) * 0.1 or 1.0
    return low - margin, high + margin
