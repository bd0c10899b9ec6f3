"""Histograms of cosines: of positives, and of any two images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from viewkin.draws import generator_for
from viewkin.figures.axes import Axes
from viewkin.figures.canvas import COLOURS, FAINT, Box, Canvas, Colour, Line, Text, legend

BINS = 50
PAIRS = 100_000
"""Pairs of any two images that are compared."""
WIDTH, HEIGHT, MARGIN = 360.0, 240.0, 70.0
POSITIVE: Colour = COLOURS[5]
ANY: Colour = COLOURS[0]
Panel = tuple[str, Tensor, Tensor]
"""Title, cosines of positives, cosines of any two."""


def positive_pairs(labels: Tensor, *, seed: int = 0, most: int = PAIRS) -> Tensor:
    """Draw pairs of two images of one class: (P, 2); an image has none where it is alone in its class or unlabelled."""
    generator = generator_for(seed, "positive pairs")
    found: list[Tensor] = []
    for label in labels[labels >= 0].unique():
        own = (labels == label).nonzero().squeeze(1)
        if len(own) > 1:
            count = min(len(own) * (len(own) - 1) // 2, max(most * len(own) // len(labels), 1))
            found.append(own[_two(len(own), count, generator)])
    return torch.cat(found) if found else torch.zeros(0, 2, dtype=torch.int64)


def any_pairs(count: int, *, seed: int = 0, most: int = PAIRS) -> Tensor:
    """Draw pairs of two different images among ``count``: (P, 2)."""
    return _two(count, min(count * (count - 1), most), generator_for(seed, "any pairs"))


def cosines(rows: Tensor, pairs: Tensor) -> Tensor:
    """Cosine of each pair (P, 2) of unit rows (N, D): (P,)."""
    return torch.cat([(rows[part[:, 0]] * rows[part[:, 1]]).sum(1) for part in pairs.split(65536)])


def shares(values: Tensor, low: float, high: float, bins: int = BINS) -> list[float]:
    """Percentage of the values in each of equal bins from low to high; a value beyond counts in the last one."""
    counts = torch.histc(values.float().clamp(low, high), bins, low, high)
    return (100 * counts / max(len(values), 1)).tolist()


def draw_histograms(panels: Sequence[Panel], positives: str) -> Canvas:
    """Draw one panel a model: the cosines of positives over those of any two images.

    The panels share the axis of cosines, not that of shares, or the narrow one would flatten all others.

    Args:
        panels: title and the cosines of both kinds each.
        positives: what the positives are, for the legend.
    """
    every = torch.cat([part for _, *both in panels for part in both])
    low, high = max(float(every.min()), -1.0), 1.0
    canvas = Canvas(len(panels) * (WIDTH + MARGIN) + 30, HEIGHT + 150)
    for place, (title, *both) in enumerate(panels):
        bars = [shares(values, low, high) for values in both]
        axes = Axes(
            x=MARGIN + place * (WIDTH + MARGIN),
            y=44,
            width=WIDTH,
            height=HEIGHT,
            x_range=(low, high),
            y_range=(0.0, 1.08 * max(map(max, bars))),
        )
        canvas.add(*axes.axes(title, "cosine", "pairs, %" if place == 0 else ""))
        # Any two first, so that the positives, which are what one looks for, stay on top.
        for values, own, colour in ((both[1], bars[1], ANY), (both[0], bars[0], POSITIVE)):
            canvas.add(*_bars(axes, own, colour), *_mean(axes, values, colour))
    entries = [(positives, POSITIVE, "square"), ("any two images", ANY, "square")]
    marks, _ = legend(entries, MARGIN, HEIGHT + 98, canvas.width - MARGIN)  # type: ignore[arg-type]
    canvas.add(*marks, Text(MARGIN, HEIGHT + 130, "Upright lines, and the numbers above: means.", 12, colour=FAINT))
    return canvas


def _two(count: int, pairs: int, generator: torch.Generator) -> Tensor:
    """Two different numbers below ``count``, ``pairs`` times: (P, 2)."""
    first = torch.randint(count, (pairs,), generator=generator)
    step = torch.randint(1, count, (pairs,), generator=generator)
    return torch.stack([first, (first + step) % count], 1)


def _bars(axes: Axes, values: Sequence[float], colour: Colour) -> list[Box | Line]:
    low, high = axes.x_range
    marks: list[Box | Line] = []
    outline: list[tuple[float, float]] = []
    for place, value in enumerate(values):
        left, top = axes.at(low + (high - low) * place / len(values), value)
        right, bottom = axes.at(low + (high - low) * (place + 1) / len(values), 0.0)
        if value:
            marks.append(Box(left, top, right - left, bottom - top, colour, 0.3))
        outline += [(left, top), (right, top)]
    return [*marks, Line(tuple(outline), colour, 1.5)]


def _mean(axes: Axes, values: Tensor, colour: Colour) -> list[Line | Text]:
    """An upright line at the mean, whose number stands above the plot, where nothing crosses it."""
    mean = min(max(float(values.mean()), axes.x_range[0]), 1.0)
    across, top = axes.at(mean, axes.y_range[1])
    right = axes.x + axes.width - (40 if colour == POSITIVE else 0)
    return [
        Line(((across, top), (across, axes.y + axes.height)), colour, 1.2),
        Text(right, axes.y - 14, f"{mean:.2f}", 12, "end", colour),
    ]
