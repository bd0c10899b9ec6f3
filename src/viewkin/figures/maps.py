"""Maps: embeddings in the plane, so that what lies close together is alike."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from viewkin.figures.style import GRID, OTHER, legend, panels, shortened, sign_of, signs, styled
from viewkin.runtime.errors import UserError, require
from viewkin.runtime.progress import progress_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PERPLEXITY = 30.0
"""Effective number of neighbours that t-SNE keeps close (METHODS 8.8)."""
SEEDS = 2**32
"""Seeds that the libraries take, from 0."""
SIDE = 430.0
"""Side of a panel, units."""
REST = "others"
Group = tuple[str, str, str]
"""Name, colour, marker."""


def tsne(rows: Tensor, *, seed: int = 0) -> Tensor:
    """Place rows (N, D) in the plane by t-SNE from their first two principal components: (N, 2).

    openTSNE where it is installed, for it is faster, else scikit-learn. Fewer than 91 rows take a third of their
    number for the perplexity, as neither takes more.

    Raises:
        UserError: fewer than five rows, or a seed out of range.

    References:
        van der Maaten and Hinton, Visualizing data using t-SNE, 2008.
    """
    _check(rows, seed)
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    points = rows.detach().cpu().float().numpy()
    found = _optional("openTSNE")
    with progress_bar(f"t-SNE of {len(rows):,} points", None):
        if found is not None:
            return _tensor(found.TSNE(perplexity=perplexity, initialization="pca", random_state=seed).fit(points))
        slower = importlib.import_module("sklearn.manifold")  # here, for it is slow to import
        return _tensor(slower.TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points))


def umap(rows: Tensor, *, seed: int = 0) -> Tensor:
    """Place rows (N, D) in the plane by UMAP with 15 neighbours by cosine: (N, 2).

    Raises:
        UserError: fewer than five rows, a seed out of range, or umap-learn is not installed.

    References:
        McInnes, Healy and Melville, UMAP, 2018.
    """
    _check(rows, seed)
    found = _optional("umap")
    if found is None:
        raise UserError("A UMAP map needs umap-learn; install it with pip install 'viewkin[umap]', or take t-SNE.")
    neighbours = min(15, len(rows) - 1)
    reducer = found.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
    with progress_bar(f"UMAP of {len(rows):,} points", None):
        return _tensor(reducer.fit_transform(rows.detach().cpu().float().numpy()))


PROJECTIONS = {"tsne": tsne, "umap": umap}
"""Name to function."""


def grouped(names: Sequence[str]) -> tuple[list[int], list[Group]]:
    """Sort points into groups that can be told apart, in the order of their names.

    Args:
        names: one a point; empty where it has none.

    Returns:
        The group of each point, and what each group is called and looks like. Of more groups than there are signs,
        the largest keep one; the rest, and points without a name, share grey.
    """
    known = {name: names.count(name) for name in sorted(set(names) - {""}, key=_natural)}
    kept = sorted(known, key=lambda name: -known[name])[: signs()] if len(known) > signs() else list(known)
    entries: list[Group] = [(name, *sign_of(place)) for place, name in enumerate(sorted(kept, key=_natural))]
    places = {entry[0]: place for place, entry in enumerate(entries)}
    found = [places.get(name, len(entries)) for name in names]
    if len(entries) in found:
        entries.append((REST, OTHER, "o"))
    return found, entries


@styled()
def draw_maps(
    maps: Sequence[tuple[str, Tensor]], names: Sequence[str], *, by: str, owner: Tensor | None = None
) -> Figure:
    """Draw maps of the same points side by side, with one legend.

    Args:
        maps: title and places (N, 2) each.
        names: what each point is coloured by.
        by: what that is, for the legend.
        owner: (N,) the image that each point is a view of; its views are joined by lines to their middle.
    """
    groups, entries = grouped(names)
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
    """Scatter the points (N, 2) in their own order, so that no group lies on top of all others."""
    number = torch.tensor(groups)
    size = 18 if len(points) <= 1500 else 9
    for marker in dict.fromkeys(marker for *_, marker in entries):
        own = torch.tensor([entries[group][2] == marker for group in groups])
        colours = [entries[group][1] for group in number[own].tolist()]
        x, y = points[own].unbind(1)
        panel.scatter(x.numpy(), y.numpy(), s=size, c=colours, marker=marker, alpha=0.8, linewidths=0)


def _spokes(panel: Axes, points: Tensor, owner: Tensor, colours: Sequence[str]) -> None:
    """Lines from the views of each image to their middle."""
    from matplotlib.collections import LineCollection

    middles = {image: points[owner == image].mean(0).tolist() for image in owner.unique().tolist()}
    ends = [(points[row].tolist(), middles[image]) for row, image in enumerate(owner.tolist())]
    panel.add_collection(LineCollection(ends, colors=list(colours), linewidths=0.8, alpha=0.5, zorder=0.9))


def _natural(name: str) -> tuple[int, str]:
    """Sort numbers by size, then names."""
    return (int(name), "") if name.isdecimal() else (10**9, name)


def _tensor(points: Any) -> Tensor:
    return torch.from_numpy(np.asarray(points, dtype=np.float32).copy())


def _optional(module: str) -> Any:
    """Import a module that may be missing or broken."""
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError):
        return None
