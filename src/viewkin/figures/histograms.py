"""Histograms of cosines: of positives, of any two images, and of images and those nearest to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from viewkin.figures.style import COLOURS, POINT, legend, panels, shortened, styled
from viewkin.ops.neighbours import nearest_others
from viewkin.runtime.draws import generator_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 50
PAIRS = 100_000
"""Pairs of any two images that are compared."""
WIDTH, HEIGHT = 430.0, 310.0
"""Of a panel, units."""
POSITIVE, ANY, NEAREST = COLOURS[5], COLOURS[0], COLOURS[2]
ASKED = 500
"""Images whose nearest are sought."""
Panel = tuple[str, Sequence[Tensor]]
"""Title; cosines of positives, of any two and, if they are shown, of images and those nearest to them."""


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


def nearest_cosines(rows: Tensor, share: float, *, seed: int = 0) -> Tensor:
    """Cosines of ``ASKED`` of unit rows (N, D), at most, and the share of the others that is nearest to each: (P,)."""
    asked = torch.randperm(len(rows), generator=generator_for(seed, "nearest"))[:ASKED]
    return nearest_others(rows, asked.to(rows.device), max(round(share * len(rows)), 1))[0].flatten()


def shares(values: Tensor, low: float, high: float, bins: int = BINS) -> list[float]:
    """Percentage of the values in each of equal bins from low to high; a value beyond counts in the last one."""
    counts = torch.histc(values.float().clamp(low, high), bins, low, high)
    return (100 * counts / max(len(values), 1)).tolist()


@styled()
def draw_histograms(models: Sequence[Panel], positives: str, nearest: str = "") -> Figure:
    """Draw one panel a model: the cosines of positives over those of any two images.

    The panels share the axis of cosines, not that of shares, or the narrow one would flatten all others.

    Args:
        models: title and the cosines of each kind.
        positives: what the positives are, for the legend.
        nearest: what the nearest are, where there are cosines of them.
    """
    low = max(float(torch.cat([part for _, kinds in models for part in kinds]).min()), -1.0)
    colours = (POSITIVE, ANY, NEAREST)
    names = [f"{name}, mean dashed" for name in (positives, "any two images", nearest) if name]
    figure, axes = panels(len(models), WIDTH, HEIGHT, names)
    for panel, (title, kinds) in zip(axes, models):
        # The positives, which are what one looks for, come last, and stay on top.
        for place, (values, colour) in enumerate(reversed(list(zip(kinds, colours)))):
            _histogram(panel, values, low, colour, place)
        panel.set_title(shortened(title, 14, WIDTH - (220 if nearest else 180)))
        panel.set(xlabel="cosine", ylabel="pairs, %", xlim=(low, 1.0))
        panel.set_ylim(bottom=0)
    legend(figure, [(name, colour, "s") for name, colour in zip(names, colours)])
    return figure


def _two(count: int, pairs: int, generator: torch.Generator) -> Tensor:
    """Two different numbers below ``count``, ``pairs`` times: (P, 2)."""
    first = torch.randint(count, (pairs,), generator=generator)
    step = torch.randint(1, count, (pairs,), generator=generator)
    return torch.stack([first, (first + step) % count], 1)


def _histogram(panel: Axes, values: Tensor, low: float, colour: str, place: int) -> None:
    """Bars, a dashed line at the mean, and its number above the plot, where nothing crosses it."""
    edges = torch.linspace(low, 1.0, BINS + 1).tolist()
    bars = shares(values, low, 1.0)
    panel.stairs(bars, edges, fill=True, color=colour, alpha=0.3)
    panel.stairs(bars, edges, color=colour, linewidth=1.2)
    mean = float(values.mean())
    panel.axvline(mean, color=colour, linestyle="--", linewidth=1)
    panel.text(
        1.0 - 0.15 * place, 1.02, f"{mean:.2f}", color=colour, transform=panel.transAxes, ha="right", size=12 * POINT
    )
