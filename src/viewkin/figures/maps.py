"""Two-dimensional maps of embeddings by t-SNE or UMAP."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from viewkin.figures.style import GRID, OTHER, colour_and_marker, legend, max_groups, panels, shortened, styled
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import progress_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PERPLEXITY = 30.0
"""Perplexity of t-SNE."""
SEEDS = 2**32
"""The libraries accept seeds from 0 to below this."""
SIDE = 430.0
"""Side of a panel, units."""
REST = "others"
Group = tuple[str, str, str]
"""Name, colour, marker."""


def tsne(rows: Tensor, *, seed: int = 0) -> Tensor:
    """Map rows (N, D) to the plane by t-SNE, initialised by their first two principal components: (N, 2).

    Uses openTSNE if it is installed, because it is faster, else scikit-learn. The perplexity is at most a third of
    N - 1, the limit of both libraries.

    Raises:
        UserError: there are fewer than five rows, or the seed is out of range.

    References:
        van der Maaten and Hinton, Visualizing data using t-SNE, 2008.
    """
    _check(rows, seed)
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    points = rows.detach().cpu().float().numpy()
    open_tsne = _optional("openTSNE")
    with progress_bar(f"t-SNE of {len(rows):,} points", None):
        if open_tsne is not None:
            return _tensor(open_tsne.TSNE(perplexity=perplexity, initialization="pca", random_state=seed).fit(points))
        manifold = importlib.import_module("sklearn.manifold")  # imported here because it is slow to import
        return _tensor(manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points))


def umap(rows: Tensor, *, seed: int = 0) -> Tensor:
    """Map rows (N, D) to the plane by UMAP with 15 neighbours by cosine: (N, 2).

    Raises:
        UserError: there are fewer than five rows, the seed is out of range, or umap-learn is not installed.

    References:
        McInnes, Healy and Melville, UMAP, 2018.
    """
    _check(rows, seed)
    umap_learn = _optional("umap")
    if umap_learn is None:
        raise UserError("A UMAP map needs umap-learn; install it with pip install 'viewkin[umap]', or take t-SNE.")
    neighbours = min(15, len(rows) - 1)
    reducer = umap_learn.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
    with progress_bar(f"UMAP of {len(rows):,} points", None):
        return _tensor(reducer.fit_transform(rows.detach().cpu().float().numpy()))


PROJECTIONS = {"tsne": tsne, "umap": umap}
"""Name to function."""


def assign_groups(names: Sequence[str]) -> tuple[list[int], list[Group]]:
    """Assign points to groups with distinct colours and markers, in the order of their names.

    Args:
        names: one per point; empty for a point without a name.

    Returns:
        The group of each point; and name, colour and marker of each group. If there are more names than distinct
        signs, only the most frequent names get one; all other points share a grey group.
    """
    counts = {name: names.count(name) for name in sorted(set(names) - {""}, key=_natural)}
    kept = (
        sorted(counts, key=lambda name: -counts[name])[: max_groups()] if len(counts) > max_groups() else list(counts)
    )
    entries: list[Group] = [(name, *colour_and_marker(group)) for group, name in enumerate(sorted(kept, key=_natural))]
    group_of = {name: group for group, (name, _, _) in enumerate(entries)}
    groups = [group_of.get(name, len(entries)) for name in names]
    if len(entries) in groups:
        entries.append((REST, OTHER, "o"))
    return groups, entries


@styled()
def draw_maps(
    maps: Sequence[tuple[str, Tensor]], names: Sequence[str], *, by: str, owner: Tensor | None = None
) -> Figure:
    """Draw maps of the same points side by side, with one legend.

    Args:
        maps: title and points (N, 2) each.
        names: group name of each point, which sets its colour.
        by: title of these names in the legend.
        owner: (N,) the image that each point is a view of; lines join the views of an image to their mean.
    """
    groups, entries = assign_groups(names)
    figure, axes = panels(len(maps), SIDE, SIDE + 16, [name for name, *_ in entries])
    for panel, (title, points) in zip(axes, maps):
        panel.set_title(shortened(title, 14, SIDE - 40))
        panel.set(xticks=[], yticks=[])
        for side in panel.spines.values():
            side.set(visible=True, color=GRID)
        if owner is not None:
            _spokes(panel, points, owner, [entries[group][1] for group in groups])
        _points(panel, points, groups, entries)
    legend(figure, entries, f"coloured by {by}")
    return figure


def _check(rows: Tensor, seed: int) -> None:
    if len(rows) < 5:
        raise UserError(f"A map needs at least 5 images, not {len(rows)}.")
    require(0 <= seed < SEEDS, "seed", seed, f"0 to {SEEDS - 1}")


def _points(panel: Axes, points: Tensor, groups: Sequence[int], entries: Sequence[Group]) -> None:
    """Scatter the points (N, 2) in their given order, so that no group covers all others."""
    group_of = torch.tensor(groups)
    size = 18 if len(points) <= 1500 else 9
    for marker in dict.fromkeys(marker for *_, marker in entries):
        with_marker = torch.tensor([entries[group][2] == marker for group in groups])
        colours = [entries[group][1] for group in group_of[with_marker].tolist()]
        x, y = points[with_marker].unbind(1)
        panel.scatter(x.numpy(), y.numpy(), s=size, c=colours, marker=marker, alpha=0.8, linewidths=0)


def _spokes(panel: Axes, points: Tensor, owner: Tensor, colours: Sequence[str]) -> None:
    """Draw lines from the views of each image to their mean."""
    from matplotlib.collections import LineCollection

    means = {image: points[owner == image].mean(0).tolist() for image in owner.unique().tolist()}
    ends = [(points[row].tolist(), means[image]) for row, image in enumerate(owner.tolist())]
    panel.add_collection(LineCollection(ends, colors=list(colours), linewidths=0.8, alpha=0.5, zorder=0.9))


def _natural(name: str) -> tuple[int, str]:
    """Sort key: numbers by value, then names."""
    return (int(name), "") if name.isdecimal() else (10**9, name)


def _tensor(points: Any) -> Tensor:
    return torch.from_numpy(np.asarray(points, dtype=np.float32).copy())


def _optional(module: str) -> Any:
    """Import a module; None if it is missing or broken."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError):
        return None
