"""Histograms of cosines: of positive pairs, of random pairs, and of images and their nearest neighbours."""

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
"""Number of random pairs that are compared."""
WIDTH, HEIGHT = 430.0, 310.0
"""Size of a panel, units."""
POSITIVE, RANDOM, NEAREST = COLOURS[5], COLOURS[0], COLOURS[2]
MAX_QUERIES = 500
"""Number of images whose nearest neighbours are searched."""
Panel = tuple[str, Sequence[Tensor]]
"""Title; cosines of positive pairs, of random pairs and, optionally, of images and their nearest neighbours."""


def positive_pairs(labels: Tensor, *, seed: int = 0, most: int = PAIRS) -> Tensor:
    """Draw pairs of two images of one class: (P, 2). Unlabelled images and images alone in their class are left out."""
    generator = generator_for(seed, "positive pairs")
    pairs: list[Tensor] = []
    for label in labels[labels >= 0].unique():
        members = (labels == label).nonzero().squeeze(1)
        if len(members) > 1:
            count = min(len(members) * (len(members) - 1) // 2, max(most * len(members) // len(labels), 1))
            pairs.append(members[_distinct_pairs(len(members), count, generator)])
    return torch.cat(pairs) if pairs else torch.zeros(0, 2, dtype=torch.int64)


def random_pairs(count: int, *, seed: int = 0, most: int = PAIRS) -> Tensor:
    """Draw pairs of two different images among ``count``: (P, 2)."""
    return _distinct_pairs(count, min(count * (count - 1), most), generator_for(seed, "any pairs"))


def cosines(rows: Tensor, pairs: Tensor) -> Tensor:
    """Cosine of each pair (P, 2) of unit rows (N, D): (P,)."""
    return torch.cat([(rows[part[:, 0]] * rows[part[:, 1]]).sum(1) for part in pairs.split(65536)])


def nearest_cosines(rows: Tensor, share: float, *, seed: int = 0) -> Tensor:
    """Cosines of unit rows (N, D) and their nearest neighbours: (P,).

    Args:
        rows: (N, D) unit norm; at most ``MAX_QUERIES`` random rows are queries.
        share: number of neighbours of a query, as a fraction of N.
        seed: seed of the choice of queries.
    """
    queries = torch.randperm(len(rows), generator=generator_for(seed, "nearest"))[:MAX_QUERIES]
    return nearest_others(rows, queries.to(rows.device), max(round(share * len(rows)), 1))[0].flatten()


def percentages(values: Tensor, low: float, high: float, bins: int = BINS) -> list[float]:
    """Percentage of the values in each of ``bins`` equal bins from low to high; values beyond are clamped."""
    counts = torch.histc(values.float().clamp(low, high), bins, low, high)
    return (100 * counts / max(len(values), 1)).tolist()


@styled()
def draw_histograms(models: Sequence[Panel], positives: str, nearest: str = "") -> Figure:
    """Draw one panel per model: the cosines of positive pairs over those of random pairs.

    The panels share the axis of cosines, but not that of percentages, on which a narrow histogram would flatten the
    others.

    Args:
        models: title and the cosines of each kind.
        positives: name of the positives in the legend.
        nearest: name of the nearest neighbours in the legend; empty if there are none.
    """
    low = max(float(torch.cat([part for _, kinds in models for part in kinds]).min()), -1.0)
    colours = (POSITIVE, RANDOM, NEAREST)
    names = [f"{name}, mean dashed" for name in (positives, "any two images", nearest) if name]
    figure, axes = panels(len(models), WIDTH, HEIGHT, names)
    for panel, (title, kinds) in zip(axes, models):
        # The positives are drawn last, so that they stay on top.
        for place, (values, colour) in enumerate(reversed(list(zip(kinds, colours)))):
            _histogram(panel, values, low, colour, place)
        panel.set_title(shortened(title, 14, WIDTH - (220 if nearest else 180)))
        panel.set(xlabel="cosine", ylabel="pairs, %", xlim=(low, 1.0))
        panel.set_ylim(bottom=0)
    legend(figure, [(name, colour, "s") for name, colour in zip(names, colours)])
    return figure


def _distinct_pairs(count: int, pairs: int, generator: torch.Generator) -> Tensor:
    """Draw ``pairs`` pairs of two different numbers below ``count``: (P, 2)."""
    first = torch.randint(count, (pairs,), generator=generator)
    step = torch.randint(1, count, (pairs,), generator=generator)
    return torch.stack([first, (first + step) % count], 1)


def _histogram(panel: Axes, values: Tensor, low: float, colour: str, place: int) -> None:
    """Draw bars, a dashed line at the mean, and the mean's value above the plot."""
    edges = torch.linspace(low, 1.0, BINS + 1).tolist()
    bars = percentages(values, low, 1.0)
    panel.stairs(bars, edges, fill=True, color=colour, alpha=0.3)
    panel.stairs(bars, edges, color=colour, linewidth=1.2)
    mean = float(values.mean())
    panel.axvline(mean, color=colour, linestyle="--", linewidth=1)
    panel.text(
        1.0 - 0.15 * place, 1.02, f"{mean:.2f}", color=colour, transform=panel.transAxes, ha="right", size=12 * POINT
    )
