"""Curves of many runs over their epochs, a panel a family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from viewkin.figures.style import POINT, colour_and_marker, panels, shortened, styled, text_width
from viewkin.runtime.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = (400.0, 340.0)
"""Width and height of a panel with its legend below, units."""
Curve = Sequence[tuple[float, float]]
"""Epoch and value."""


@styled()
def draw_families(families: Mapping[str, Mapping[str, Sequence[Curve]]], measure: str) -> Figure:
    """Draw a panel for each family: a colour a row, a line a seed.

    Args:
        families: title of a family to its rows; name of a row to the curve of each seed.
        measure: what the curves show, with its unit.

    Raises:
        UserError: there is no curve.
    """
    drawn = {
        title: {name: [curve for curve in curves if curve] for name, curves in rows.items() if any(curves)}
        for title, rows in families.items()
    }
    drawn = {title: rows for title, rows in drawn.items() if rows}
    if not drawn:
        raise UserError("There is no curve to draw.")
    figure, axes = panels(len(drawn), *PANEL)
    for panel, (title, rows) in zip(axes, drawn.items()):
        panel.set_title(shortened(title or measure, 14, PANEL[0] - 60))
        for number, (name, curves) in enumerate(rows.items()):
            colour, _ = colour_and_marker(number)
            for seed, curve in enumerate(curves):
                label = name if seed == 0 else None
                panel.plot(*zip(*curve), color=colour, marker="" if len(curve) > 1 else ".", label=label)
        panel.set(xlabel="epoch", ylabel=shortened(measure, 12, PANEL[1] - 60))
        columns = max(int((PANEL[0] - 60) / (max(text_width(name, 11) for name in rows) + 56)), 1)
        panel.legend(loc="upper left", bbox_to_anchor=(0, -0.16), ncols=columns, fontsize=11 * POINT)
    return figure
